//! The release engine: from a queued change to a release that serves, step by step.
//!
//! ```text
//! source -> build -> assemble -> release-phase -> start -> route        then, behind it: drain
//! ```
//!
//! Each step is recorded before and after its work, so a server that is killed anywhere goes on
//! at the next start: steps that are done are skipped, the one that was under way runs again (the
//! release phase instead is adopted, or failed when its result is not known: it never runs
//! twice, and a change ends only when its phase is seen dead). A step that refuses makes the steps before it undone, last first; what served before
//! serves on. After `route` has committed there is no way back, only forward: the route table
//! follows from the store, and what cannot be done in this moment is tried until it is.
//!
//! One change at a time for a stage: its worker ([`crate::worker`]) calls [`drive`].
//!
//! Start reading at [`STEPS`].

use std::sync::{Arc, atomic::Ordering};

use crate::{
    api::wire::{ErrorBody, Outcome, Progress},
    barrier::Place,
    control::{Control, Work},
    error::ControlError,
    patience::caught,
    progress,
    store::{DeployRow, DeployState, StageKey, StageRow},
};

mod assemble;
mod attached;
mod build;
mod declared;
mod django;
mod first;
mod hold;
mod phase;
mod phase_end;
mod phase_log;
mod route;
mod source;
mod start;

pub(crate) use assemble::ChangeRequest;

/// One step of the engine.
#[derive(Debug)]
pub struct Step {
    /// Its stable name, in the store, in events and at barriers.
    pub name: &'static str,
    run: fn(&mut Change) -> Result<(), ControlError>,
    undo: Undo,
}

/// What a failure further on does to a step that is done.
#[derive(Debug)]
enum Undo {
    /// This takes back what it did.
    By(fn(&Change) -> Result<(), ControlError>),
    /// Nothing can or need be taken back, and why.
    Not(#[expect(dead_code, reason = "the reason stands in the list for its reader")] &'static str),
}

/// The steps, in order.
pub const STEPS: [Step; 6] = [
    Step { name: "source", run: source::unpack_tree, undo: Undo::By(source::remove) },
    Step {
        name: "build",
        run: build::build,
        undo: Undo::Not("layers are shared; unused ones are pruned later"),
    },
    Step { name: "assemble", run: assemble::assemble, undo: Undo::By(assemble::fail_release) },
    Step { name: "release-phase", run: phase::run, undo: Undo::By(phase_end::undo) },
    Step { name: "start", run: start::start, undo: Undo::By(start::stop_started) },
    Step { name: "route", run: route::route, undo: Undo::Not("the new release serves") },
];

/// A change under way: what each step works with. All of it comes from the store, so a step can
/// run in another process than the one before it.
pub(crate) struct Change {
    pub(crate) control: Arc<Control>,
    pub(crate) stage: StageRow,
    pub(crate) deploy: DeployRow,
    pub(crate) work: Work,
}

impl Change {
    fn key(&self) -> &StageKey {
        &self.stage.key
    }

    /// Reads the rows again: the step before may have written them.
    fn refresh(&mut self) -> Result<(), ControlError> {
        if let Some(row) = self.control.store.deploy(self.deploy.id)? {
            self.deploy = row;
        }
        if let Some(row) = self.control.store.stage_by_id(self.stage.key.id)? {
            self.stage = row;
        }
        Ok(())
    }

    fn barrier(&self, name: &str) {
        self.control.reach_named(name);
    }

