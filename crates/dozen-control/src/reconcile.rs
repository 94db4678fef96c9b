//! Reconciling: what runs becomes what the store wants.
//!
//! The wanted set follows from a stage's current release, its formation and whether `down`
//! stopped it. Scaling, restarting, recovering after a kill or a reboot are all this: change the
//! wish, persist it, reconcile. Missing instances are started and put into rotation when they
//! are ready, surplus ones leave the rotation first and drain.

use std::sync::Arc;

use dozen_model::{names::InstanceName, route_table::Hold};
use dozen_run::Adoption;

use crate::{
    barrier::Place,
    control::Control,
    error::ControlError,
    launcher::{Begun, Caller, Loaded, NewLaunch, launch_id},
    progress::ProgressLog,
    store::{LaunchRow, LaunchState, Purpose, StageKey, StageRow},
};

impl Control {
    /// Makes what runs what is wanted.
    pub(crate) fn reconcile(
        self: &Arc<Self>,
        stage: &StageRow,
        progress: &ProgressLog,
    ) -> Result<(), ControlError> {
        let loaded = match stage.current {
            Some(number) => Some(self.load(&stage.key, number)?),
            None => None,
        };
        let wanted = loaded.as_ref().map(|loaded| self.wanted_names(stage, loaded)).unwrap_or_default();
        let (kept, surplus) = self.sort_launches(stage, &wanted)?;
        if !surplus.is_empty() {
            self.carried_out("end surplus instances", || self.end_surplus(&stage.key, &surplus))?;
            // Stopping all of a stage is a step, which names them.
            let names: Vec<String> = surplus.iter().map(|launch| launch.name.to_string()).collect();
            if !stage.stopped {
                progress.line(format!("stopping {}", names.join(", ")));
            }
        }
        if let Some(loaded) = &loaded {
            let missing =
                wanted.into_iter().filter(|name| kept.iter().all(|launch| launch.name != *name)).collect();
            self.start_missing(&stage.key, loaded, missing, progress)?;
        }
        Ok(())
    }

    /// Does what follows from a fact of the store, however long it takes: what were left out of it,
    /// such as a drain behind a table that did not arrive, nobody else would do.
    ///
    /// # Errors
    /// [`ControlError::Cancelled`] when the server ends before that; the next one finds the fact.
    pub(crate) fn carried_out(
        &self,
        what: &str,
        work: impl FnMut() -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        self.until_done(what, work).ok_or(ControlError::Cancelled)
    }

    /// Out of the store's rotation, out of the router's, and then to their end.
    fn end_surplus(self: &Arc<Self>, stage: &StageKey, surplus: &[LaunchRow]) -> Result<(), ControlError> {
        for launch in surplus {
            self.store.set_launch_state(&launch.id, LaunchState::Draining)?;
        }
        self.reach(Place::SurplusMarked);
        self.publish()?;
        self.reach(Place::SurplusUnrouted);
        self.drain_all(stage)
    }

    fn wanted_names(&self, stage: &StageRow, loaded: &Loaded) -> Vec<InstanceName> {
        if stage.stopped {
            return Vec::new();
        }
        self.names_of_all(stage, loaded)
    }

    /// Open launches of the formation: those to keep and those to end. Of two with one name the
    /// older one goes, and so does one that somebody has left before it was ready: in the stage's
    /// thread nothing starts but for a change that is to go on.
    fn sort_launches(
        &self,
        stage: &StageRow,
        wanted: &[InstanceName],
    ) -> Result<(Vec<LaunchRow>, Vec<LaunchRow>), ControlError> {
        let changes: Vec<i64> =
            self.store.open_deploys(stage.key.id)?.iter().map(|deploy| deploy.id).collect();
        let mut kept: Vec<LaunchRow> = Vec::new();
        let mut surplus = Vec::new();
        for launch in self.store.open_launches(stage.key.id)?.into_iter().rev() {
            let of_change = launch.deploy.is_some_and(|deploy| changes.contains(&deploy));
            match (launch.purpose, launch.state) {
                (Purpose::Service, LaunchState::Serving) => {}
                (Purpose::Service, LaunchState::Starting) if !of_change => {
                    surplus.push(launch);
                    continue;
                }
                _ => continue,
            }
            let twice = kept.iter().any(|one| one.name == launch.name);
            if Some(launch.release) == stage.current && wanted.contains(&launch.name) && !twice {
                kept.push(launch);
            } else {
                surplus.push(launch);
            }
        }
        Ok((kept, surplus))
    }

