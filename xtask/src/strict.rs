//! `cargo xtask strict`: what the router makes of requests that two programs could read in two ways,
//! beside nginx and haproxy; and of HTTP/2 by the sections of its RFCs.
//!
//! The probes are the router's own tests; this task runs them as a table. With `--streams` it runs
//! the long form of another of its tests: generated requests through the router and through nginx,
//! and what the app behind each sees of them.

use std::process::Command;

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
    run(&mut ignored(&["strict::table", "strict::h2::table"]))
}

/// Compares so many generated streams with nginx; a seed repeats an earlier run.
pub(crate) fn streams(count: &str, seed: Option<&str>) -> Result<(), TaskError> {
    for number in [Some(count), seed].into_iter().flatten() {
        number.parse::<u64>().map_err(|_| TaskError::new(format!("`{number}` is no number")))?;
    }
    let mut tests = ignored(&["differential::long_run"]);
    tests.env("DOZEN_STRICT_STREAMS", count);
    if let Some(seed) = seed {
        tests.env("DOZEN_STRICT_SEED", seed);
    }
    run(&mut tests)
}

/// The router's tests of these names that are not run with the others.
fn ignored(names: &[&str]) -> Command {
    let words = ["test", "--locked", "--package", "dozen-router", "--test", "data_plane", "--"];
    let mut tests = cargo(words);
    tests.args(names);
    // One table behind another.
    tests.args(["--ignored", "--nocapture", "--test-threads=1"]);
    tests
}
