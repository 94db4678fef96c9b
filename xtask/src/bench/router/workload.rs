//! What is measured: a name, a title, and a function for each workload.

use std::time::Duration;

use super::{
    constant_rate::constant_rate,
    peers::HOST,
    report::Table,
    rounds::{Over, Running, requests, take_turns},
    stage::Stage,
    tls::{h2load, handshakes},
    websockets::websockets,
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

impl Drove {
    /// From the latency of each request.
    pub(super) fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Result<Self, TaskError> {
        latencies.sort_unstable();
        let at = |percent| latencies.get(latencies.len() * percent / 100).copied();
        let (Some(p50), Some(p99)) = (at(50), at(99)) else {
            return Err(TaskError::new("no request was answered"));
        };
        Ok(Self { requests: u32::try_from(latencies.len()).unwrap_or(u32::MAX), elapsed, p50, p99 })
    }
}

pub(super) const WORKLOADS: &[Workload] = &[
    Workload { name: "1k", title: "1 KiB, 64 kept connections (wrk)", measure: small },
    Workload { name: "100k", title: "100 KiB, 64 kept connections (wrk)", measure: large },
    Workload {
        name: "close",
        title: "1 KiB, a new connection for each request, 64 at once (wrk)",
        measure: close,
    },
    Workload {
        name: "rate",
        title: "1 KiB at one constant rate, 64 kept connections, latency from when each was due",
        measure: rate,
    },
    Workload {
        name: "tls-new",
        title: "1 KiB, a new TLS handshake for each request, 4 at once (curl)",
        measure: tls_new,
    },
    Workload { name: "tls", title: "1 KiB over TLS, 64 kept connections (h2load)", measure: tls_kept },
    Workload {
        name: "h2",
        title: "1 KiB over HTTP/2 and TLS, one connection with 64 streams (h2load)",
        measure: h2,
    },
    Workload { name: "websockets", title: "1,000 WebSockets that say nothing", measure: websockets },
    Workload { name: "tables", title: "1 KiB, route tables of several sizes (wrk)", measure: tables },
];

fn small(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, Over::Plain, |running, seconds| wrk(&url(running, "1k"), HOST, seconds, &[]))
}

fn large(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, Over::Plain, |running, seconds| wrk(&url(running, "100k"), HOST, seconds, &[]))
}

fn close(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, Over::Plain, |running, seconds| {
        wrk(&url(running, "1k"), HOST, seconds, &["Connection: close"])
    })
}

fn rate(stage: &Stage) -> Result<Table, TaskError> {
    println!("  {} a second", stage.options.rate);
    requests(stage, Over::Plain, |running, seconds| constant_rate(running.plain, stage.options.rate, seconds))
}

fn tls_new(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, Over::Tls, |running, seconds| handshakes(stage, running.tls, seconds))
}

fn tls_kept(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, Over::Tls, |running, seconds| h2load(stage.certificates(), running.tls, (64, 1), seconds))
}

fn h2(stage: &Stage) -> Result<Table, TaskError> {
    requests(stage, Over::Tls, |running, seconds| h2load(stage.certificates(), running.tls, (1, 64), seconds))
}

/// Ours alone. All requests are for the host that stands last.
fn tables(stage: &Stage) -> Result<Table, TaskError> {
    let mut running = Vec::new();
    for contender in stage.contenders.iter().filter(|contender| contender.is_ours()) {
        for hosts in [1, 1000, 100_000] {
            let mut site = stage.site(contender)?;
            site.hosts = hosts;
            let mut one = Running::start(contender, &site)?;
            one.name = format!("{}, {hosts} {}", contender.name, if hosts == 1 { "host" } else { "hosts" });
            one.is_reference = hosts == 1;
            running.push(one);
        }
    }
    take_turns(stage, &running, Vec::new(), |running, seconds| wrk(&url(running, "1k"), HOST, seconds, &[]))
}

fn url(running: &Running, path: &str) -> String {
    format!("http://127.0.0.1:{}/{path}", running.plain)
}
