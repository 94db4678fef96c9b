//! The log router against real files: reading, following, the platform stream, retention.

#![allow(clippy::unwrap_used, reason = "what a test sets up has to work")]

mod follow;
mod platform_log;
mod read;
mod retention;
mod stage;
