//! The real binary, for everything that needs no server: help, usage, settings, doctor, Git.
//!
//! Each test has folders of its own and an environment that names nothing else.

#![allow(clippy::unwrap_used, reason = "what a test set up and cannot use is a failed test")]

mod git_push;
mod help;
mod host;
mod no_server;
mod server_verb;
