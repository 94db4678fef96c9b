//! Counters that all threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::{protocol::RouterStatus, refusals::Refusals, telling::Telling};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) open_connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) refusals: Refusals,
    pub(crate) replayed: AtomicU64,
    pub(crate) dropped_lines: AtomicU64,
    pub(crate) draining: AtomicBool,
    pub(crate) tls: TlsCounters,
}

/// What is counted of TLS handshakes.
#[derive(Debug, Default)]
pub(crate) struct TlsCounters {
    pub(crate) handshakes: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) telling: Telling,
}

impl Counters {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// The part of the status that is counted here.
    pub(crate) fn status(&self) -> RouterStatus {
        RouterStatus {
            pid: std::process::id(),
            connections: self.connections.load(Relaxed),
            open_connections: self.open_connections.load(Relaxed),
            requests: self.requests.load(Relaxed),
            malformed: self.refusals.malformed.load(Relaxed),
            unknown_hosts: self.refusals.unknown_hosts.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            dropped_lines: self.dropped_lines.load(Relaxed),
            draining: self.draining.load(Relaxed),
            tls_handshakes: self.tls.handshakes.load(Relaxed),
            tls_resumed: self.tls.resumed.load(Relaxed),
            tls_failures: self.tls.failures.load(Relaxed),
            ..RouterStatus::default()
        }
    }
}
