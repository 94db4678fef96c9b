//! The supervisor with real shims, real walls and real processes.
//!
//! Run as root these tests run a second time as an ordinary user, see [`ordinary_user`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod adoption;
mod lifecycle;
mod ordinary_user;
mod readiness;
mod stand;
