//! What the API asks for: checked, persisted, handed to the stage's worker.
//!
//! A request that is refused has changed nothing. One that was taken is in the store before its
//! answer leaves; only a restart is recorded when its turn comes.

use std::{collections::BTreeMap, fs::File, path::Path, sync::Arc};

use dozen_model::{
    manifest::ProcessSettings,
    names::{AppName, ConfigVar, Domain, ProcessType, StageName},
    release::ReleaseNumber,
    suggestion::nearest,
};

use crate::{
    api::wire::{Cancelled, ConfigChange, DeploySource, Outcome, Progress, Rollback},
    barrier::Place,
    control::Control,
    engine::ChangeRequest,
    error::ControlError,
    progress::ProgressLog,
    release_config::{Value, check_size, from_base64, sealed_row, stage_vars},
    seal::Secret,
    store::{DeployKind, DeployRow, ForFirst, NewDeploy, StageRow},
    worker::Job,
};

impl Control {
    /// A stage by its names.
    pub fn stage(&self, app: &AppName, stage: &StageName) -> Result<StageRow, ControlError> {
        self.store.stage(app, stage)
    }

    /// The stage that a deploy goes to, made if it may be.
    pub fn stage_for_deploy(
        &self,
        app: &AppName,
        stage: &StageName,
        create: bool,
    ) -> Result<StageRow, ControlError> {
        if create {
            match self.store.create_app(app) {
                Ok(()) | Err(ControlError::AppTaken { .. }) => {}
                Err(error) => return Err(error),
            }
            self.store.create_stage(app, stage)?;
        }
        self.store.stage(app, stage)
    }

    /// Queues an uploaded tree; the file at `upload` becomes ours.
    pub fn queue_tree(
        self: &Arc<Self>,
        stage: &StageRow,
        source: &DeploySource,
        who: &str,
        upload: &Path,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let name = source.commit.as_deref().map(|commit| commit.get(..7).unwrap_or(commit).to_owned());
        let name = name.or_else(|| source.reference.clone()).unwrap_or_else(|| "archive".into());
        let dirty = if source.dirty { " with uncommitted changes" } else { "" };
        let request = ChangeRequest { change: format!("deploy {name}{dirty}"), ..ChangeRequest::default() };
        let seal = self.sealing(stage, &request);
        let new = NewDeploy { kind: DeployKind::Deploy, source, sealed_request: Some(&seal), who };
        File::open(upload)
            .and_then(|file| file.sync_all())
            .map_err(ControlError::io("store the uploaded tree"))?;
        let waiting = !self.store.open_deploys(stage.key.id)?.is_empty();
        let mut progress = None;
        // The file is in its place before anyone may look for it.
        let queued = self.store.queue_deploy(stage.key.id, &new, |deploy| {
            std::fs::rename(upload, self.home.incoming(deploy.id))
                .map_err(ControlError::io("keep the uploaded tree"))?;
            self.reach(Place::UploadKept);
            progress = Some(self.announce(stage, deploy, waiting));
            Ok(())
        })?;
        self.reach(Place::ChangeQueued);
        tracing::debug!(deploy = queued.deploy.number, superseded = ?queued.superseded, "queued");
        for older in queued.superseded {
            let _ = std::fs::remove_file(self.home.incoming(older));
            if let Some(work) = self.running_work(older) {
                let (outcome, release, urls) = (Outcome::Superseded, None, Vec::new());
                work.progress.send(Progress::Finished { outcome, release, urls, error: None });
            }
            self.work_ended(older);
        }
        Ok(self.started(stage, progress))
    }

    /// What seals a request for the deploy that carries it.
    fn sealing(&self, stage: &StageRow, request: &ChangeRequest) -> impl Fn(i64) -> Vec<u8> {
        let text = serde_json::to_vec(request).expect("its keys are strings");
        move |deploy| self.key.seal(&stage.key.owner(Secret::Change(deploy)), &text)
    }

