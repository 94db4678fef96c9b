//! What is known about an instance, as control and `dozen ps` see it.
//!
//! The shim is the one who knows: its own words are in [`InstanceState::reported`]. What it cannot
//! report, that it is dead itself, is added here.

use dozen_sandbox::state::{self, ExitStatus, Phase};

use crate::exit::ExitReason;

/// The last known state of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// What its shim reported last.
    pub reported: state::InstanceState,
    /// Whether the shim died since. The app goes on; `Supervisor::adopt` gives it a new shim.
    pub shim_lost: bool,
}

impl InstanceState {
    /// The state that a living shim reports.
    pub(crate) fn of(reported: state::InstanceState) -> Self {
        Self { reported, shim_lost: false }
    }

    /// Whether it ended and will not be started again.
    pub fn has_ended(&self) -> bool {
        self.reported.has_ended()
    }

    /// Whether the app's program runs now.
    pub fn is_running(&self) -> bool {
        matches!(self.reported.phase, Phase::Running)
    }

    /// How its last incarnation ended, if one did.
    pub fn last_exit(&self) -> Option<ExitReason> {
        let exit = self.reported.last_exit.as_ref()?;
        Some(ExitReason::of(exit.status, self.reported.launch_error.as_deref()))
    }

    /// How it ended, if it will not be started again.
    pub fn exit(&self) -> Option<ExitReason> {
        self.has_ended().then(|| self.last_exit().unwrap_or(ExitReason::Unknown))
    }

    /// How an incarnation ended after the instance had been restarted `restarts` times, if one
    /// did. A shim starts the next one at once, so a state in between may never be seen.
    pub fn exit_after(&self, restarts: u32) -> Option<ExitReason> {
        let over = self.has_ended() || self.is_between_lives() || self.reported.restarts > restarts;
        over.then(|| self.last_exit().unwrap_or(ExitReason::Unknown))
    }

    /// Whether it waits to be started *again*: a shim's first state is a pause too, of no length.
    fn is_between_lives(&self) -> bool {
        matches!(self.reported.phase, Phase::Backoff { .. }) && self.reported.incarnation > 0
    }

    /// When it is started again, in nanoseconds since 1970, if it waits for that.
    pub fn starts_again_at(&self) -> Option<u64> {
        match self.reported.phase {
            Phase::Backoff { until } if self.is_between_lives() => Some(until),
            _ => None,
        }
    }

    /// The state in one word: `starting`, `up`, `stopping`, `crashed` or `exited`.
    ///
    /// `crashed` is an end that nobody asked for and that was not a success; whether it is started
    /// again says [`InstanceState::starts_again_at`].
    pub fn word(&self) -> &'static str {
        match self.reported.phase {
            Phase::Running => "up",
            Phase::Stopping => "stopping",
            Phase::Starting => "starting",
            Phase::Backoff { .. } if !self.is_between_lives() => "starting",
            Phase::Backoff { .. } | Phase::Exited => {
                let asked_for = self.reported.stop.is_some();
                let done = self.last_exit().is_some_and(|reason| reason.is_success());
                if asked_for || done { "exited" } else { "crashed" }
            }
        }
    }
}

impl ExitReason {
    /// The reason in a shim's words.
    pub(crate) fn of(status: ExitStatus, launch_error: Option<&str>) -> Self {
        match status {
            ExitStatus::Code(code) => Self::Status(code),
            ExitStatus::Signal(signal) => Self::Signal(signal),
            ExitStatus::LaunchFailed => {
                Self::NotStarted(launch_error.unwrap_or("the walls did not say why").to_owned())
            }
            ExitStatus::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use dozen_sandbox::{
        ProcessIdentity,
        spec::StopPolicy,
        state::{Dropped, Exit, LogPlan, Upkeep},
    };

    use super::*;

    fn state(phase: Phase, incarnation: u32, last: Option<(u64, ExitStatus)>) -> InstanceState {
        InstanceState::of(state::InstanceState {
            boot_id: String::new(),
            instance: "web.1".into(),
            shim: ProcessIdentity { pid: 1, start_ticks: 1 },
            init: None,
            main: None,
            incarnation,
            phase,
            restarts: incarnation.saturating_sub(1),
            failures: 0,
            started_at: 0,
            last_exit: last.map(|(at, status)| Exit { status, at }),
            launch_error: None,
            stop: None,
            walls: vec![],
            pipe_bytes: 0,
            dropped: Dropped::default(),
            log_trouble: None,
            unannounced: Dropped::default(),
            upkeep: Upkeep {
                log: LogPlan { dir: "/logs".into(), segment_bytes: 1, max_bytes: 2 },
                stop: StopPolicy::default(),
                attach: None,
            },
        })
    }

    #[test]
    fn a_shims_first_pause_is_no_back_off() {
        let first = state(Phase::Backoff { until: 0 }, 0, None);
        assert_eq!((first.word(), first.exit_after(0), first.starts_again_at()), ("starting", None, None));
        let crashed = state(Phase::Backoff { until: 7 }, 1, Some((5, ExitStatus::Code(3))));
        assert_eq!((crashed.word(), crashed.exit_after(0)), ("crashed", Some(ExitReason::Status(3))));
        assert_eq!(crashed.starts_again_at(), Some(7));
    }

    #[test]
    fn a_restart_counts_only_after_it_came_into_our_hands() {
        let again = state(Phase::Running, 3, Some((5, ExitStatus::Signal(11))));
        assert_eq!(again.exit_after(1), Some(ExitReason::Signal(11)));
        assert_eq!(again.exit_after(2), None);
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_a_crash_unless_it_is_a_success() {
        for (status, word) in [(ExitStatus::Code(0), "exited"), (ExitStatus::Code(1), "crashed")] {
            for phase in [Phase::Exited, Phase::Backoff { until: 9 }] {
                assert_eq!(state(phase, 1, Some((5, status))).word(), word);
            }
        }
        let mut stopped = state(Phase::Exited, 1, Some((5, ExitStatus::Signal(15))));
        stopped.reported.stop = Some(dozen_sandbox::state::StopState { kill_at: 0 });
        assert_eq!(stopped.word(), "exited");
    }
}
