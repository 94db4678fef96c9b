//! From a launch row to a running process, and back to nothing.
//!
//! The row is written first, the process started after, so whatever may be alive is known. The
//! spec is made anew from the store whenever a shim needs one: the release, its image and its
//! sealed config are all that it depends on.
//!
//! Who ends a process may come between its row and its start. So a start looks at the row before
//! and behind it, and an end that finds no process writes the row, then waits for the starts under
//! way and looks again: whatever the order, one of the two sees the other, and a process whose row
//! has ended does not stay.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use dozen_model::{
    image::Image,
    manifest::{AppManifest, ProcessSettings},
    names::{ConfigVar, InstanceName, ProcessType},
    release::ReleaseNumber,
};
use dozen_run::{
    Adoption, ExitReason, LaunchCommand, LaunchId, LaunchPlan, Probe, ProbeAnswer, RunError,
    ready::ALIVE_AFTER, wait_alive, wait_ready,
};
use dozen_sandbox::spec::{Attach, LaunchSpec, Limits, Restart};

use crate::{
    barrier::Place,
    control::Control,
    error::ControlError,
    progress::ProgressLog,
    release_config::ReleaseConfig,
    seal::{Secret, random_text},
    store::{LaunchRow, LaunchState, Purpose, ReleaseRow, StageKey, StageRow},
};

/// How long the last lines of a process that failed are waited for.
pub(crate) const TAIL_WAIT: Duration = Duration::from_millis(400);

/// How often a shim that outlives its process is looked at.
const SHIM_BEAT: Duration = Duration::from_millis(500);

const ID_LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A process that is about to be recorded.
///
/// It has no `Debug` on purpose: a command may hold a secret.
#[derive(Clone)]
pub(crate) struct NewLaunch {
    /// What for.
    pub(crate) purpose: Purpose,
    /// Its name, such as `web.1`.
    pub(crate) name: InstanceName,
    /// The deploy it belongs to.
    pub(crate) deploy: Option<i64>,
    /// Words of a one-off process.
    pub(crate) command: Option<Vec<String>>,
    /// Who started a one-off process.
    pub(crate) who: Option<String>,
}

impl NewLaunch {
    /// A process of this kind that belongs to no deploy and to nobody.
    pub(crate) fn of(purpose: Purpose, name: InstanceName) -> Self {
        Self { purpose, name, deploy: None, command: None, who: None }
    }
}

/// A launch whose process was started, or taken over, at this moment.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) launch: LaunchRow,
    at: Instant,
}

impl Begun {
    /// One of this moment.
    pub(crate) fn now(launch: LaunchRow) -> Self {
        Self { launch, at: Instant::now() }
    }
}

/// Somebody's terminal or pipes, for a one-off process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// For a one-off process that somebody is attached to.
    pub(crate) attach: Option<Attach>,
    /// `TERM` of that terminal.
    pub(crate) term: Option<String>,
}

/// A release with all that its processes need.
pub(crate) struct Loaded {
    pub(crate) row: ReleaseRow,
    pub(crate) image: Image,
    pub(crate) manifest: AppManifest,
    pub(crate) config: ReleaseConfig,
}

impl Loaded {
    /// What the release phase runs, if there is one: what the stage says goes first.
    pub(crate) fn release_command(&self) -> Option<&str> {
        self.manifest.release.command.as_deref().or(self.image.release_command.as_deref())
    }
}

impl Control {
    /// Reads a release, its image and its config.
    pub(crate) fn load(&self, stage: &StageKey, number: ReleaseNumber) -> Result<Loaded, ControlError> {
        let row = self.store.release(stage.id, number)?.ok_or_else(|| ControlError::NoSuchRelease {
            app: stage.app.clone(),
            number,
            last: None,
        })?;
        let image = self.image_of(&row)?;
        let config = ReleaseConfig::unseal(&self.key, &stage.owner(Secret::Release(number)), &row.sealed)?;
        let manifest = image.manifest.for_stage(&stage.stage);
        Ok(Loaded { row, image, manifest, config })
    }

    /// How many instances of a type a stage wants: as scaled, else as the app declares, else one
    /// `web` and none of the others.
    pub(crate) fn wanted(&self, stage: &StageRow, image: &Image, process: &ProcessType) -> u32 {
        let declared = image.manifest.for_stage(&stage.key.stage).formation();
        match stage.formation.0.get(process) {
            Some(count) => *count,
            None => declared.of(process),
        }
    }