    /// Opens the events of a change whose row nobody can see yet, so its first event comes first.
    fn announce(&self, stage: &StageRow, deploy: &DeployRow, waiting: bool) -> Arc<ProgressLog> {
        // An older database that was restored gives numbers again, and their events lie there still.
        let _ = std::fs::remove_file(self.events_file(&stage.key, deploy.number));
        let progress = self.work(deploy.id, deploy.number, &stage.key).progress;
        progress.send(Progress::Queued { deploy: deploy.number, waiting });
        progress
    }

    /// Wakes the worker; the progress is what the caller follows.
    fn started(self: &Arc<Self>, stage: &StageRow, progress: Option<Arc<ProgressLog>>) -> Arc<ProgressLog> {
        self.worker(stage.key.id).send(Job::Deploys);
        // A row that was committed was announced.
        progress.unwrap_or_else(|| Arc::new(ProgressLog::heard()))
    }

    pub(crate) fn queue_change(
        self: &Arc<Self>,
        stage: &StageRow,
        kind: DeployKind,
        request: &ChangeRequest,
        who: &str,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let (source, seal) = (DeploySource::default(), self.sealing(stage, request));
        let new = NewDeploy { kind, source: &source, sealed_request: Some(&seal), who };
        let waiting = !self.store.open_deploys(stage.key.id)?.is_empty();
        let mut progress = None;
        self.store.queue_deploy(stage.key.id, &new, |deploy| {
            progress = Some(self.announce(stage, deploy, waiting));
            Ok(())
        })?;
        self.reach(Place::ChangeQueued);
        Ok(self.started(stage, progress))
    }

    /// Asks a deploy to end.
    pub fn cancel(&self, stage: &StageRow, number: u64) -> Result<Cancelled, ControlError> {
        let deploy = self.deploy_row(stage, number)?;
        let Some(work) = self.work_of(stage, &deploy) else {
            return Ok(Cancelled { cancelled: false, step: deploy.step });
        };
        let cancelled = work.try_cancel();
        if cancelled {
            // Before the answer: a server that is killed after it must not go on with the deploy.
            self.store.cancel_deploy(deploy.id)?;
        }
        Ok(Cancelled { cancelled, step: deploy.step })
    }

    /// A deploy by its number.
    pub(crate) fn deploy_row(&self, stage: &StageRow, number: u64) -> Result<DeployRow, ControlError> {
        self.store.deploy_by_number(stage.key.id, number)?.ok_or(ControlError::NoSuchDeploy { number })
    }

    /// Sets and removes config vars: a new release, or at once where there is none yet.
    pub fn change_config(
        self: &Arc<Self>,
        stage: &StageRow,
        change: &ConfigChange,
        who: &str,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let key = &stage.key;
        let mut vars = stage_vars(&self.key, key, &self.store.config(key.id)?)?;
        let attached = self.store.attachments(key.id)?;
        for name in change.set.keys().chain(&change.unset) {
            let var: ConfigVar = name.parse()?;
            if let Some(row) = attached.iter().find(|row| row.var == var) {
                return Err(ControlError::VarOfService {
                    var,
                    service: self.service_name(key, row.service)?,
                });
            }
        }
        for name in &change.unset {
            let var: ConfigVar = name.parse()?;
            if vars.remove(&var).is_none() {
                let near = nearest(name, vars.keys().map(ConfigVar::as_str)).map(str::to_owned);
                return Err(ControlError::NotSet { name: name.clone(), nearest: near });
            }
        }
        let mut set = Vec::new();
        for (name, value) in &change.set {
            let value = Value { origin: "set".into(), bytes: from_base64(name, value)? };
            set.push(sealed_row(&self.key, key, name.parse()?, &value));
            vars.insert(name.parse()?, value);
        }
        check_size(&key.app, &vars)?;
        let unset = change.unset.iter().map(|name| name.parse()).collect::<Result<Vec<ConfigVar>, _>>()?;
        let kept = ForFirst { set: &set, unset: &unset, ..ForFirst::default() };
        if self.store.keep_for_first(key.id, &kept, None)? {
            return Ok(kept_for_the_first_release());
        }
        let request = ChangeRequest {
            change: described(change),
            set: change.set.clone(),
            unset: change.unset.clone(),
            ..ChangeRequest::default()
        };
        self.queue_change(stage, DeployKind::Config, &request, who)
    }

