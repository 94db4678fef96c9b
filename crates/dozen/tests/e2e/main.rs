//! End to end: the real binary, a real server in a home of its own, real apps.
//!
//! Start reading at [`host::TestHost`]. A test that needs something this machine lacks says so
//! with [`host::skip`], which fails in CI.

mod bad_input;
mod client;
mod crash;
mod everyday;
mod examples;
mod git_push;
mod host;
mod lifecycle;
mod load;
mod ordinary;
mod project;