    /// Whether its user asked for its end, which is heard until the release phase begins.
    fn is_cancelled(&self) -> bool {
        self.work.cancel.load(Ordering::SeqCst)
    }
}

/// Brings a change to its end. Returns only when it is ended and recorded, or the server ends.
pub(crate) fn drive(control: &Arc<Control>, stage: StageRow, deploy: DeployRow) -> Result<(), ControlError> {
    if !control.store.begin_deploy(deploy.id)? {
        // A newer push has taken its place since it was read.
        return Ok(());
    }
    let work = control.work(deploy.id, deploy.number, &stage.key);
    // Asked of an earlier server. A release phase that has begun all the same is seen to its end.
    if deploy.cancel && control.store.step(deploy.id, "release-phase")?.is_none() {
        work.try_cancel();
    }
    let mut change = Change { control: Arc::clone(control), stage, deploy, work };
    let result = caught(|| if first::is_before_first(&change) { first::keep(&change) } else { change.run() });
    if control.is_ending() && result.is_err() {
        // Not the change's fault: the next server goes on with it.
        return Ok(());
    }
    let recorded = control.until_done("record how a change ended", || {
        change.refresh()?;
        match &result {
            Ok(()) => change.succeed(),
            Err(error) => change.fail(error),
        }
    });
    if recorded.is_some() {
        let _ = source::remove(&change);
        control.work_ended(change.deploy.id);
    }
    Ok(())
}

impl Change {
    /// Runs the steps; behind the commit of `route`, as often as it takes: the release serves, and
    /// what could not be done about it, such as telling the router, is no failure of the change.
    fn run(&mut self) -> Result<(), ControlError> {
        let control = Arc::clone(&self.control);
        let mut refused = None;
        let mut told = false;
        let ended = control.until_done("bring a committed release to its routes", || {
            let Err(error) = self.run_steps() else { return Ok(()) };
            if !self.is_committed()? {
                refused = Some(error);
                return Ok(());
            }
            if !std::mem::replace(&mut told, true) {
                let text = format!("the release is there but not routed yet: {}", error.body().message);
                self.work.progress.warn(text);
            }
            Err(error)
        });
        match (ended, refused) {
            (Some(()), None) => Ok(()),
            (Some(()), Some(error)) => Err(error),
            (None, _) => Err(ControlError::Cancelled),
        }
    }

    /// Whether the change's release is the one that serves; each change makes its own.
    fn is_committed(&mut self) -> Result<bool, ControlError> {
        self.refresh()?;
        Ok(self.deploy.release.is_some() && self.stage.current == self.deploy.release)
    }

    fn run_steps(&mut self) -> Result<(), ControlError> {
        for step in &STEPS {
            self.refresh()?;
            // Instances may have died since `start` was recorded, and a table may not have arrived.
            let done = self.control.store.step(self.deploy.id, step.name)? == Some(true);
            if done && step.name == "release-phase" {
                self.work.commit();
            }
            if done && step.name != "start" && step.name != "route" {
                continue;
            }
            let goes_on =
                if step.name == "release-phase" { self.work.commit() } else { !self.is_cancelled() };
            if !goes_on {
                return Err(ControlError::Cancelled);
            }
            self.control.store.begin_step(self.deploy.id, step.name)?;
            self.barrier(&format!("{}.begun", step.name));
            (step.run)(self)?;
            self.barrier(&format!("{}.done", step.name));
            self.control.store.end_step(self.deploy.id, step.name)?;
        }
        Ok(())
    }

    fn succeed(&self) -> Result<(), ControlError> {
        self.control.store.end_deploy(self.deploy.id, DeployState::Succeeded, None)?;
        self.barrier("deploy.ended");
        let urls = self.control.urls(self.key());
        let release = self.deploy.release;
        self.work.progress.send(Progress::Finished {
            outcome: Outcome::Succeeded,
            release,
            urls,
            error: None,
        });
        Ok(())
    }

    /// Takes back what the steps did, last first, then records the failure.
    fn fail(&self, error: &ControlError) -> Result<(), ControlError> {
        for step in STEPS.iter().rev() {
            let begun = self.control.store.step(self.deploy.id, step.name)?.is_some();
            if let (true, Undo::By(undo)) = (begun, &step.undo)
                && let Err(problem) = caught(|| undo(self))
            {
                if self.control.is_ending() {
                    // The next server goes on with the change, as if the failure were to come yet.
                    return Err(ControlError::Cancelled);
                }
                tracing::error!(step = step.name, "could not undo a step: {problem}");
            }
        }
        self.control.reach(Place::ChangeUndone);
        let cancelled = matches!(error, ControlError::Cancelled);
        let state = if cancelled { DeployState::Cancelled } else { DeployState::Failed };
        let body: ErrorBody = error.body();
        self.control.store.end_deploy(self.deploy.id, state, Some(&body))?;
        let what = format!("{} {} failed: {}", self.deploy.kind.as_str(), self.deploy.number, body.message);
        self.control.say(self.key(), "release", &what);
        self.work.progress.send(progress::failed(error));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
