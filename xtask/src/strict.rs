//! `cargo xtask strict`: what the router makes of requests that two programs could read in two ways,
//! beside nginx and haproxy.
//!
//! The probes are the router's own tests; this task runs them as a table.

use crate::{
    requirements::{Tool, provide},
    task::{TaskError, cargo, run},
};

const PEERS: &[Tool] = &[
    Tool { name: "nginx", package: "nginx-light", needed_for: "what nginx does" },
    Tool { name: "haproxy", package: "haproxy", needed_for: "what haproxy does" },
];

/// Prints the table; a peer that is not installed has no column.
pub(crate) fn table(install: bool) -> Result<(), TaskError> {
    if install {
        provide(PEERS, true)?;
    }
    run_ignored("strict::table")
}

fn run_ignored(test: &str) -> Result<(), TaskError> {
    let test = ["test", "--locked", "--package", "dozen-router", "--test", "data_plane", "--", test];
    run(cargo(test).args(["--ignored", "--nocapture"]))
}
