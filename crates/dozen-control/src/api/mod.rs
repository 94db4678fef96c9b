//! The API: HTTP over the unix socket.

pub mod wire;