    /// Names of all instances that a stage wants while it is not stopped.
    pub(crate) fn names_of_all(&self, stage: &StageRow, loaded: &Loaded) -> Vec<InstanceName> {
        let of_type = |process: &ProcessType| {
            let process = process.clone();
            let count = self.wanted(stage, &loaded.image, &process);
            (1..=count).map(move |number| InstanceName { process: process.clone(), number })
        };
        loaded.image.processes.keys().flat_map(of_type).collect()
    }

    /// Writes the row of a process that is about to start.
    pub(crate) fn record_launch(
        &self,
        stage: &StageKey,
        release: ReleaseNumber,
        new: NewLaunch,
    ) -> Result<LaunchRow, ControlError> {
        let may_start = self.may_start.read();
        if !*may_start {
            return Err(ControlError::Stopping);
        }
        let web = new.purpose == Purpose::Service && new.name.process.is_web();
        let id = random_text(10, ID_LETTERS);
        let mut row = LaunchRow {
            sealed_command: new.command.map(|words| self.seal_command(stage, &id, &words)),
            id,
            stage: stage.id,
            purpose: new.purpose,
            name: new.name,
            release,
            deploy: new.deploy,
            port: if web { Some(self.ports.reserve()?) } else { None },
            state: LaunchState::Starting,
            who: new.who,
            outcome: None,
            created_at: 0,
        };
        row.name.number = self.store.add_launch(&row)?;
        Ok(row)
    }

    /// From here on no process is recorded or started; each one that was has its row.
    pub(crate) fn start_no_more(&self) {
        *self.may_start.write() = false;
    }

    /// Waits for the starts that are under way.
    fn wait_for_starts(&self) {
        drop(self.may_start.write());
    }

    /// Starts a recorded process. One that cannot be started is ended again; its row says so only
    /// when nothing of it is left.
    ///
    /// # Errors
    /// [`ControlError::EndedBefore`] when somebody has ended it meanwhile; then nothing runs.
    pub(crate) fn start_launch(
        &self,
        stage: &StageKey,
        launch: &LaunchRow,
        loaded: &Loaded,
        caller: &Caller,
    ) -> Result<(), ControlError> {
        let may_start = self.may_start.read();
        if !*may_start {
            // Who has said so ends its row, too.
            return Err(ControlError::Stopping);
        }
        let started = self.refuse_ended(launch).and_then(|()| {
            self.supervisor.start(&launch_id(launch), &self.spec(stage, launch, loaded, caller)?)?;
            self.refuse_ended_unstarted(launch)
        });
        match started {
            Ok(()) => Ok(()),
            Err(error) => {
                match self.supervisor.kill(&launch_id(launch)) {
                    Ok(_) | Err(RunError::NoSuchLaunch { .. }) => {
                        self.clear_launch(launch, "did not start")?
                    }
                    Err(unsure) => tracing::error!(instance = %launch.name, "could not end it: {unsure}"),
                }
                Err(error)
            }
        }
    }

    fn refuse_ended(&self, launch: &LaunchRow) -> Result<(), ControlError> {
        match self.store.launch(&launch.id)? {
            Some(row) if row.state != LaunchState::Ended => Ok(()),
            _ => Err(ControlError::EndedBefore { name: launch.name.clone() }),
        }
    }

    /// The same, but for a row that says how the process ended: a short one-off process is over, and
    /// its end noted, before its starter looks.
    fn refuse_ended_unstarted(&self, launch: &LaunchRow) -> Result<(), ControlError> {
        match self.store.launch(&launch.id)? {
            Some(row) if row.exit().is_some() => Ok(()),
            _ => self.refuse_ended(launch),
        }
    }

    /// Takes over a process that an earlier control, or a dead shim, left. Its port is held already:
    /// since it was given, or since this server found the row.
    pub(crate) fn adopt_launch(
        &self,
        stage: &StageKey,
        launch: &LaunchRow,
    ) -> Result<Adoption, ControlError> {
        let again = || -> Result<LaunchSpec, RunError> {
            let refused = |error: ControlError| RunError::BadCommand {
                process: launch.name.to_string(),
                reason: error.to_string(),
            };
            let loaded = self.load(stage, launch.release).map_err(refused)?;
            self.spec(stage, launch, &loaded, &Caller::default()).map_err(refused)
        };
        Ok(self.supervisor.adopt(&launch_id(launch), again)?)
    }

    /// The same, however long it takes: an error says neither that it lives nor that it is dead.
    /// `None` when somebody else has ended it, or the server ends.
    pub(crate) fn adopt_patiently(&self, stage: &StageKey, launch: &LaunchRow) -> Option<Adoption> {
        let what = format!("take over {} of {}", launch.name, stage.app);
        self.until_done(&what, || match self.store.launch(&launch.id)? {
            Some(row) if row.state != LaunchState::Ended => self.adopt_launch(stage, launch).map(Some),
            _ => Ok(None),
        })?
    }

