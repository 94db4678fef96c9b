//! The end of an instance: asked for, waited for, and in the end enforced.
//!
//! The shim does the work: it sends the stop signal, waits for the grace period and kills what
//! is left, also when nobody of us is there any more. What is here is the waiting, and the case
//! that there is no shim: then the signals are sent directly, by pidfd, so that a pid that was
//! reused is never hit.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use dozen_model::manifest::ProcessSettings;
use dozen_sandbox::{ProcessIdentity, SandboxError, client::Observation, protocol::Request, state};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::Supervisor;
use crate::{InstanceState, LaunchId, RunError, exit::ExitReason};

/// How long an adoption of an instance without shim may take.
const ADOPTION_WAIT: Duration = Duration::from_secs(2);

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
    /// sends the signal once. A shim that is dead is waited for a moment, since whoever
    /// subscribes to events is about to adopt the instance: without a shim, what the app has
    /// printed and nobody has read yet is lost.
    pub fn stop(&self, id: &LaunchId, grace: Option<Duration>) -> Result<ExitReason, RunError> {
        let state = self.status(id)?;
        if let Some(reason) = state.exit() {
            return Ok(reason);
        }
        let began = Instant::now();
        loop {
            let Ok(asked) = self.ask_to_stop(id, grace) else {
                self.stop_without_shim(&state, grace);
                break;
            };
            let deadline = began + remaining_grace(&asked).or(grace).unwrap_or_default() + AFTER_GRACE;
            match self.wait_end(id, deadline) {
                End::Seen(reason) => return Ok(reason),
                // The next shim goes on with the stop, without a second signal.
                End::ShimLost => std::thread::sleep(ASK_AGAIN),
                End::TimedOut => break,
            }
        }
        self.kill(id)
    }

    /// Asks the shim, or the one that takes over from it.
    fn ask_to_stop(
        &self,
        id: &LaunchId,
        grace: Option<Duration>,
    ) -> Result<state::InstanceState, SandboxError> {
        let grace_millis = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let deadline = Instant::now() + ADOPTION_WAIT;
        loop {
            let error = match self.link(id).ask(&Request::Stop { grace_millis }) {
                Ok(state) => return Ok(state),
                Err(error) => error,
            };
            match self.link(id).observe() {
                Ok(Observation::Over(last)) => return Ok(self.over(id, *last).reported),
                Ok(Observation::Absent) if !self.folder(id).exists() => return Err(error),
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    /// Kills everything inside and returns how it ended.
    pub fn kill(&self, id: &LaunchId) -> Result<ExitReason, RunError> {
        let state = self.status(id)?;
        if let Some(reason) = state.exit() {
            return Ok(reason);
        }
        let deadline = Instant::now() + AFTER_KILL;
        if self.link(id).ask(&Request::Kill {}).is_ok()
            && let End::Seen(reason) = self.wait_end(id, deadline)
        {
            return Ok(reason);
        }
        self.kill_without_shim(id)?;
        Ok(self.post_end(id, state))
    }

    /// Kills a shim that does not answer, then what it kept: the other way round it could start
    /// the next incarnation.
    fn kill_without_shim(&self, id: &LaunchId) -> Result<(), RunError> {
        if let Observation::Kept(last) = self.link(id).observe()?
            && let Some(shim) = handle_of(last.shim)
        {
            let _ = pidfd_send_signal(&shim, Signal::KILL);
            ends_by(&shim, Instant::now() + AFTER_KILL);
        }
        let _ = self.link(id).end_orphan();
        if self.is_over(id, AFTER_KILL)? {
            Ok(())
        } else {
            Err(RunError::WouldNotEnd { id: id.clone(), waited: AFTER_KILL })
        }
    }

    /// Whether neither shim nor init lives, at the latest after `within`: a shim reports the end
    /// a moment before its own.
    pub(super) fn is_over(&self, id: &LaunchId, within: Duration) -> Result<bool, RunError> {
        let deadline = Instant::now() + within;
        loop {
            match self.link(id).observe()? {
                Observation::Absent => return Ok(true),
                Observation::Ended(last) | Observation::Over(last) => {
                    // The kernel closes init's socket first and ends what is inside after that.
                    let init = last.init.and_then(handle_of);
                    return Ok(init.is_none_or(|init| ends_by(&init, deadline)));
                }
                Observation::Kept(_) | Observation::Orphaned(_) if Instant::now() >= deadline => {
                    return Ok(false);
                }
                Observation::Kept(_) | Observation::Orphaned(_) => std::thread::sleep(ASK_AGAIN / 10),
            }
        }
    }

    /// Waits for the end; comes back early when the shim dies.
    fn wait_end(&self, id: &LaunchId, deadline: Instant) -> End {
        // An instance that nobody follows yet is not on the board: follow it now.
        if self.board.get(id).is_none() && self.follow(id).is_err() {
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

    /// Signals the main process and waits for its end, as long as the grace period lasts.
    ///
    /// Without a shim nobody but the spec knows the stop signal; SIGTERM is what nearly all
    /// expect. Init is not waited for: it stays while output waits to be read.
    fn stop_without_shim(&self, state: &InstanceState, grace: Option<Duration>) {
        if let Some(main) = state.reported.main.and_then(handle_of) {
            let _ = pidfd_send_signal(&main, Signal::TERM);
            ends_by(&main, Instant::now() + grace.unwrap_or(ProcessSettings::DEFAULT_GRACE));
        }
    }

    /// Posts the end of an instance that has no shim to report it.
    fn post_end(&self, id: &LaunchId, mut last: InstanceState) -> ExitReason {
        last.shim_lost = true;
        last.reported.phase = state::Phase::Exited;
        let reason = last.exit().unwrap_or(ExitReason::Unknown);
        self.board.post(id, last);
        reason
    }
}

/// How long the grace period of a stop under way still lasts.
fn remaining_grace(state: &state::InstanceState) -> Option<Duration> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let kill_at = Duration::from_nanos(state.stop?.kill_at);
    Some(kill_at.saturating_sub(now))
}

/// A handle of that very process, or `None` when it is gone.
fn handle_of(process: ProcessIdentity) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Asked after the handle was opened: had the pid been reused before, this would show it.
    process.exists().then_some(handle)
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
