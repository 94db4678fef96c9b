//! What is measured: a name, a title, and a function for each workload.

use std::time::Duration;

use super::{
    peers::HOST,
    report::Table,
    rounds::{Running, requests},
    stage::Stage,
    wrk::wrk,
};
use crate::task::TaskError;

/// One of the tables.
#[derive(Debug)]
pub(super) struct Workload {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    /// What the table is called.
    pub(super) title: &'static str,
    pub(super) measure: fn(&Stage) -> Result<Table, TaskError>,
}

/// What one round of requests came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drove {
    pub(super) requests: u32,
    pub(super) elapsed: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

pub(super) const WORKLOADS: &[Workload] = &[
    Workload { name: "1k", title: "1 KiB, 64 kept connections", measure: small },
    Workload { name: "100k", title: "100 KiB, 64 kept connections", measure: large },
    Workload { name: "close", title: "1 KiB, a new connection for each request, 64 at once", measure: close },
];

fn small(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, |running, seconds| wrk(&plain(running, "1k"), HOST, seconds, &[]))
}

fn large(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, |running, seconds| wrk(&plain(running, "100k"), HOST, seconds, &[]))
}

fn close(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, |running, seconds| wrk(&plain(running, "1k"), HOST, seconds, &["Connection: close"]))
}

fn plain(running: &Running, path: &str) -> String {
    format!("http://127.0.0.1:{}/{path}", running.plain)
}
