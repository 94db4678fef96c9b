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

    /// Keeps why the last launch came to nothing: a shim forgets it as soon as it tries again,
    /// and then nobody could say any more why the first try ended.
    pub(crate) fn keep_launch_error_of(&mut self, before: &Self) {
        if self.reported.launch_error.is_none() && self.reported.last_exit == before.reported.last_exit {
            self.reported.launch_error.clone_from(&before.reported.launch_error);
        }
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

    /// The state in one word: `starting`, `up`, `stopping`, `backoff`, `crashed` or `exited`.
    ///
    /// `crashed` is an end that nobody asked for and that was not a success.
    pub fn word(&self) -> &'static str {
        match self.reported.phase {
            Phase::Running => "up",
            Phase::Stopping => "stopping",
            Phase::Backoff { .. } if self.is_between_lives() => "backoff",
            Phase::Starting | Phase::Backoff { .. } => "starting",
            Phase::Exited => {
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
