//! What was counted, as Prometheus reads it: its text format, version 0.0.4.
//!
//! Series are made of stages that are in the table and of words from fixed lists, so there is no
//! more of them than apps, whatever clients send. A stage has series from its first request on and
//! as long as it is routed to. Everything begins at zero with the router's process.
//!
//! `docs/metrics.md` lists each family; a test compares it with what is written here.
//!
//! Start reading at [`text`].

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::UNIX_EPOCH,
};

use crate::{
    board::{Routes, Stage},
    h_code::HCode,
    http1::request::Refusal,
    meter::{BUCKETS, CLASSES, METHODS, Sum},
    rotation::Trouble,
    status::{Counters, TlsFailure},
};

/// All that was counted.
pub(crate) fn text(routes: &Routes, counters: &Counters) -> String {
    let mut page = Page::default();
    let metered: Vec<Metered<'_>> = routes.stages.iter().filter_map(|stage| Metered::of(stage)).collect();
    requests(&mut page, &metered);
    ways(&mut page, &metered);
    instances(&mut page, routes);
    bytes(&mut page, &metered);
    connections(&mut page, counters);
    refusals(&mut page, counters);
    handshakes(&mut page, counters);
    page.out
}

/// A stage that had requests.
struct Metered<'a> {
    stage: &'a Stage,
    sum: Sum,
}

impl<'a> Metered<'a> {
    fn of(stage: &'a Stage) -> Option<Self> {
        Some(Self { stage, sum: stage.meter.sum()? })
    }
}

fn requests(page: &mut Page, stages: &[Metered<'_>]) {
    page.counter("dozen_router_requests_total", "Requests that are over, by method and class of status.");
    for Metered { stage, sum } in stages {
        for (method, classes) in METHODS.iter().zip(&sum.ended) {
            for (class, count) in CLASSES.iter().zip(classes).filter(|(_, count)| **count > 0) {
                page.of_stage(stage, "", &[("method", method), ("status", class)], count);
            }
        }
    }
    let help = "From the moment an instance got the request to the last byte of its answer, without upgraded \
                connections.";
    page.family("dozen_router_request_duration_seconds", "histogram", help);
    for Metered { stage, sum } in stages {
        let mut count = 0;
        for ((_, most), inside) in BUCKETS.iter().zip(sum.buckets) {
            count += inside;
            page.of_stage(stage, "_bucket", &[("le", most)], count);
        }
        count += sum.buckets[BUCKETS.len()];
        page.of_stage(stage, "_bucket", &[("le", "+Inf")], count);
        page.of_stage(stage, "_sum", &[], sum.service.as_secs_f64());
        page.of_stage(stage, "_count", &[], count);
    }
    page.counter(
        "dozen_router_failures_total",
        "Requests that ended with an H-code, which is in the log too.",
    );
    for Metered { stage, sum } in stages {
        for (code, count) in HCode::ALL.iter().zip(sum.codes).filter(|(_, count)| *count > 0) {
            page.of_stage(stage, "", &[("code", code.code())], count);
        }
    }
    page.gauge("dozen_router_requests_in_flight", "Requests that are not over, also those that wait.");
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[], sum.in_flight);
    }
}

fn ways(page: &mut Page, stages: &[Metered<'_>]) {
    page.gauge("dozen_router_requests_held", "Requests that wait for an instance or the end of a pause.");
    for Metered { stage, .. } in stages {
        page.of_stage(stage, "", &[], stage.meter.held_now.load(Relaxed));
    }
    page.counter("dozen_router_held_requests_total", "Requests that had to wait.");
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[], sum.held);
    }
    let help = "Requests sent again: not_sent after an instance did not take it, connection_lost after the \
                connection ended without an answer.";
    page.counter("dozen_router_retries_total", help);
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[("reason", "not_sent")], sum.not_sent);
        page.of_stage(stage, "", &[("reason", "connection_lost")], sum.replayed);
    }
    page.counter("dozen_router_upgrades_total", "Requests that became upgraded connections (WebSockets).");
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[], sum.upgraded);
    }
    page.gauge("dozen_router_upgrades_open", "Upgraded connections that are open.");
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[], sum.upgrades_open);
    }
}

fn instances(page: &mut Page, routes: &Routes) {
    let help = "Instances the router knows: in_rotation gets requests; ejected and unwell get them only while no \
                other is there.";
    page.gauge("dozen_router_instances", help);
    for stage in &routes.stages {
        let rotations = || stage.way.endpoints().iter().map(|endpoint| &endpoint.load.rotation);
        let unwell = rotations().filter(|rotation| rotation.is_unwell()).count();
        let inside = rotations().filter(|rotation| rotation.is_in()).count();
        let ejected = rotations().count().saturating_sub(unwell + inside);
        for (state, count) in [("in_rotation", inside), ("ejected", ejected), ("unwell", unwell)] {
            page.of_stage(stage, "", &[("state", state)], count);
        }
    }
    let help = "Instances put out of rotation: refused takes no connections, lost closes them without an answer, \
                probe fails its liveness probe.";
    page.counter("dozen_router_ejections_total", help);
    for stage in &routes.stages {
        for ((_, reason), count) in Trouble::ALL.iter().zip(&stage.meter.ejections) {
            page.of_stage(stage, "", &[("reason", reason)], count.load(Relaxed));
        }
    }
    page.counter("dozen_router_probes_total", "Liveness probes of stages that ask for them.");
    for stage in routes.stages.iter().filter(|stage| stage.policy.probe().is_some()) {
        for (outcome, count) in ["passed", "failed"].iter().zip(&stage.meter.probes) {
            page.of_stage(stage, "", &[("outcome", outcome)], count.load(Relaxed));
        }
    }
}

