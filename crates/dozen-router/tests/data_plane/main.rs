//! The router as a process of its own, against real sockets on both sides.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod app;
mod authority;
mod browser;
mod delivery;
mod error_pages;
mod exposition;
mod frames;
mod framing;
mod host;
mod http2;
mod lifetime;
mod limits;
mod metrics;
mod redirects;
mod rotation;
mod routing;
mod static_files;
mod streaming;
mod strict;
mod tls;
mod upgrades;
