//! The end of an instance: asked for, waited for, and in the end enforced.
//!
//! The shim does the work: it sends the stop signal, waits for the grace period and kills what
//! is left, also when nobody of us is there any more. What is here is the waiting, and the case that
//! there is no shim, or one that does not answer: then another one is started to do it. So an end is
//! always written down by a shim, and whoever adopts the instance meanwhile finds it ending.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use dozen_sandbox::{client::Observation, protocol::Request, state};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, pidfd_send_signal},
};

use super::Supervisor;
use crate::{InstanceState, LaunchId, RunError, exit::ExitReason};

/// How long a shim that answers may take to come.
const SHIM_WAIT: Duration = Duration::from_secs(5);

/// How long after the grace period a shim may take to kill, reap and report.
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// How long the kernel may take to end what was killed.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// How often a wait for news makes sure that news may still come.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How often a shim that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What a wait for the end came to.
enum End {
    Seen(ExitReason),
    ShimLost,
    TimedOut,
}

impl Supervisor {
    /// Stops an instance and returns how it ended: its stop signal, then `grace` (or the
    /// spec's own grace period), then everything inside is killed.
    ///
    /// Blocks until it has ended. Stopping one that ended already says how it did; asking twice
    /// sends the signal once. Where the shim is dead another one ends the instance, which needs
    /// no spec: what the app has printed is kept, and how it ended is known.
    ///
    /// [`RunError::NoSuchLaunch`] also when somebody else has stopped and removed it meanwhile.
    pub fn stop(&self, id: &LaunchId, grace: Option<Duration>) -> Result<ExitReason, RunError> {
        if let Some(reason) = self.status(id)?.exit() {
            return Ok(reason);
        }
        loop {
            let asked = match self.ask_to_stop(id, grace) {
                Ok(asked) => asked,
                // Somebody else has stopped and removed it meanwhile.
                Err(_) if !self.folder(id).exists() => return Err(RunError::NoSuchLaunch { id: id.clone() }),
                // It may be stopped itself, or out of memory.
                Err(_) => break,
            };
            let left = remaining_grace(&asked).or(grace).unwrap_or_default();
            let deadline = Instant::now() + left + AFTER_GRACE;
            match self.wait_end(id, deadline) {
                End::Seen(reason) => return Ok(reason),
                // The next shim goes on with the stop, without a second signal.
                End::ShimLost => std::thread::sleep(ASK_AGAIN),
                End::TimedOut => break,
            }
        }
        self.stop_by_force(id)
    }

    /// Kills everything inside and returns how it ended.
    pub fn kill(&self, id: &LaunchId) -> Result<ExitReason, RunError> {
        self.stop(id, Some(Duration::ZERO))
    }

    /// Asks the shim to stop, or the one that takes over from it, or starts one that does.
    fn ask_to_stop(&self, id: &LaunchId, grace: Option<Duration>) -> Result<state::InstanceState, RunError> {
        let grace_millis = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let deadline = Instant::now() + SHIM_WAIT;
        loop {
            let mut error = match self.link(id).ask(&Request::Stop { grace_millis }) {
                Ok(state) => return Ok(state),
                Err(error) => RunError::from(error),
            };
            match self.link(id).observe() {
                Ok(Observation::Over(last)) => return Ok(self.over(id, *last).reported),
                Ok(Observation::Absent) if !self.folder(id).exists() => return Err(error),
                Ok(Observation::Orphaned(_) | Observation::Ended(_)) => {
                    match self.end_by_another_shim(id, grace) {
                        Ok(state) => return Ok(state),
                        // Somebody adopted it in this moment: then that shim is asked.
                        Err(other) => error = other,
                    }
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn end_by_another_shim(
        &self,
        id: &LaunchId,
        grace: Option<Duration>,
    ) -> Result<state::InstanceState, RunError> {
        let shim = self.link(id).spawn_ending(&self.binary, grace)?;
        self.watcher.reap(shim);
        Ok(self.follow(id)?.reported)
    }

    /// Kills a shim that does not do what it is asked, and lets another one kill what it kept.
    fn stop_by_force(&self, id: &LaunchId) -> Result<ExitReason, RunError> {
        let deadline = Instant::now() + AFTER_KILL;
        if let Observation::Kept(last) = self.link(id).observe()?
            && let Ok(Some(shim)) = last.shim.open()
        {
            let _ = pidfd_send_signal(&shim, Signal::KILL);
            ends_by(&shim, deadline);
        }
        while Instant::now() < deadline {
            if let Err(error) = self.ask_to_stop(id, Some(Duration::ZERO)) {
                let is_gone = !self.folder(id).exists();
                return Err(if is_gone { RunError::NoSuchLaunch { id: id.clone() } } else { error });
            }
            match self.wait_end(id, deadline) {
                End::Seen(reason) => return Ok(reason),
                End::ShimLost => std::thread::sleep(ASK_AGAIN),
                End::TimedOut => break,
            }
        }
        Err(RunError::WouldNotEnd { id: id.clone(), waited: AFTER_KILL })
    }

    /// Whether neither shim nor init lives, at the latest after `within`: a shim reports the end
    /// a moment before its own.
    pub(super) fn is_over(&self, id: &LaunchId, within: Duration) -> Result<bool, RunError> {
        let deadline = Instant::now() + within;
        loop {
            match self.link(id).observe()? {
                Observation::Absent => return Ok(true),
                Observation::Ended(_) | Observation::Over(_) => return Ok(true),
                Observation::Kept(_) | Observation::Orphaned(_) if Instant::now() >= deadline => {
                    return Ok(false);
                }
                Observation::Kept(_) | Observation::Orphaned(_) => std::thread::sleep(ASK_AGAIN / 10),
            }
        }
    }

    /// Waits for the end; comes back early when the shim dies.
    fn wait_end(&self, id: &LaunchId, deadline: Instant) -> End {
        // An instance that nobody follows, or no more, is followed now.
        if self.board.get(id).is_none_or(|state| state.shim_lost) && self.follow(id).is_err() {
            return End::ShimLost;
        }
        let news = |state: &InstanceState| match state.exit() {
            Some(reason) => Some(End::Seen(reason)),
            None => state.shim_lost.then_some(End::ShimLost),
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Some(end) = self.board.wait(id, left.min(LOOK_AGAIN), news) {
                return end;
            }
            // Somebody else has stopped and removed it: no news of it will come any more.
            if self.board.get(id).is_none() {
                return End::ShimLost;
            }
            if left.is_zero() {
                return End::TimedOut;
            }
        }
    }
}

/// How long the grace period of a stop under way still lasts.
fn remaining_grace(state: &state::InstanceState) -> Option<Duration> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let kill_at = Duration::from_nanos(state.stop?.kill_at);
    Some(kill_at.saturating_sub(now))
}

/// Waits until the process has ended; `false` if it has not by then.
fn ends_by(handle: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&timeout)) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}
