//! The step `start`: the new release's instances, each waited for until it is ready.

use std::collections::BTreeMap;

use dozen_model::{
    names::{InstanceName, ProcessType},
    release::ReleaseNumber,
};
use dozen_run::Adoption;

use super::Change;
use crate::{
    error::ControlError,
    launcher::{Begun, Caller, Loaded, NewLaunch},
    store::{DeployKind, LaunchRow, LaunchState, Purpose},
};

/// Starts what is wanted; instances that an earlier attempt started and that live are kept.
pub(super) fn start(change: &mut Change) -> Result<(), ControlError> {
    let Some(number) = change.deploy.release else { return Err(ControlError::NoProcesses) };
    if change.stage.current == Some(number) {
        return Ok(());
    }
    let loaded = change.control.load(change.key(), number)?;
    let wanted = wanted(change, &loaded);
    tell_unscaled(change, &loaded);
    if wanted.is_empty() {
        return Ok(());
    }
    let announced = change.work.progress.step("start", format!("Starting {}", in_short(&wanted)));
    let mut started = Vec::new();
    for name in wanted {
        started.push(found_or_started(change, &loaded, name)?);
    }
    let mut answers: Vec<String> = Vec::new();
    for begun in &started {
        let answer = change.control.wait_until_ready(change.key(), begun, &loaded, &change.work.progress)?;
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    announced.done(answers.join("; "));
    Ok(())
}

/// `web.1`, `web.1, worker.1`, and of many only how many there are: `4 web, 1 worker`.
fn in_short(names: &[InstanceName]) -> String {
    if names.len() <= 2 {
        return names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    }
    let mut counts: BTreeMap<&ProcessType, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(&name.process).or_default() += 1;
    }
    counts.iter().map(|(process, count)| format!("{count} {process}")).collect::<Vec<_>>().join(", ")
}

/// A first release says which process types run nowhere: who declares one expects it to run.
fn tell_unscaled(change: &Change, loaded: &Loaded) {
    if change.stage.current.is_some() {
        return;
    }
    for process in loaded.image.processes.keys() {
        if change.control.wanted(&change.stage, &loaded.image, process) == 0 {
            let text =
                format!("`{process}` has no instance yet; start one with `dozen ps scale {process}=1`");
            change.work.progress.hint(text);
        }
    }
}

/// Names of the instances to run. A stopped stage stays stopped unless a new tree comes, and also
/// then when it was stopped after that one was asked for.
fn wanted(change: &Change, loaded: &Loaded) -> Vec<InstanceName> {
    let is_tree = change.deploy.kind == DeployKind::Deploy;
    let was_before = change.deploy.id <= change.stage.stopped_behind;
    if change.stage.stopped && (!is_tree || was_before) {
        if is_tree {
            change
                .work
                .progress
                .warn("nothing is started: the app was stopped after this deploy was asked for");
        }
        return Vec::new();
    }
    change.control.names_of_all(&change.stage, loaded)
}

fn found_or_started(change: &Change, loaded: &Loaded, name: InstanceName) -> Result<Begun, ControlError> {
    let control = &change.control;
    let stage = change.key();
    if let Some(launch) = left(change, loaded.row.number)?.into_iter().find(|launch| launch.name == name) {
        if let Adoption::Running(_) = control.adopt_launch(stage, &launch)? {
            return Ok(Begun::now(launch));
        }
        control.clear_launch(&launch, "gone")?;
    }
    let new = NewLaunch { deploy: Some(change.deploy.id), ..NewLaunch::of(Purpose::Service, name) };
    let launch = control.record_launch(stage, loaded.row.number, new)?;
    control.start_launch(stage, &launch, loaded, &Caller::default())?;
    Ok(Begun::now(launch))
}

/// What this change has started and not put into service.
fn left(change: &Change, release: ReleaseNumber) -> Result<Vec<LaunchRow>, ControlError> {
    let mut launches = change.control.store.open_launches(change.key().id)?;
    launches.retain(|launch| {
        launch.purpose == Purpose::Service
            && launch.release == release
            && launch.state == LaunchState::Starting
    });
    Ok(launches)
}

/// The undo: what was started and serves nobody is stopped.
pub(super) fn stop_started(change: &Change) -> Result<(), ControlError> {
    let Some(number) = change.deploy.release else { return Ok(()) };
    if change.stage.current == Some(number) {
        return Ok(());
    }
    let grace = |launch: &LaunchRow| change.control.settings_of(change.key(), launch).grace();
    let ends: Vec<_> = left(change, number)?.into_iter().map(|launch| (grace(&launch), launch)).collect();
    if let Err(error) = change.control.end_together(&ends) {
        tracing::warn!("could not end an instance: {error}");
        // It serves nobody; draining goes on until it is gone.
        for launch in left(change, number)? {
            change.control.store.set_launch_state(&launch.id, LaunchState::Draining)?;
        }
    }
    change.control.drain_all(change.key())
}