    /// Runs an earlier release again.
    pub fn rollback(
        self: &Arc<Self>,
        stage: &StageRow,
        rollback: &Rollback,
        who: &str,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let app = || stage.key.app.clone();
        let current = stage.current.ok_or_else(|| ControlError::NoRelease { app: app() })?;
        let found = match rollback.to {
            Some(number) => {
                let number = self.release_or_current(stage, Some(number))?;
                self.store.release(stage.key.id, number)?
            }
            None => self.store.live_before(stage.key.id, current)?,
        };
        let to = found.ok_or_else(|| ControlError::NoEarlierRelease { app: app() })?;
        self.image_of(&to).map_err(|_| {
            ControlError::BadRequest(format!(
                "the image of {} was pruned; deploy its commit again",
                to.number
            ))
        })?;
        let request = ChangeRequest {
            change: format!("rollback to {}", to.number),
            rollback_to: Some(to.number.0),
            run_release_phase: rollback.run_release_phase,
            ..ChangeRequest::default()
        };
        self.queue_change(stage, DeployKind::Rollback, &request, who)
    }

    /// Changes the wanted counts.
    pub fn scale(
        self: &Arc<Self>,
        stage: &StageRow,
        counts: BTreeMap<ProcessType, u32>,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        for (process, count) in &counts {
            self.known_process(stage, process.as_str())?;
            let limit = ProcessSettings::MOST_INSTANCES;
            if *count > limit {
                let (process, count) = (process.to_string(), *count);
                return Err(ControlError::TooMany { process, count, limit });
            }
        }
        self.store.scale(stage.key.id, &counts)?;
        self.reach(Place::WishRecorded);
        Ok(self.job(stage, Job::Reconcile))
    }

    /// Replaces instances.
    pub fn restart_instances(
        self: &Arc<Self>,
        stage: &StageRow,
        target: Option<String>,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        if let Some(target) = &target {
            let process = target.split('.').next().unwrap_or(target);
            self.known_process(stage, process)?;
            let launches = self.store.open_launches(stage.key.id)?;
            if target.contains('.') && launches.iter().all(|launch| launch.name.to_string() != *target) {
                return Err(ControlError::NoSuchInstance { name: target.clone() });
            }
        }
        Ok(self.job(stage, |progress| Job::Restart(target, progress)))
    }

    /// Stops all of a stage, one process type, or one one-off process.
    pub fn stop_processes(
        self: &Arc<Self>,
        stage: &StageRow,
        target: Option<String>,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let Some(target) = target else { return self.set_stopped(stage, true) };
        if !target.contains('.') {
            self.known_process(stage, &target)?;
            return self.scale(stage, BTreeMap::from([(target.parse()?, 0)]));
        }
        let launches = self.store.open_launches(stage.key.id)?;
        let launch = launches.into_iter().find(|launch| launch.name.to_string() == target);
        let launch = launch.ok_or_else(|| ControlError::NoSuchInstance { name: target.clone() })?;
        if launch.purpose == crate::store::Purpose::Service {
            return Err(ControlError::OfFormation { name: launch.name });
        }
        let progress = Arc::new(ProgressLog::heard());
        let (control, heard, key) = (Arc::clone(self), Arc::clone(&progress), stage.key.clone());
        std::thread::spawn(move || {
            let announced = heard.step("stop", format!("Stopping {}", launch.name));
            let ended = control.end_launch(&launch, None);
            heard.send(match ended {
                Ok(_) => {
                    control.say(&key, &launch.name.to_string(), &format!("{} was stopped", launch.name));
                    announced.done("stopped");
                    finished(Vec::new())
                }
                Err(error) => crate::progress::failed(&error),
            });
        });
        Ok(progress)
    }

