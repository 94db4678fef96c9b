//! One-off processes: an admin command in the exact release and config of a stage.
//!
//! The row with its words and who asked is written first; then the process starts inside the
//! same walls as an instance. An attached one is handed to the caller as a stream of frames that
//! this side carries without understanding them. It is listed, stoppable and logged either way.

use std::{os::unix::net::UnixStream, sync::Arc};

use dozen_model::names::InstanceName;
use dozen_sandbox::spec::{Attach, TerminalSize};

use crate::{
    api::wire::{RunRequest, RunStarted},
    control::Control,
    error::ControlError,
    launcher::{Caller, NewLaunch, launch_id},
    store::{LaunchState, Purpose, StageRow},
};

/// A one-off process that has started.
pub(crate) struct Started {
    /// Its name and release.
    pub(crate) about: RunStarted,
    /// The frames, for one that is attached.
    pub(crate) stream: Option<UnixStream>,
}

impl Control {
    /// Starts a one-off process.
    pub(crate) fn run_one_off(
        self: &Arc<Self>,
        stage: &StageRow,
        request: &RunRequest,
        who: &str,
    ) -> Result<Started, ControlError> {
        if request.argv.is_empty() {
            return Err(ControlError::BadRequest("there is no command to run".into()));
        }
        let release = self.release_or_current(stage, request.release)?;
        let loaded = self.load(&stage.key, release)?;
        let size = request
            .terminal
            .as_ref()
            .map(|terminal| TerminalSize { rows: terminal.rows.max(1), columns: terminal.columns.max(1) });
        let caller = Caller {
            attach: (!request.detach).then_some(Attach { terminal: size }),
            term: request.terminal.as_ref().map(|terminal| terminal.term.clone()),
        };
        // The store gives it its number, with its row.
        let name = InstanceName { process: "run".parse()?, number: 1 };
        let new = NewLaunch {
            command: Some(serde_json::to_string(&request.argv).expect("words are strings")),
            who: Some(who.to_owned()),
            ..NewLaunch::of(Purpose::OneOff, name)
        };
        let launch = self.record_launch(&stage.key, release, new)?;
        let name = launch.name.clone();
        self.start_launch(&stage.key, &launch, &loaded, &caller)?;
        // Where it has ended already its row says so, and stays as it is.
        self.store.set_launch_state(&launch.id, LaunchState::Serving)?;
        // What was typed may hold a secret; the log names who and what program, not the words.
        let program = request.argv.first().and_then(|word| word.split(' ').next()).unwrap_or_default();
        self.say(&stage.key, &name.to_string(), &format!("{who} runs `{program}` in {release}"));
        let stream = match caller.attach {
            Some(_) => Some(self.supervisor.attach(&launch_id(&launch), size)?),
            None => None,
        };
        Ok(Started { about: RunStarted { name, release }, stream })
    }
}