    fn spec(
        &self,
        stage: &StageKey,
        launch: &LaunchRow,
        loaded: &Loaded,
        caller: &Caller,
    ) -> Result<LaunchSpec, ControlError> {
        let words = self.command_of(stage, launch)?;
        let command = match launch.purpose {
            Purpose::OneOff => LaunchCommand::of_words(&words),
            Purpose::ReleasePhase => LaunchCommand::Line(loaded.release_command().unwrap_or("true")),
            Purpose::Service => LaunchCommand::Line(line_of(&loaded.image, &launch.name.process)?),
        };
        let config: BTreeMap<ConfigVar, Vec<u8>> =
            loaded.config.vars.iter().map(|(name, value)| (name.clone(), value.bytes.clone())).collect();
        let mounts = self.service_mounts(stage, &loaded.config)?;
        let settings = loaded.manifest.settings_of(&launch.name.process);
        let plan = LaunchPlan {
            app: &stage.app,
            stage: &stage.stage,
            release: launch.release,
            commit: loaded.row.commit.as_deref(),
            instance: &launch.name,
            command,
            image: &loaded.image,
            layer_path: &|digest| self.layers.path(digest),
            config: &config,
            service_mounts: &mounts,
            user: self.user_of(stage.id),
            port: launch.port,
            settings: &settings,
            limits: Limits::default(),
            tmp: loaded.manifest.limits.tmp(),
            restart: if launch.purpose == Purpose::Service { Restart::Always } else { Restart::Never },
            attach: caller.attach,
            log_dir: &self.log_dir(stage, launch),
        };
        let mut spec = plan.spec()?;
        if let Some(term) = &caller.term {
            spec.command.env.push((b"TERM".to_vec().into(), term.clone().into_bytes().into()));
        }
        Ok(spec)
    }

    /// The folder of an instance's log segments.
    pub(crate) fn log_dir(&self, stage: &StageKey, launch: &LaunchRow) -> PathBuf {
        self.home.logs(&stage.app, &stage.stage).join(format!("{}~{}", launch.name, launch.id))
    }

    /// Waits until an instance is ready; each kind of answer goes to the log once. One without a port
    /// is ready when it has lived for a while, so of many the last one is waited for as long as the first.
    pub(crate) fn wait_until_ready(
        &self,
        stage: &StageKey,
        begun: &Begun,
        loaded: &Loaded,
        progress: &ProgressLog,
    ) -> Result<String, ControlError> {
        let launch = &begun.launch;
        let id = launch_id(launch);
        let ready = match launch.port {
            None => wait_alive(&id, &self.supervisor, ALIVE_AFTER.saturating_sub(begun.at.elapsed())),
            Some(port) => {
                let probe = Probe {
                    address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                    health_path: loaded.manifest.health.path.clone(),
                    host: self.probe_host(stage),
                    proto: "http".into(),
                    timeout: loaded.manifest.health.timeout(),
                };
                let mut last = None;
                let mut heard = |answer: ProbeAnswer| {
                    let text = answer.to_string();
                    if last.as_ref() != Some(&text) {
                        progress.line(format!("{}: {text}", launch.name));
                        last = Some(text);
                    }
                };
                wait_ready(&probe, &id, &self.supervisor, &mut heard)
            }
        };
        match ready {
            Ok(ready) => Ok(ready.answer.to_string()),
            Err(error) => {
                use dozen_model::hint::Hint;
                Err(ControlError::NotReady {
                    message: format!("{} did not get ready: {error}", launch.name),
                    hint: error.hint(),
                    log_tail: self.log_tail(stage, launch, &loaded.config.secrets()),
                })
            }
        }
    }

