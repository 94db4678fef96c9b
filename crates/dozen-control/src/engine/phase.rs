//! The release phase: one run of the app's `release` process before its new instances start.
//!
//! A migration must run once, in the new image, with the new config, and never beside a second
//! one. The launch's row is the lock: it is written before the process starts, and a change has
//! at most one.
//!
//! ```text
//! no row                       --write row, start--> wait
//! row `starting`               nothing ever started: row `serving`, start --> wait
//! row `serving`, process or its end seen --adopt--> wait, or take the result
//! row `serving`, nobody can say           asked again until somebody can, or its time is over
//! row `serving`, neither (a reboot)  failed: what it did is not known, and it is not run again
//! ```
//!
//! It outlives the server that began it. It does not undo a migration: a failed phase leaves the
//! database as the migration left it. Requests that may write wait meanwhile ([`hold`]).

use std::time::{Duration, Instant};

use dozen_model::names::{InstanceName, ProcessType};
use dozen_run::{Adoption, ExitReason};

use super::{Change, hold, phase_end, phase_log::PhaseLog};
use crate::{
    error::ControlError,
    launcher::{Caller, Loaded, NewLaunch, launch_id},
    store::{DeployKind, LaunchRow, LaunchState, Purpose},
};

/// How often a running phase's new lines are told.
const LINES_BEAT: Duration = Duration::from_millis(100);

/// Runs the phase, or says why there is none.
pub(super) fn run(change: &mut Change) -> Result<(), ControlError> {
    let Some(number) = change.deploy.release else { return Err(ControlError::NoProcesses) };
    let loaded = change.control.load(change.key(), number)?;
    if loaded.release_command().is_none() {
        if loaded.image.django && loaded.image.has_migrations && change.deploy.kind == DeployKind::Deploy {
            change.work.progress.hint(
                "migrations are not run: add `release: python manage.py migrate --noinput` to the Procfile",
            );
        }
        return Ok(());
    }
    let asked = change.request()?.run_release_phase || loaded.manifest.release.on_rollback;
    if change.deploy.kind == DeployKind::Rollback && !asked {
        change.work.progress.line("the release phase is not run on a rollback (`--release-phase` runs it)");
        return Ok(());
    }
    let announced = change.work.progress.step("release-phase", "Running the release phase");
    hold::hold_writes(change, &loaded)?;
    let began = Instant::now();
    let launch = launched(change, &loaded)?;
    let mut log = PhaseLog::of(change, &launch, &loaded);
    let (exit, reason) = match launch.state {
        LaunchState::Ended => (launch.exit(), launch.outcome.clone().unwrap_or_default()),
        _ => {
            let exit = finish(change, &launch, (&loaded, began), &mut log)?;
            let reason = exit.to_string();
            (Some(exit), reason)
        }
    };
    log.pass_on_the_rest();
    if !exit.is_some_and(|exit| exit.is_success()) {
        let log_tail = change.control.log_tail(change.key(), &launch, &loaded.config.secrets());
        return Err(ControlError::PhaseFailed { reason, log_tail });
    }
    announced.done(loaded.release_command().unwrap_or_default());
    Ok(())
}

/// The phase's launch, started at most once whatever was killed in between.
fn launched(change: &Change, loaded: &Loaded) -> Result<LaunchRow, ControlError> {
    let control = &change.control;
    let stage = change.key();
    let launch = match control.store.phase_launch(change.deploy.id)? {
        Some(launch) => launch,
        None => {
            let name = InstanceName { process: ProcessType::release(), number: 1 };
            let new =
                NewLaunch { deploy: Some(change.deploy.id), ..NewLaunch::of(Purpose::ReleasePhase, name) };
            control.record_launch(stage, loaded.row.number, new)?
        }
    };
    change.barrier("release-phase.recorded");
    if launch.state == LaunchState::Ended {
        return Ok(launch);
    }
    if launch.state == LaunchState::Starting {
        phase_end::end_others(change)?;
        // Written before it starts: from here on it may have run, whatever is left to see of it.
        if !control.store.set_launch_state(&launch.id, LaunchState::Serving)? {
            let reason = "being stopped before it began".to_owned();
            return Err(ControlError::PhaseFailed { reason, log_tail: Vec::new() });
        }
        control.start_launch(stage, &launch, loaded, &Caller::default())?;
        change.barrier("release-phase.started");
        return Ok(launch);
    }
    match adopted(change, &launch, loaded)? {
        Adoption::Running(_) => Ok(launch),
        Adoption::Exited(reason) => {
            control.clear_launch(&launch, &reason.to_string())?;
            Ok(LaunchRow { state: LaunchState::Ended, outcome: Some(reason.to_string()), ..launch })
        }
        Adoption::Gone => {
            let log_tail = control.log_tail(stage, &launch, &loaded.config.secrets());
            control.clear_launch(&launch, "not known")?;
            Err(ControlError::PhaseUnknown { log_tail })
        }
    }
}

/// Takes over a phase that an earlier server began. That it cannot be adopted in this moment says
/// nothing about it: it may be in the middle of a migration.
fn adopted(change: &Change, launch: &LaunchRow, loaded: &Loaded) -> Result<Adoption, ControlError> {
    let control = &change.control;
    let (began, limit) = (Instant::now(), loaded.manifest.release.timeout());
    let what = "take over the release phase";
    let adopted = control.until_done(what, || match control.adopt_launch(change.key(), launch) {
        Err(_) if began.elapsed() >= limit => Ok(None),
        adopted => adopted.map(Some),
    });
    match adopted {
        Some(Some(adoption)) => Ok(adoption),
        Some(None) => Err(timed_out(change, launch, loaded)),
        None => Err(ControlError::Cancelled),
    }
}

/// Ends a phase whose time is over, and says so once it is gone.
fn timed_out(change: &Change, launch: &LaunchRow, loaded: &Loaded) -> ControlError {
    if let Err(ending) = phase_end::end(change) {
        return ending;
    }
    let log_tail = change.control.log_tail(change.key(), launch, &loaded.config.secrets());
    ControlError::PhaseTimeout { limit: loaded.manifest.release.timeout(), log_tail }
}

/// Waits for the end of a running phase, within its limit, and tells its lines as they come.
fn finish(
    change: &Change,
    launch: &LaunchRow,
    (loaded, began): (&Loaded, Instant),
    log: &mut PhaseLog<'_>,
) -> Result<ExitReason, ControlError> {
    let control = &change.control;
    let limit = loaded.manifest.release.timeout();
    let id = launch_id(launch);
    loop {
        let left = limit.saturating_sub(began.elapsed());
        // A dead shim is replaced by whoever watches events; the wait must not outlive the server.
        if let Some(reason) = control.supervisor.wait_exit(&id, left.min(LINES_BEAT)) {
            control.clear_launch(launch, &reason.to_string())?;
            return Ok(reason);
        }
        log.pass_on();
        if left.is_zero() {
            return Err(timed_out(change, launch, loaded));
        }
        if control.is_ending() {
            return Err(ControlError::Cancelled);
        }
    }
}
