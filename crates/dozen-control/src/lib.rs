//! The control plane. (Docs follow.)

#![forbid(unsafe_code)]

pub mod api;
