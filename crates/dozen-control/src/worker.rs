//! One worker for each stage: all changes of a stage run in its thread, one after the other.
//!
//! Deploys, counts and whether a stage is stopped are in the store before a message says that there
//! is something to look at: one that is lost with a killed server is made good by the next start.
//! Only a restart is a wish about what runs when its turn comes; it is recorded then.

use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use dozen_model::names::InstanceName;
use parking_lot::Mutex;

use crate::{
    api::wire::{Outcome, Progress},
    control::Control,
    engine,
    error::ControlError,
    patience::caught,
    progress::{self, ProgressLog},
    store::{Purpose, StageRow},
};

/// The pause before what was wanted and could not be started is tried again; longer each time …
const RECOVER_PAUSE: Duration = Duration::from_secs(10);
/// … up to this.
const LONGEST_RECOVER_PAUSE: Duration = Duration::from_secs(60);

/// What a worker is asked.
#[derive(Debug)]
pub(crate) enum Job {
    /// Look for deploys in the store.
    Deploys,
    /// Find again what an earlier server left, then reconcile, then deploys.
    Recover {
        /// How often it could not be done before.
        failed: u32,
    },
    /// Other counts are wanted, or the stage is stopped, or is started again.
    Reconcile(Arc<ProgressLog>),
    /// Replace instances: of a type, one of them, or all.
    Restart(Option<String>, Arc<ProgressLog>),
    /// Destroy the app of the stage.
    Destroy,
    /// Say when it is this job's turn: nothing before it is under way any more.
    Rest(Sender<()>),
}

/// The way to a stage's thread.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    jobs: Arc<Mutex<Sender<Job>>>,
}

impl Worker {
    /// Starts the thread.
    pub(crate) fn start(control: Arc<Control>, stage: i64) -> Self {
        let (sender, jobs) = channel();
        std::thread::spawn(move || {
            for job in jobs {
                if control.is_ending() {
                    return;
                }
                if let Err(error) = caught(|| run(&control, stage, job)) {
                    tracing::error!(stage, "{}", error.body().message);
                }
            }
        });
        Self { jobs: Arc::new(Mutex::new(sender)) }
    }

    /// Hands over a job.
    pub(crate) fn send(&self, job: Job) {
        // The thread ends only with the server or the stage.
        let _ = self.jobs.lock().send(job);
    }
}

fn run(control: &Arc<Control>, stage: i64, job: Job) -> Result<(), ControlError> {
    // Nobody sends a job twice: what cannot be read now is read later.
    let read = control.until_done("read a stage", || control.store.stage_by_id(stage));
    let Some(row) = read.flatten() else { return Ok(()) };
    if row.doomed {
        return leave_doomed(control, &row, job);
    }
    match job {
        Job::Deploys => {
            deploys(control, stage);
            Ok(())
        }
        Job::Recover { failed } => {
            if let Err(error) = caught(|| control.reconcile(&row, &ProgressLog::heard())) {
                control.say(&row.key, "supervisor", &error.body().message);
                recover_again(control, stage, failed + 1);
            }
            if !row.restart.is_empty()
                && let Err(error) =
                    caught(|| control.go_on_restarting(&row, &row.restart, &ProgressLog::heard()))
            {
                control.say(&row.key, "supervisor", &error.body().message);
            }
            deploys(control, stage);
            Ok(())
        }
        Job::Reconcile(progress) => report(control, &row, &progress, || carry_out(control, &row, &progress)),
        Job::Restart(target, progress) => {
            let chosen = |name: &InstanceName| {
                target.as_deref().is_none_or(|text| name.to_string() == text || name.process.as_str() == text)
            };
            report(control, &row, &progress, || control.restart(&row, &chosen, &progress))
        }
        Job::Destroy | Job::Rest(_) => Ok(()),
    }
}

/// Looks again later: a machine that has just started may be too busy for what was tried.
fn recover_again(control: &Arc<Control>, stage: i64, failed: u32) {
    let pause = RECOVER_PAUSE.saturating_mul(failed).min(LONGEST_RECOVER_PAUSE);
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        if control.rest(pause) {
            control.worker(stage).send(Job::Recover { failed });
        }
    });
}

