//! One-off processes: an admin command in the exact release and config of a stage.
//!
//! The row with its words and who asked is written first; then the process starts inside the
//! same walls as an instance. An attached one is handed to the caller as a stream of frames that
//! this side carries without understanding them. It is listed, stoppable and logged either way.
//!
//! What was typed may hold a password: the words are kept sealed, and only until the process has
//! ended; the log gets the name of the program and none of the others.

use std::{os::unix::net::UnixStream, sync::Arc};

use dozen_model::{
    command_line::{Command, CommandTemplate},
    names::InstanceName,
};
use dozen_run::LaunchCommand;
use dozen_sandbox::spec::{Attach, TerminalSize};

use crate::{
    api::wire::{RunRequest, RunStarted},
    barrier::Place,
    control::Control,
    error::ControlError,
    launcher::{Caller, NewLaunch, launch_id},
    seal::Secret,
    store::{LaunchRow, LaunchState, Purpose, StageKey, StageRow},
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
            command: Some(request.argv.clone()),
            who: Some(who.to_owned()),
            ..NewLaunch::of(Purpose::OneOff, name)
        };
        let launch = self.record_launch(&stage.key, release, new)?;
        self.reach(Place::OneOffRecorded);
        let name = launch.name.clone();
        self.start_launch(&stage.key, &launch, &loaded, &caller)?;
        self.reach(Place::OneOffStarted);
        // Where it has ended since its row says so, and stays as it is.
        self.store.set_launch_state(&launch.id, LaunchState::Serving)?;
        let program = program_of(&request.argv);
        self.say(&stage.key, &name.to_string(), &format!("{who} runs {program} in {release}"));
        let stream = match caller.attach {
            Some(_) => Some(self.attach_or_end(&launch, size)?),
            None => None,
        };
        Ok(Started { about: RunStarted { name, release }, stream })
    }

    /// Who is told that it could not be attached to takes it for one that did not start.
    fn attach_or_end(
        &self,
        launch: &LaunchRow,
        size: Option<TerminalSize>,
    ) -> Result<UnixStream, ControlError> {
        self.supervisor.attach(&launch_id(launch), size).map_err(|refused| {
            if let Err(error) = self.end_launch(launch, None) {
                tracing::error!(instance = %launch.name, "could not end a one-off process: {error}");
            }
            refused.into()
        })
    }
}

impl Control {
    /// Encrypts the words of a launch.
    pub(crate) fn seal_command(&self, stage: &StageKey, launch: &str, words: &[String]) -> Vec<u8> {
        let text = serde_json::to_vec(words).expect("words are strings");
        self.key.seal(&stage.owner(Secret::Command(launch)), &text)
    }

    /// The words of a one-off process; none for other launches and for one that has ended.
    pub(crate) fn command_of(
        &self,
        stage: &StageKey,
        launch: &LaunchRow,
    ) -> Result<Vec<String>, ControlError> {
        let Some(sealed) = &launch.sealed_command else { return Ok(Vec::new()) };
        let text = self.key.unseal(&stage.owner(Secret::Command(&launch.id)), sealed)?;
        serde_json::from_slice(&text).map_err(|_| ControlError::Sealed { what: "a command".into() })
    }
}

/// What a command runs, for the log: the program's name where it is plainly one.
///
/// A line is read as it will be run, so that no assignment, nor a part of a quoted one, is taken
/// for the program.
fn program_of(words: &[String]) -> String {
    let program = match LaunchCommand::of_words(words) {
        LaunchCommand::Words(words) => words.first().cloned(),
        // A variable's value could be anything: what holds one is not named.
        LaunchCommand::Line(line) => CommandTemplate::parse(line)
            .and_then(|template| template.expand(|_| Some(b"$".to_vec())))
            .ok()
            .and_then(|expanded| match expanded.command {
                Command::Exec { argv } => String::from_utf8(argv.into_iter().next()?).ok(),
                Command::Shell { .. } => None,
            }),
    };
    let is_plain = |name: &String| {
        (1..=80).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte))
    };
    program.filter(is_plain).map_or_else(|| "a command".to_owned(), |name| format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use dozen_model::release::ReleaseNumber;

    use super::*;
    use crate::stand::Stand;

    #[test]
    fn the_log_names_the_program_and_no_other_word() {
        for (words, program) in [
            (&["psql", "postgres://ann:hunter2@db/x"][..], "`psql`"),
            (&["python manage.py shell --password hunter2"], "`python`"),
            (&["PGPASSWORD=hunter2 psql"], "`psql`"),
            (&["PGPASSWORD='a hunter2 b' TOKEN=x exec ./bin/psql -c x"], "`./bin/psql`"),
            (&["PGPASSWORD=hunter2 psql | grep x"], "a command"),
            (&["PGPASSWORD=hunter2", "psql"], "a command"),
            (&["PGPASSWORD=hunter2"], "a command"),
            (&["psql\t--password=hunter2"], "a command"),
            (&["$SECRET x"], "a command"),
            (&["'hunter2 "], "a command"),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(program_of(&words), program, "{words:?}");
        }
    }

    #[test]
    fn the_words_of_a_one_off_process_are_kept_sealed_and_until_its_end() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let words = vec!["PGPASSWORD=hunter2-hunter2 psql".to_owned()];
        let new = NewLaunch {
            command: Some(words.clone()),
            ..NewLaunch::of(Purpose::OneOff, "run.1".parse().unwrap())
        };
        let launch = control.record_launch(&shop.key, ReleaseNumber(1), new).unwrap();

        let kept = control.store.launch(&launch.id).unwrap().unwrap();
        assert_eq!(control.command_of(&shop.key, &kept).unwrap(), words);
        for file in ["state.db", "state.db-wal"] {
            let bytes = std::fs::read(control.home.root().join(file)).unwrap();
            assert!(!bytes.windows(15).any(|part| part == b"hunter2-hunter2"), "{file}");
        }
        let other = LaunchRow { id: "other".into(), ..kept };
        assert!(control.command_of(&shop.key, &other).is_err(), "it opens for its own process only");

        control.store.end_launch(&launch.id, "exit status 0").unwrap();
        assert!(control.store.launch(&launch.id).unwrap().unwrap().sealed_command.is_none());
    }
}
