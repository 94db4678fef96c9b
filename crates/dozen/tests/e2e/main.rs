//! End to end: the real binary, a real server in a home of its own, real apps.
//!
//! Start reading at [`host::TestHost`]. Every test runs as root and again as an ordinary user; what
//! only root can do says so where it returns early.

#![allow(unreachable_pub, reason = "nothing of a test binary is public; the kit's words are for its modules")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the product's rules; tests print and read"
)]

mod acme;
mod bad_input;
mod blango;
mod certs;
mod client;
mod clients;
mod crash;
mod database;
mod default_web;
mod docs;
mod domains;
mod everyday;
mod examples;
#[path = "../../../dozen-router/tests/data_plane/exposition.rs"]
mod exposition;
mod git_push;
mod host;
mod https;
mod key_file;
mod lifecycle;
mod load;
mod mail_server;
mod metrics;
mod one_off;
mod ordinary;
mod project;
mod pty;
mod redirects;
mod releases;
mod restore;
mod router_policy;
mod router_settings;
mod sources;
mod terminal;
mod tls_client;
mod uwsgi;
mod visitor;
