//! What happens to instances while nobody changes anything: shims that die, apps that crash.
//!
//! One thread hears every change of every instance. A dead shim is replaced at once, since until
//! then nobody reads the app's output or restarts it. Crashes are told in the app's log: the
//! shim has already seen to the restart. A one-off process that ended is cleared away.

use std::sync::Arc;

use dozen_run::{Adoption, InstanceEvent};

use crate::{
    control::Control,
    error::ControlError,
    store::{LaunchRow, LaunchState, Purpose, StageKey},
    worker::Job,
};

/// The last end of each launch that was told, in unix nanoseconds.
type Told = std::collections::HashMap<String, u64>;

/// So many are remembered before those that are gone are forgotten.
const MANY_TOLD: usize = 500;

impl Control {
    /// Starts the thread.
    pub(crate) fn watch_instances(self: &Arc<Self>) {
        let events = self.supervisor.subscribe();
        let control = Arc::clone(self);
        std::thread::spawn(move || {
            let mut told = Told::new();
            for event in events {
                if control.is_ending() {
                    return;
                }
                if let Err(error) = control.heard(&event, &mut told) {
                    tracing::error!(instance = event.id.as_str(), "{}", error.body().message);
                }
            }
        });
    }

    fn heard(self: &Arc<Self>, event: &InstanceEvent, told: &mut Told) -> Result<(), ControlError> {
        let Some(launch) = self.store.launch(event.id.as_str())? else { return Ok(()) };
        let Some(stage) = self.store.stage_by_id(launch.stage)? else { return Ok(()) };
        if event.state.shim_lost {
            let (control, key) = (Arc::clone(self), stage.key);
            std::thread::spawn(move || {
                if let Err(error) = control.replace_shim(&key, &launch) {
                    tracing::error!(instance = %launch.name, "could not replace a shim: {}", error.body().message);
                }
            });
            return Ok(());
        }
        if told.len() >= MANY_TOLD {
            let is_there = |id: &str| id.parse().is_ok_and(|id| self.supervisor.status(&id).is_ok());
            told.retain(|id, _| is_there(id));
        }
        // The next incarnation may run already when an end is heard of; each end is told once.
        let end = event.state.reported.last_exit.as_ref().map(|exit| exit.at);
        if launch.purpose == Purpose::Service
            && launch.state != LaunchState::Draining
            && let (Some(at), Some(reason)) = (end, event.state.last_exit())
            && told.insert(launch.id.clone(), at) != Some(at)
        {
            self.say(&stage.key, &launch.name.to_string(), &format!("{} ended: {reason}", launch.name));
        }
        if launch.purpose == Purpose::OneOff && launch.state != LaunchState::Ended {
            self.clear_one_off(&stage.key, &launch, event);
        }
        Ok(())
    }

    fn clear_one_off(self: &Arc<Self>, stage: &StageKey, launch: &LaunchRow, event: &InstanceEvent) {
        let Some(reason) = event.state.exit() else { return };
        let (control, stage, launch) = (Arc::clone(self), stage.clone(), launch.clone());
        // Removing waits until the shim is gone too; that is not this thread's time.
        std::thread::spawn(move || {
            control.say(&stage, &launch.name.to_string(), &format!("{} ended: {reason}", launch.name));
            if let Err(error) = control.clear_launch(&launch, &reason.to_string()) {
                tracing::error!(instance = %launch.name, "could not clear a one-off process: {error}");
            }
        });
    }

    /// Clears away what ended without a shim to tell of it; what is wanted is started again.
    fn ended_unseen(
        self: &Arc<Self>,
        stage: &StageKey,
        launch: &LaunchRow,
        reason: &str,
    ) -> Result<(), ControlError> {
        let now = self.store.launch(&launch.id)?;
        if now.is_none_or(|now| matches!(now.state, LaunchState::Ended | LaunchState::Draining)) {
            // Whoever ends it, or has ended it, clears it away.
            return Ok(());
        }
        self.say(stage, &launch.name.to_string(), &format!("{} ended: {reason}", launch.name));
        self.clear_launch(launch, reason)?;
        if launch.purpose == Purpose::Service {
            self.worker(stage.id).send(Job::Recover { failed: 0 });
        }
        Ok(())
    }

    /// Takes a launch over as soon as that can be done, in a thread of its own.
    pub(crate) fn adopt_later(self: &Arc<Self>, stage: &StageKey, launch: &LaunchRow) {
        let (control, stage, launch) = (Arc::clone(self), stage.clone(), launch.clone());
        std::thread::spawn(move || {
            if let Err(error) = control.take_over(&stage, &launch) {
                tracing::error!(instance = %launch.name, "could not clear an instance: {}", error.body().message);
            }
        });
    }

    fn replace_shim(self: &Arc<Self>, stage: &StageKey, launch: &LaunchRow) -> Result<(), ControlError> {
        self.say(
            stage,
            &launch.name.to_string(),
            &format!("the shim of {} died and is replaced", launch.name),
        );
        self.take_over(stage, launch)
    }

    /// No second event comes for it, and an app without a shim stalls when its pipe is full: so it
    /// is tried until it is done.
    fn take_over(self: &Arc<Self>, stage: &StageKey, launch: &LaunchRow) -> Result<(), ControlError> {
        let Some(adoption) = self.adopt_patiently(stage, launch) else { return Ok(()) };
        match adoption {
            Adoption::Running(_) => Ok(()),
            // The release phase's own step takes its result.
            _ if launch.purpose == Purpose::ReleasePhase => Ok(()),
            // Whoever watches hears of its end and clears it away.
            Adoption::Exited(_) if launch.purpose == Purpose::OneOff => Ok(()),
            Adoption::Exited(reason) => self.ended_unseen(stage, launch, &reason.to_string()),
            Adoption::Gone => self.ended_unseen(stage, launch, "gone"),
        }
    }
}
