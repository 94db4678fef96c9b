//! Counters of the whole router: those that each thread keeps for itself, and, for what happens
//! rarely, those that all threads share.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use crate::{
    listen::ListenerKind,
    meter::{Count, Thread},
    protocol::RouterStatus,
    refusals::Refusals,
    telling::Telling,
};

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    threads: Box<[ThreadCounters]>,
    /// When the process began to count.
    pub(crate) since: Option<SystemTime>,
    /// Connections that the kernel could not hand over.
    pub(crate) unaccepted: AtomicU64,
    pub(crate) refusals: Refusals,
    pub(crate) replayed: AtomicU64,
    pub(crate) dropped_lines: AtomicU64,
    pub(crate) draining: AtomicBool,
    pub(crate) tls: TlsCounters,
}

/// What one thread counts, which alone writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadCounters {
    pub(crate) http1_requests: Count,
    pub(crate) http2_requests: Count,
    pub(crate) http2_connections: Count,
    plain: Count,
    tls: Count,
    opened: Count,
    pub(crate) closed: Count,
}

impl ThreadCounters {
    /// A connection was accepted.
    pub(crate) fn accept(&self, kind: ListenerKind) {
        match kind {
            ListenerKind::Plain => self.plain.add(1),
            ListenerKind::Tls => self.tls.add(1),
        }
        self.opened.add(1);
    }
}

/// What is counted of TLS handshakes.
#[derive(Debug, Default)]
pub(crate) struct TlsCounters {
    pub(crate) handshakes: AtomicU64,
    pub(crate) resumed: AtomicU64,
    /// Those that were a challenge's, and all of their connection.
    pub(crate) challenges: AtomicU64,
    /// In the order of [`TlsFailure::ALL`].
    pub(crate) failures: [AtomicU64; TlsFailure::ALL.len()],
    pub(crate) telling: Telling,
}

/// Why a handshake came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsFailure {
    /// No certificate covers the name that was asked for.
    NoCertificate,
    /// It took too long.
    Timeout,
    /// The client went away.
    Closed,
    /// The client refused what it was shown, or said so otherwise.
    Alert,
    /// The two have no version or cipher in common.
    Incompatible,
    /// What came is no handshake.
    Malformed,
}

impl TlsFailure {
    /// All of them, with their names.
    pub(crate) const ALL: [(Self, &str); 6] = [
        (Self::NoCertificate, "no_certificate"),
        (Self::Timeout, "timeout"),
        (Self::Closed, "closed"),
        (Self::Alert, "alert"),
        (Self::Incompatible, "incompatible"),
        (Self::Malformed, "malformed"),
    ];
}

/// What all threads have counted.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) http1_requests: u64,
    pub(crate) http2_requests: u64,
    pub(crate) http2_connections: u64,
    pub(crate) plain_connections: u64,
    pub(crate) tls_connections: u64,
    pub(crate) open_connections: u64,
}

impl Counters {
    /// Counters for so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| ThreadCounters::default()).collect(),
            since: Some(SystemTime::now()),
            ..Self::default()
        }
    }

    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// The counters of this thread, which alone writes them.
    pub(crate) fn of(&self, thread: Thread) -> &ThreadCounters {
        &self.threads[thread.index]
    }

    /// What all threads have counted.
    pub(crate) fn totals(&self) -> Totals {
        // What closes between two looks must not seem to have closed before it opened.
        let closed: u64 = self.threads.iter().map(|one| one.closed.get()).sum();
        let all =
            |count: fn(&ThreadCounters) -> &Count| self.threads.iter().map(|one| count(one).get()).sum();
        let opened: u64 = all(|one| &one.opened);
        Totals {
            http1_requests: all(|one| &one.http1_requests),
            http2_requests: all(|one| &one.http2_requests),
            http2_connections: all(|one| &one.http2_connections),
            plain_connections: all(|one| &one.plain),
            tls_connections: all(|one| &one.tls),
            open_connections: opened.saturating_sub(closed),
        }
    }

    /// The part of the status that is counted here.
    pub(crate) fn status(&self) -> RouterStatus {
        let totals = self.totals();
        RouterStatus {
            pid: std::process::id(),
            connections: totals.plain_connections + totals.tls_connections,
            open_connections: totals.open_connections,
            requests: totals.http1_requests + totals.http2_requests,
            malformed: self.refusals.malformed(),
            unknown_hosts: self.refusals.unknown_hosts.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            dropped_lines: self.dropped_lines.load(Relaxed),
            draining: self.draining.load(Relaxed),
            tls_handshakes: self.tls.handshakes.load(Relaxed),
            tls_resumed: self.tls.resumed.load(Relaxed),
            tls_failures: self.tls.failures.iter().map(|count| count.load(Relaxed)).sum(),
            ..RouterStatus::default()
        }
    }
}