    /// The last lines that a process printed, redacted.
    pub(crate) fn log_tail(&self, stage: &StageKey, launch: &LaunchRow, secrets: &[Vec<u8>]) -> Vec<String> {
        // What the process wrote last may still be in the pipe; its shim reads it within
        // milliseconds, on a busy machine a few hundred. Two equal reads in a row are the end.
        let deadline = Instant::now() + TAIL_WAIT;
        let mut tail = Vec::new();
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.read_tail(stage, launch, secrets);
            let settled = !now.is_empty() && now == tail;
            tail = now;
            if settled || Instant::now() >= deadline {
                return tail;
            }
        }
    }

    fn read_tail(&self, stage: &StageKey, launch: &LaunchRow, secrets: &[Vec<u8>]) -> Vec<String> {
        let stream = self.log_dir(stage, launch);
        let Some(name) = stream.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return Vec::new();
        };
        let mut query = dozen_logs::LogQuery::new(stage.app.clone(), stage.stage.clone());
        query.lines = Some(200);
        let process =
            if launch.purpose == Purpose::ReleasePhase { "release".into() } else { launch.name.to_string() };
        query.process = process.parse().ok();
        let lines = self.logs.read(&query).map(|page| page.lines).unwrap_or_default();
        let of_it = lines.iter().filter(|line| line.stream.to_string().contains(&name));
        let mut tail: Vec<String> = of_it
            .map(|line| {
                String::from_utf8_lossy(&dozen_build::redaction::redact(&line.text, secrets)).into_owned()
            })
            .collect();
        tail.split_off(tail.len().saturating_sub(20))
    }

    /// Ends a process for good and removes what is left of it.
    pub(crate) fn end_launch(
        &self,
        launch: &LaunchRow,
        grace: Option<Duration>,
    ) -> Result<Option<ExitReason>, ControlError> {
        if let Some(reason) = self.stop_process(launch, grace)? {
            self.reach(Place::ProcessEnded);
            self.clear_launch(launch, &reason.to_string())?;
            return Ok(Some(reason));
        }
        let is_first = self.store.end_launch(&launch.id, "gone")?;
        // Who starts it in this moment may have looked at the row before.
        self.wait_for_starts();
        let reason = self.stop_process(launch, grace)?;
        self.clear_away(launch, is_first)?;
        Ok(reason)
    }

    /// Stops a process; `None` when there is none.
    fn stop_process(
        &self,
        launch: &LaunchRow,
        grace: Option<Duration>,
    ) -> Result<Option<ExitReason>, ControlError> {
        match self.supervisor.stop(&launch_id(launch), grace) {
            Ok(reason) => Ok(Some(reason)),
            Err(RunError::NoSuchLaunch { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Records the end of a process that is gone, then removes its folder.
    ///
    /// A shim may outlive its process, for whoever is to attach to it; then the folder goes when the
    /// shim does. In this order: a killed server must find the result of a release phase, or the phase would
    /// be taken for one whose end is not known. A folder that stays is swept at the next start.
    pub(crate) fn clear_launch(&self, launch: &LaunchRow, outcome: &str) -> Result<(), ControlError> {
        let is_first = self.store.end_launch(&launch.id, outcome)?;
        self.reach(Place::EndRecorded);
        self.clear_away(launch, is_first)
    }

    fn clear_away(&self, launch: &LaunchRow, is_first: bool) -> Result<(), ControlError> {
        // Once, or it would be taken from whoever was given it since; and before the folder goes,
        // which may fail: nobody else would ever give it back.
        if let (true, Some(port)) = (is_first, launch.port) {
            self.ports.release(port);
        }
        match self.supervisor.remove(&launch_id(launch)) {
            Err(RunError::StillRuns { id }) => {
                self.remove_later(id);
                Ok(())
            }
            removed => Ok(removed?),
        }
    }

    fn remove_later(&self, id: LaunchId) {
        let supervisor = Arc::clone(&self.supervisor);
        std::thread::spawn(move || {
            tracing::warn!(instance = id.as_str(), "a shim outlives its process and is waited for");
            loop {
                match supervisor.remove(&id) {
                    Err(RunError::StillRuns { .. }) => std::thread::sleep(SHIM_BEAT),
                    Err(error) => {
                        tracing::warn!(instance = id.as_str(), "could not remove an instance: {error}");
                        return;
                    }
                    Ok(()) => return,
                }
            }
        });
    }

    /// The grace period of a process type in a release.
    pub(crate) fn settings_of(&self, stage: &StageKey, launch: &LaunchRow) -> ProcessSettings {
        let image = self
            .store
            .release(stage.id, launch.release)
            .ok()
            .flatten()
            .and_then(|row| self.image_of(&row).ok());
        image
            .map(|image| image.manifest.for_stage(&stage.stage).settings_of(&launch.name.process))
            .unwrap_or_default()
    }
}

/// The supervisor's name of a launch.
pub(crate) fn launch_id(launch: &LaunchRow) -> LaunchId {
    launch.id.parse().expect("ids are made of ID_LETTERS")
}

fn line_of<'a>(image: &'a Image, process: &ProcessType) -> Result<&'a str, ControlError> {
    image.processes.get(process).map(String::as_str).ok_or_else(|| ControlError::NoSuchProcess {
        process: process.to_string(),
        known: image.processes.keys().map(ToString::to_string).collect(),
        nearest: None,
    })
}

#[cfg(test)]
mod tests;
