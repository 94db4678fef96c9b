//! Lines of the server's own log that anybody, or a shortage, can cause again and again.
//!
//! That log is a pipe or a terminal which may stand still, and the threads that serve requests must
//! not stand still with it: a line is written only where it will not wait, and at most one a second;
//! the next one says how many went untold.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// The turns of one kind of line.
#[derive(Debug)]
pub(crate) struct Telling(Mutex<Turns>);

#[derive(Debug)]
struct Turns {
    last: Option<Instant>,
    untold: u64,
}

impl Turns {
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

impl Telling {
    /// Nothing was told yet.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Turns { last: None, untold: 0 }))
    }

    /// How many lines went untold before this one, if it is to be written.
    pub(crate) fn turn(&self) -> Option<u64> {
        self.0.lock().turn(Instant::now(), may_write)
    }
}

impl Default for Telling {
    fn default() -> Self {
        Self::new()
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
        let mut turns = Turns { last: None, untold: 0 };
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(turns.turn(at(0), || true), Some(0));
        assert_eq!(turns.turn(at(10), || true), None);
        assert_eq!(turns.turn(at(999), || true), None);
        assert_eq!(turns.turn(at(1000), || true), Some(2));
        assert_eq!(turns.turn(at(3000), || false), None, "the log stands still");
        assert_eq!(turns.turn(at(3001), || true), Some(1));
    }
}