    /// Starts instances side by side; each goes into rotation when it is ready, those that requests
    /// wait for before the others.
    fn start_missing(
        self: &Arc<Self>,
        stage: &StageKey,
        loaded: &Loaded,
        mut missing: Vec<InstanceName>,
        progress: &ProgressLog,
    ) -> Result<(), ControlError> {
        missing.sort_by_key(|name| !name.process.is_web());
        let mut started = Vec::new();
        let mut failed = None;
        for name in missing {
            match self.start_one(stage, loaded, name) {
                Ok(begun) => started.push(begun),
                // Those that were started before it are seen to all the same.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        for begun in &started {
            let launch = &begun.launch;
            let announced = progress.step("start", format!("Starting {}", launch.name));
            match self.wait_until_ready(stage, begun, loaded, progress) {
                Ok(answer) => announced.done(answer),
                Err(error) => failed = failed.or(Some(error)),
            }
            // Also one that is not ready goes on: it is what the store wants, its shim restarts
            // it, and requests to it are held or go to another.
            self.carried_out("put an instance into service", || {
                self.store.set_launch_state(&launch.id, LaunchState::Serving)?;
                self.reach(Place::MissingServing);
                self.publish()
            })?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn start_one(
        self: &Arc<Self>,
        stage: &StageKey,
        loaded: &Loaded,
        name: InstanceName,
    ) -> Result<Begun, ControlError> {
        let launch = self.record_launch(stage, loaded.row.number, NewLaunch::of(Purpose::Service, name))?;
        self.reach(Place::MissingRecorded);
        if let Err(error) = self.start_launch(stage, &launch, loaded, &Caller::default()) {
            self.give_up(stage, &launch)?;
            return Err(error);
        }
        let begun = Begun::now(launch);
        self.reach(Place::MissingStarted);
        Ok(begun)
    }

    /// Of a launch that serves nobody and may live all the same: draining goes on until it is gone.
    fn give_up(self: &Arc<Self>, stage: &StageKey, launch: &LaunchRow) -> Result<(), ControlError> {
        self.store.set_launch_state(&launch.id, LaunchState::Draining)?;
        self.drain_all(stage)
    }

    /// Replaces instances one after the other. Which ones is recorded first: a server that was killed
    /// in between goes on with those that are left.
    pub(crate) fn restart(
        self: &Arc<Self>,
        stage: &StageRow,
        chosen: &dyn Fn(&InstanceName) -> bool,
        progress: &ProgressLog,
    ) -> Result<(), ControlError> {
        let number = stage.current.ok_or_else(|| ControlError::NoRelease { app: stage.key.app.clone() })?;
        let loaded = self.load(&stage.key, number)?;
        let (running, _) = self.sort_launches(stage, &self.wanted_names(stage, &loaded))?;
        let chosen = running.into_iter().rev().filter(|launch| chosen(&launch.name));
        let chosen: Vec<String> = chosen.map(|launch| launch.id).collect();
        self.store.set_restart(stage.key.id, &chosen)?;
        self.reach(Place::RestartRecorded);
        self.go_on_restarting(stage, &chosen, progress)
    }

    /// Replaces those of the recorded instances that still serve, then forgets the record: one that
    /// its successor did not get ready for is told once and runs on.
    pub(crate) fn go_on_restarting(
        self: &Arc<Self>,
        stage: &StageRow,
        recorded: &[String],
        progress: &ProgressLog,
    ) -> Result<(), ControlError> {
        let replaced = self.replace(stage, recorded, progress);
        if replaced.is_err() && self.is_ending() {
            return replaced;
        }
        self.store.set_restart(stage.key.id, &[])?;
        replaced
    }

    /// One after the other: the new one is ready before the old one leaves.
    fn replace(
        self: &Arc<Self>,
        stage: &StageRow,
        recorded: &[String],
        progress: &ProgressLog,
    ) -> Result<(), ControlError> {
        let number = stage.current.ok_or_else(|| ControlError::NoRelease { app: stage.key.app.clone() })?;
        let loaded = self.load(&stage.key, number)?;
        let (running, _) = self.sort_launches(stage, &self.wanted_names(stage, &loaded))?;
        for old in running.iter().rev().filter(|launch| recorded.contains(&launch.id)) {
            let announced = progress.step("restart", format!("Restarting {}", old.name));
            let new = NewLaunch::of(Purpose::Service, old.name.clone());
            let launch = self.record_launch(&stage.key, number, new)?;
            self.reach(Place::SuccessorRecorded);
            let ready = self.start_launch(&stage.key, &launch, &loaded, &Caller::default()).and_then(|()| {
                self.reach(Place::SuccessorStarted);
                self.wait_until_ready(&stage.key, &Begun::now(launch.clone()), &loaded, progress)
            });
            match ready {
                Ok(answer) => {
                    self.store.swap_launches(&launch, &old.id)?;
                    self.reach(Place::SuccessorSwapped);
                    self.carried_out("route to a successor", || {
                        self.publish()?;
                        self.reach(Place::SuccessorServing);
                        self.drain_all(&stage.key)
                    })?;
                    announced.done(answer);
                }
                Err(error) => {
                    if self.end_launch(&launch, None).is_err() {
                        self.give_up(&stage.key, &launch)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A change that was past the start of its release phase goes on holding writes, without a gap.
    fn hold_again(&self, stage: &StageRow) -> Result<(), ControlError> {
        for deploy in self.store.open_deploys(stage.key.id)? {
            let Some(number) = deploy.release else { continue };
            let phase_began = self.store.phase_launch(deploy.id)?.is_some();
            let holds = || self.holds_writes(stage, &self.load(&stage.key, number)?);
            // Where it cannot be told they wait: the change's end lets them through either way.
            if phase_began && holds().unwrap_or(true) {
                self.set_hold(stage.key.id, Hold::Unsafe);
            }
        }
        Ok(())
    }

    /// After a start of the server: finds every process of a stage again, or notes its end.
    ///
    /// What drained is found too, but drains on only when the table is published: a server that was
    /// killed between a change's commit and its table left a router that still sends requests there.
    pub(crate) fn recover(self: &Arc<Self>, stage: &StageRow) -> Result<(), ControlError> {
        if !stage.doomed {
            self.complete_services(&stage.key)?;
        }
        let open: Vec<i64> = self.store.open_deploys(stage.key.id)?.iter().map(|deploy| deploy.id).collect();
        for launch in self.store.open_launches(stage.key.id)? {
            let of_open_deploy = launch.deploy.is_some_and(|id| open.contains(&id));
            let is_step = launch.purpose == Purpose::ReleasePhase || launch.state == LaunchState::Starting;
            if let Some(port) = launch.port {
                self.ports.hold(port);
            }
            if is_step && of_open_deploy {
                continue;
            }
            let adopted = self.adopt_launch(&stage.key, &launch);
            let ended = match &adopted {
                Ok(Adoption::Running(_)) => None,
                // The watch hears of its end, tells it and clears it away.
                Ok(Adoption::Exited(_)) if launch.purpose == Purpose::OneOff => continue,
                Ok(Adoption::Exited(reason)) => Some(reason.to_string()),
                Ok(Adoption::Gone) => Some("gone".to_owned()),
                // Nobody knows whether it lives: it keeps its row, its port and its place.
                Err(error) => {
                    tracing::warn!(instance = %launch.name, "could not adopt an instance: {error}");
                    self.adopt_later(&stage.key, &launch);
                    None
                }
            };
            if let Some(outcome) = ended {
                let _ = self.supervisor.kill(&launch_id(&launch));
                if launch.purpose == Purpose::OneOff {
                    self.say(
                        &stage.key,
                        &launch.name.to_string(),
                        &format!("{} ended: {outcome}", launch.name),
                    );
                }
                if let Err(error) = self.clear_launch(&launch, &outcome) {
                    // What is left of one must not keep all others from being found.
                    tracing::warn!(instance = %launch.name, "could not clear an instance: {error}");
                }
            } else if launch.state == LaunchState::Starting && launch.purpose == Purpose::Service {
                // Its starter is gone; whether it was ready nobody knows.
                self.store.set_launch_state(&launch.id, LaunchState::Draining)?;
            }
        }
        self.hold_again(stage)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{stand::Stand, store::DeployState};

    #[test]
    fn what_somebody_left_before_it_was_ready_is_ended_and_what_a_change_goes_on_with_is_not() {
        let stand = Stand::new();
        let (deploy, _) = stand.serve_release();
        let left = stand.launch(Purpose::Service, None, LaunchState::Starting);
        let of_change = stand.launch(Purpose::Service, Some(deploy.id), LaunchState::Starting);
        let (_, surplus) =
            stand.control.sort_launches(&stand.stage(), std::slice::from_ref(&left.name)).unwrap();
        let surplus: Vec<&str> = surplus.iter().map(|launch| launch.id.as_str()).collect();
        assert_eq!(surplus, [&left.id]);

        stand.control.store.end_deploy(deploy.id, DeployState::Failed, None).unwrap();
        let (_, surplus) = stand.control.sort_launches(&stand.stage(), &[]).unwrap();
        let surplus: BTreeSet<String> = surplus.into_iter().map(|launch| launch.id).collect();
        assert_eq!(surplus, BTreeSet::from([left.id, of_change.id]), "its change has ended");
    }
}
