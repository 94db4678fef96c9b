//! The router as a process of its own, against real sockets on both sides.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod app;
mod browser;
mod delivery;
mod framing;
mod host;
mod lifetime;
mod limits;
mod routing;
mod static_files;
mod streaming;
mod strict;
mod upgrades;
