//! Requests that reach no app: unreadable ones, and those for a host that is nobody's.
//!
//! No app's log has a line for them, so they are counted and told in the server's own log. That log
//! is a pipe or a terminal which may stand still, and anybody can send such requests: a line is
//! written only where it will not wait, and at most one a second; the next one says how many went
//! untold.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::exchange::Exchange;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

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
    telling: Mutex<Telling>,
}

#[derive(Debug, Default)]
struct Telling {
    last: Option<Instant>,
    untold: u64,
}

impl Telling {
    /// How many went untold before this one, if it is to be told.
    fn turn(&mut self, now: Instant, may_write: impl FnOnce() -> bool) -> Option<u64> {
        let is_early = self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE);
        if is_early || !may_write() {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Refusals {
    /// Counts a refused request, and tells it when it is time.
    pub(crate) fn note(&self, refusal: Refusal, exchange: &Exchange) {
        let (counter, status, reason) = match refusal {
            Refusal::Malformed => (&self.malformed, 400, "it cannot be read, or names no host"),
            Refusal::UnknownHost => (&self.unknown_hosts, 404, "no app answers to its host"),
        };
        counter.fetch_add(1, Relaxed);
        let Some(untold) = self.telling.lock().turn(Instant::now(), may_write) else { return };
        tracing::warn!(
            status,
            method = %exchange.method,
            host = exchange.host.name(),
            // Escaped by its quotes; a query string may carry secrets and is left out.
            path = exchange.uri.path(),
            from = exchange.client.address.to_str().unwrap_or_default(),
            request_id = exchange.id.to_str().unwrap_or_default(),
            untold,
            "refused a request: {reason}"
        );
    }

    /// Counts what is not HTTP at all, and was answered by the parser before there was a request.
    pub(crate) fn note_no_http(&self, client: &HeaderValue) {
        self.malformed.fetch_add(1, Relaxed);
        let Some(untold) = self.telling.lock().turn(Instant::now(), may_write) else { return };
        let from = client.to_str().unwrap_or_default();
        tracing::warn!(status = 400, from, untold, "refused a request: it is not HTTP");
    }
}

/// Whether a short line can be written to the log without a wait.
fn may_write() -> bool {
    let stderr = rustix::stdio::stderr();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::from_borrowed_fd(stderr, PollFlags::OUT)];
    matches!(poll(&mut polled, Some(&now)), Ok(1)) && polled[0].revents() == PollFlags::OUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_went_untold() {
        let mut telling = Telling::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(telling.turn(at(0), || true), Some(0));
        assert_eq!(telling.turn(at(10), || true), None);
        assert_eq!(telling.turn(at(999), || true), None);
        assert_eq!(telling.turn(at(1000), || true), Some(2));
        assert_eq!(telling.turn(at(3000), || false), None, "the log stands still");
        assert_eq!(telling.turn(at(3001), || true), Some(1));
    }
}