/// Of an app that is to be destroyed nothing else is begun.
fn leave_doomed(control: &Arc<Control>, row: &StageRow, job: Job) -> Result<(), ControlError> {
    match job {
        Job::Destroy => control.destroy(&row.key.app),
        Job::Rest(sender) => {
            // Whoever waited for it may have gone.
            let _ = sender.send(());
        }
        Job::Reconcile(progress) | Job::Restart(_, progress) => {
            progress.send(progress::failed(&ControlError::Doomed { app: row.key.app.clone() }));
        }
        Job::Deploys | Job::Recover { .. } => {}
    }
    Ok(())
}

/// Runs work that has no number and tells its follower how it ended.
fn report(
    control: &Control,
    stage: &StageRow,
    progress: &ProgressLog,
    work: impl FnOnce() -> Result<(), ControlError>,
) -> Result<(), ControlError> {
    let ended = caught(work);
    if control.is_ending() && ended.is_err() {
        // What was wished is recorded: the next server carries it out.
        return Ok(());
    }
    progress.send(match ended {
        Ok(()) => Progress::Finished {
            outcome: Outcome::Succeeded,
            release: stage.current,
            urls: control.urls(&stage.key),
            error: None,
        },
        Err(error) => progress::failed(&error),
    });
    Ok(())
}

/// Brings every change of a stage to its end. What keeps one from its begin, such as a full disk, is
/// no end of it: nobody else would look for it.
fn deploys(control: &Arc<Control>, stage: i64) {
    control.until_done("begin a change", || begin_deploys(control, stage));
}

fn begin_deploys(control: &Arc<Control>, stage: i64) -> Result<(), ControlError> {
    while !control.is_ending() {
        // First: what cannot be read must not keep an app from its end.
        let Some(row) = control.store.stage_by_id(stage)?.filter(|row| !row.doomed) else { return Ok(()) };
        let Some(deploy) = control.store.open_deploys(stage)?.into_iter().next() else { return Ok(()) };
        engine::drive(control, row, deploy)?;
        control.prune();
    }
    Ok(())
}

/// Makes what runs, and what the router is told, what the store says.
fn carry_out(control: &Arc<Control>, row: &StageRow, progress: &ProgressLog) -> Result<(), ControlError> {
    // From here on requests wait, or are refused; a table that does not arrive now comes behind.
    let is_told = control.publish().is_ok();
    if row.stopped {
        stop(control, row, progress)?;
    } else {
        control.reconcile(row, progress)?;
    }
    if is_told {
        return Ok(());
    }
    control.carried_out("give the router its table", || control.publish())
}

/// Ends what runs of a stage that was stopped; the ends are told and waited for.
fn stop(control: &Arc<Control>, row: &StageRow, progress: &ProgressLog) -> Result<(), ControlError> {
    let mut leaving = control.store.open_launches(row.key.id)?;
    leaving.retain(|launch| launch.purpose == Purpose::Service);
    if leaving.is_empty() {
        return control.reconcile(row, progress);
    }
    leaving.sort_by(|one, other| one.name.cmp(&other.name));
    let names: Vec<String> = leaving.iter().map(|launch| launch.name.to_string()).collect();
    let announced = progress.step("stop", format!("Stopping {}", names.join(", ")));
    control.reconcile(row, progress)?;
    control.wait_for_drains(row.key.id)?;
    announced.done("stopped");
    for launch in &leaving {
        // The same stands in its log, where nobody looks for it who waits here.
        if let Some(text) = control.killed_after_grace(&row.key, launch)? {
            progress.warn(format!("{} {text}", launch.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        stand::Stand,
        store::{DeployKind, DeployState},
    };

    #[test]
    fn a_change_that_could_not_be_begun_is_begun_as_soon_as_it_can() {
        let stand = Stand::new();
        let deploy = stand.queue(DeployKind::Rollback);
        stand.control.store.refuse_once("deploys");
        run(&stand.control, stand.key.id, Job::Deploys).unwrap();
        let ended = stand.control.store.deploy(deploy.id).unwrap().unwrap();
        assert_eq!(ended.state, DeployState::Failed, "there is nothing to roll back to");
    }

    #[test]
    fn a_fault_of_ours_is_the_end_of_the_work_and_not_of_the_thread() {
        let stand = Stand::new();
        let progress = ProgressLog::heard();
        report(&stand.control, &stand.stage(), &progress, || panic!("a fault")).unwrap();
        let last = progress.so_far().pop();
        let Some(Progress::Finished { outcome, error: Some(error), .. }) = last else {
            panic!("no end");
        };
        assert!(outcome == Outcome::Failed && error.internal, "{error:?}");
    }
}
