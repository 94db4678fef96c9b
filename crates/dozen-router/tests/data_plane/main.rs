//! The router as a process of its own, against real sockets on both sides.
#![forbid(unsafe_code)]

mod app;
mod browser;
mod delivery;
mod framing;
mod host;
mod lifetime;
mod routing;
mod static_files;
mod streaming;
