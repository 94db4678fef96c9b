//! The walls, the shim and init against the real kernel, as root and as an ordinary user.
//!
//! Each wall has a test that fails when the wall is taken away, each promise one that kills what it is about.

#![allow(clippy::unwrap_used, reason = "what these tests start either works or the test fails")]

mod adoption;
mod attached;
mod host;
mod logs;
mod restarts;
mod small_disk;
mod stops;
mod walls;
