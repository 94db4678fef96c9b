//! Requests that reach no app: unreadable ones, and those for a host that is nobody's.
//!
//! No app's log has a line for them, so they are counted and told in the server's own log, as
//! [`Telling`] has it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{answer, exchange::Exchange, http1::request::Refusal, telling::Telling};

/// What was refused since the start.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// In the order of [`Refusal::ALL`].
    pub(crate) by_reason: [AtomicU64; Refusal::ALL.len()],
    /// Requests over an HTTP/2 connection that is not for their host.
    pub(crate) misdirected: AtomicU64,
    pub(crate) unknown_hosts: AtomicU64,
    telling: Telling,
}

impl Refusals {
    /// Requests whose head or framing was not acceptable, and those of crowded clients.
    pub(crate) fn malformed(&self) -> u64 {
        self.by_reason.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Counts a request for a host that is nobody's, and tells it when it is time.
    pub(crate) fn note_unknown_host(&self, exchange: &Exchange) {
        self.unknown_hosts.fetch_add(1, Relaxed);
        let Some(untold) = self.telling.turn() else { return };
        tracing::warn!(
            status = 404,
            method = %exchange.method,
            host = exchange.host.name(),
            // Escaped by its quotes; a query string may carry secrets and is left out.
            path = exchange.path(),
            from = exchange.from(),
            request_id = exchange.id,
            untold,
            "refused a request: no app answers to its host"
        );
    }

    /// Counts a request whose head or framing is not acceptable. Nothing of it is quoted.
    pub(crate) fn note_malformed(&self, refusal: Refusal, from: &str) {
        self.by_reason[refusal as usize].fetch_add(1, Relaxed);
        let Some(untold) = self.telling.turn() else { return };
        let (status, reason) = answer::refusal(refusal);
        tracing::warn!(status = status.as_u16(), from, untold, "refused a request: {reason}");
    }
}
