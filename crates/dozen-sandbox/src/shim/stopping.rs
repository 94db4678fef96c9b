//! Stopping: the signal, the grace period, the kill; and everything else that time brings.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use rustix::process::{Signal, pidfd_send_signal};

use super::keep::Shim;
use crate::{
    init::orders::Order,
    spec::StopPolicy,
    state::{Phase, StopState, unix_nanos},
};

/// How long init may take to kill everything before it is killed itself.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How long nothing may be due without a look.
const LONGEST_TIMER: Duration = Duration::from_secs(60);
/// No wait for a time in the state is longer: the clock may have been set back since another shim
/// wrote it.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A time of the state on the shim's own clock, which nobody sets: once it was looked at, a system
/// clock that is set does not move it.
#[derive(Default)]
pub(super) struct Due(Cell<Option<(u64, Instant)>>);

impl Due {
    /// What is left until a unix time in nanoseconds.
    fn left(&self, unix: u64) -> Duration {
        let now = Instant::now();
        let at = match self.0.get() {
            Some((same, at)) if same == unix => at,
            _ => now + Duration::from_nanos(unix.saturating_sub(unix_nanos())).min(LONGEST_WAIT),
        };
        self.0.set(Some((unix, at)));
        at.saturating_duration_since(now)
    }
}

impl Shim {
    /// Begins to stop, or shortens the grace period of a stop that has begun. It is not started again.
    pub(super) fn begin_stop(&mut self, grace: Duration) {
        let grace = u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX);
        let kill_at = unix_nanos().saturating_add(grace);
        let stop = self.state.stop.get_or_insert(StopState { kill_at });
        stop.kill_at = stop.kill_at.min(kill_at);
        if self.run.is_none() {
            self.state.phase = Phase::Exited;
            self.attachment.stop_waiting();
            return;
        }
        self.state.phase = Phase::Stopping;
        // Written down first: should we die now, whoever adopts goes on with the stop.
        self.save();
        if grace > 0 {
            self.send_stop_signal();
        }
    }

    /// Sends the stop signal. Init does that once, so a shim that cannot know whether the one before it
    /// came to order it, orders it again.
    pub(super) fn send_stop_signal(&mut self) {
        if let Some(run) = &self.run {
            let StopPolicy { signal: number, all, .. } = self.state.upkeep.stop;
            run.order(Order::Stop { number, all });
        }
    }

    /// SIGTERM: the machine goes down. The app has had it too, so nobody starts it again.
    pub(super) fn hear_shutdown(&mut self) {
        let mut record = [0; 128];
        // One record stands for as many as came.
        let _ = rustix::io::read(&self.end_requests, &mut record);
        self.begin_stop(self.state.upkeep.stop.grace);
    }

    /// Whoever started the instance is gone, and so it ends.
    pub(super) fn lose_lifeline(&mut self) {
        self.lifeline = None;
        self.begin_stop(Duration::ZERO);
    }

    /// Does what is due.
    pub(super) fn act_on_time(&mut self) {
        if let Phase::Backoff { until } = self.state.phase
            && self.run.is_none()
            && self.backoff_due.left(until).is_zero()
        {
            if self.dir.is_gone() {
                // Nobody could find or stop what would be started, and no launch could be written down.
                self.state.phase = Phase::Exited;
                self.attachment.stop_waiting();
            } else {
                self.begin_incarnation();
            }
        }
        if self.state.stop.is_some_and(|stop| self.kill_due.left(stop.kill_at).is_zero()) {
            self.kill();
        }
        if self.attachment.awaited_until().is_some_and(|until| Instant::now() >= until) {
            self.hang_up();
        }
    }

    fn kill(&mut self) {
        let Some(run) = &mut self.run else { return };
        match run.kill_ordered {
            None => {
                run.kill_ordered = Some(Instant::now());
                run.order(Order::Kill);
            }
            Some(since) if since.elapsed() >= LAST_WORD && !run.has_ended => {
                if let Some(init) = &run.init {
                    // It is gone already, or it goes now; both are seen by its descriptor.
                    let _ = pidfd_send_signal(init, Signal::KILL);
                }
            }
            Some(_) => {}
        }
    }

    /// How long nothing is due.
    pub(super) fn time_to_next(&self) -> Option<Duration> {
        let backoff = match self.state.phase {
            Phase::Backoff { until } if self.run.is_none() => Some(self.backoff_due.left(until)),
            _ => None,
        };
        let run = self.run.as_ref().filter(|run| !run.has_ended);
        let kill = run.and_then(|run| {
            let stop = self.state.stop?;
            Some(match run.kill_ordered {
                None => self.kill_due.left(stop.kill_at),
                Some(since) => LAST_WORD.saturating_sub(since.elapsed()).max(Duration::from_millis(100)),
            })
        });
        let attach =
            self.attachment.awaited_until().map(|until| until.saturating_duration_since(Instant::now()));
        [backoff, kill, attach, self.next_attempt(), self.reader_patience()]
            .into_iter()
            .flatten()
            .min()
            .map(|wait| wait.min(LONGEST_TIMER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_was_looked_at_keeps_its_place_and_another_one_gets_its_own() {
        let due = Due::default();
        let soon = unix_nanos() + 30_000_000_000;
        let left = due.left(soon);
        assert!(left <= Duration::from_secs(30) && left > Duration::from_secs(20), "{left:?}");
        // As if the clock had been set: what is kept decides, not the clock.
        due.0.set(Some((soon, Instant::now() + Duration::from_secs(5))));
        assert!(due.left(soon) <= Duration::from_secs(5));
        assert!(due.left(soon - 1) > Duration::from_secs(20));
        assert!(due.left(0).is_zero());
        assert!(due.left(u64::MAX) <= LONGEST_WAIT);
    }
}
