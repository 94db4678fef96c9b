//! Requests that reach no app: unreadable ones, and those for a host that is nobody's.
//!
//! No app's log has a line for them, so they are counted and told in the server's own log, as
//! [`Telling`] has it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::HeaderValue;

use crate::{exchange::Exchange, telling::Telling};

/// Why a request reaches no app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its head or its framing is not acceptable.
    Malformed,
    /// No app answers to its host.
    UnknownHost,
}

/// What was refused since the start.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) malformed: AtomicU64,
    pub(crate) unknown_hosts: AtomicU64,
    telling: Telling,
}

impl Refusals {
    /// Counts a refused request, and tells it when it is time.
    pub(crate) fn note(&self, refusal: Refusal, exchange: &Exchange) {
        let (counter, status, reason) = match refusal {
            Refusal::Malformed => (&self.malformed, 400, "it cannot be read, or names no host"),
            Refusal::UnknownHost => (&self.unknown_hosts, 404, "no app answers to its host"),
        };
        counter.fetch_add(1, Relaxed);
        let Some(untold) = self.telling.turn() else { return };
        tracing::warn!(
            status,
            method = %exchange.method,
            host = exchange.host.name(),
            // Escaped by its quotes; a query string may carry secrets and is left out.
            path = exchange.uri.path(),
            from = exchange.origin.text.to_str().unwrap_or_default(),
            request_id = exchange.id.to_str().unwrap_or_default(),
            untold,
            "refused a request: {reason}"
        );
    }

    /// Counts what is not HTTP at all, and was answered by the parser before there was a request.
    pub(crate) fn note_no_http(&self, client: &HeaderValue) {
        self.malformed.fetch_add(1, Relaxed);
        let Some(untold) = self.telling.turn() else { return };
        let from = client.to_str().unwrap_or_default();
        tracing::warn!(status = 400, from, untold, "refused a request: it is not HTTP");
    }
}