    /// Starts what `down` stopped.
    pub fn start_stage(self: &Arc<Self>, stage: &StageRow) -> Result<Arc<ProgressLog>, ControlError> {
        self.set_stopped(stage, false)
    }

    fn set_stopped(
        self: &Arc<Self>,
        stage: &StageRow,
        stopped: bool,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        self.store.set_stopped(stage.key.id, stopped)?;
        self.reach(Place::WishRecorded);
        Ok(self.job(stage, Job::Reconcile))
    }

    fn job(
        self: &Arc<Self>,
        stage: &StageRow,
        make: impl FnOnce(Arc<ProgressLog>) -> Job,
    ) -> Arc<ProgressLog> {
        let progress = Arc::new(ProgressLog::heard());
        self.worker(stage.key.id).send(make(Arc::clone(&progress)));
        progress
    }

    fn known_process(&self, stage: &StageRow, process: &str) -> Result<(), ControlError> {
        let number = stage.current.ok_or_else(|| ControlError::NoRelease { app: stage.key.app.clone() })?;
        let image = self.load(&stage.key, number)?.image;
        let known: Vec<String> = image.processes.keys().map(ToString::to_string).collect();
        if known.iter().any(|name| name == process) {
            return Ok(());
        }
        let near = nearest(process, known.iter().map(String::as_str)).map(str::to_owned);
        Err(ControlError::NoSuchProcess { process: process.to_owned(), known, nearest: near })
    }

    /// Gives a domain to a stage.
    pub fn add_domain(&self, stage: &StageRow, domain: &Domain) -> Result<(), ControlError> {
        self.refuse_reserved(domain)?;
        self.store.add_domain(stage.key.id, domain)?;
        self.reach(Place::DomainRecorded);
        self.publish()
    }

    /// Takes a domain from a stage.
    pub fn remove_domain(&self, stage: &StageRow, domain: &str) -> Result<(), ControlError> {
        if !self.store.remove_domain(stage.key.id, domain)? {
            return Err(ControlError::NoSuchDomain { domain: domain.chars().take(80).collect() });
        }
        self.reach(Place::DomainRecorded);
        self.publish()
    }

    /// The release that a request names, or the current one.
    pub(crate) fn release_or_current(
        &self,
        stage: &StageRow,
        named: Option<ReleaseNumber>,
    ) -> Result<ReleaseNumber, ControlError> {
        let app = || stage.key.app.clone();
        let current = stage.current.ok_or_else(|| ControlError::NoRelease { app: app() })?;
        let Some(number) = named else { return Ok(current) };
        let last = self.store.releases(stage.key.id, 1)?.first().map(|release| release.number);
        match self.store.release(stage.key.id, number)? {
            Some(_) => Ok(number),
            None => Err(ControlError::NoSuchRelease { app: app(), number, last }),
        }
    }
}

fn described(change: &ConfigChange) -> String {
    let mut parts = Vec::new();
    if !change.set.is_empty() {
        parts.push(format!("set {}", change.set.keys().cloned().collect::<Vec<_>>().join(", ")));
    }
    if !change.unset.is_empty() {
        parts.push(format!("unset {}", change.unset.join(", ")));
    }
    parts.join("; ")
}

fn finished(urls: Vec<String>) -> Progress {
    Progress::Finished { outcome: Outcome::Succeeded, release: None, urls, error: None }
}

/// What is said of a change of a stage that has no release.
pub(crate) const KEPT: &str = "kept for the first release: `dozen deploy` makes it";

/// The answer to a change of a stage that has no release: it is kept, nothing has to run.
pub(crate) fn kept_for_the_first_release() -> Arc<ProgressLog> {
    let progress = ProgressLog::heard();
    progress.hint(KEPT);
    progress.send(finished(Vec::new()));
    Arc::new(progress)
}