fn bytes(page: &mut Page, stages: &[Metered<'_>]) {
    page.counter("dozen_router_request_bytes_total", "Bytes of the bodies of requests that are over.");
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[], sum.received);
    }
    page.counter("dozen_router_response_bytes_total", "Bytes of the bodies of answers that are over.");
    for Metered { stage, sum } in stages {
        page.of_stage(stage, "", &[], sum.sent);
    }
}

fn connections(page: &mut Page, counters: &Counters) {
    let totals = counters.totals();
    page.counter("dozen_router_http_requests_total", "Requests of all apps and of none, by version of HTTP.");
    page.one(&[("version", "1")], totals.http1_requests);
    page.one(&[("version", "2")], totals.http2_requests);
    page.counter("dozen_router_connections_total", "Client connections that were accepted.");
    page.one(&[("listener", "http")], totals.plain_connections);
    page.one(&[("listener", "https")], totals.tls_connections);
    page.counter("dozen_router_http2_connections_total", "Client connections that speak HTTP/2.");
    page.one(&[], totals.http2_connections);
    page.gauge("dozen_router_connections_open", "Client connections that are open.");
    page.one(&[], totals.open_connections);
    let help = "Connections that could not be accepted: descriptors or memory ran out.";
    page.counter("dozen_router_accept_failures_total", help);
    page.shared(&[], &counters.unaccepted);
    page.counter("dozen_router_dropped_log_lines_total", "Access log lines that could not be written.");
    page.shared(&[], &counters.dropped_lines);
    page.gauge("dozen_router_start_time_seconds", "When the router began to count, in Unix time.");
    let since = counters.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    page.one(&[], since.as_secs_f64());
}

fn refusals(page: &mut Page, counters: &Counters) {
    let help = "Requests that reached no app: their head, framing or host was not acceptable, or their client \
                has too many connections.";
    page.counter("dozen_router_refused_requests_total", help);
    let refusals = &counters.refusals;
    for ((_, reason), count) in Refusal::ALL.iter().zip(&refusals.by_reason) {
        page.shared(&[("reason", reason)], count);
    }
    page.shared(&[("reason", "unknown_host")], &refusals.unknown_hosts);
    page.shared(&[("reason", "misdirected")], &refusals.misdirected);
}

fn handshakes(page: &mut Page, counters: &Counters) {
    let tls = &counters.tls;
    let resumed = tls.resumed.load(Relaxed);
    page.counter("dozen_router_tls_handshakes_total", "TLS handshakes that came to an end.");
    page.one(&[("kind", "full")], tls.handshakes.load(Relaxed).saturating_sub(resumed));
    page.one(&[("kind", "resumed")], resumed);
    page.shared(&[("kind", "challenge")], &tls.challenges);
    page.counter("dozen_router_tls_failures_total", "TLS handshakes that came to nothing.");
    for ((_, reason), count) in TlsFailure::ALL.iter().zip(&tls.failures) {
        page.shared(&[("reason", reason)], count);
    }
}

/// The text as it grows.
#[derive(Default)]
struct Page {
    out: String,
    /// Of the family that is being written.
    name: &'static str,
}

impl Page {
    /// Begins a family. Neither name nor help needs escapes.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string cannot go wrong.
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, "counter", help);
    }

    fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, "gauge", help);
    }

    /// A sample of a stage. No value needs escapes: names are DNS labels, the rest stands in this crate.
    fn of_stage(
        &mut self,
        stage: &Stage,
        suffix: &str,
        labels: &[(&str, &str)],
        value: impl std::fmt::Display,
    ) {
        let (name, key) = (self.name, &stage.log);
        let _ = write!(self.out, "{name}{suffix}{{app=\"{}\",stage=\"{}\"", key.app, key.stage);
        for (label, text) in labels {
            let _ = write!(self.out, ",{label}=\"{text}\"");
        }
        let _ = writeln!(self.out, "}} {value}");
    }

    /// A sample of the whole router, with one label at most.
    fn one(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.out.push_str(self.name);
        for (label, text) in labels {
            let _ = write!(self.out, "{{{label}=\"{text}\"}}");
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn shared(&mut self, labels: &[(&str, &str)], count: &AtomicU64) {
        self.one(labels, count.load(Relaxed));
    }
}
