//! Draining: an instance that is out of rotation ends when its requests are done.
//!
//! ```text
//! out of the table -> in flight 0 or the drain limit -> WebSockets closed -> SIGTERM
//!   -> grace period -> everything inside killed -> its folder removed
//! ```
//!
//! Each runs in a thread of its own behind whatever took it out; the launch's `draining` state in
//! the store makes a restarted server go on with it. A server that ends leaves it alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dozen_router::EndpointLoad;
use dozen_run::ExitReason;

use crate::{
    control::Control,
    error::ControlError,
    store::{LaunchRow, LaunchState, StageKey},
};

/// How what outlived its grace period ends.
const SIGKILL: i32 = 9;

/// How often the router is asked what is in flight.
const BEAT: Duration = Duration::from_millis(20);

impl Control {
    /// Drains every launch of a stage that is to end.
    pub(crate) fn drain_all(self: &Arc<Self>, stage: &StageKey) -> Result<(), ControlError> {
        for launch in self.store.open_launches(stage.id)? {
            if launch.state == LaunchState::Draining && self.begin_drain(&launch.id) {
                let (control, stage) = (Arc::clone(self), stage.clone());
                std::thread::spawn(move || {
                    control.drain_to_the_end(&stage, &launch);
                    control.drain_ended(&launch.id);
                });
            }
        }
        Ok(())
    }

    /// Nobody else ends what is out of rotation: it is tried until it is gone, or the server ends.
    fn drain_to_the_end(&self, stage: &StageKey, launch: &LaunchRow) {
        let began = Instant::now();
        self.until_done(&format!("drain {} of {}", launch.name, stage.app), || {
            match self.store.launch(&launch.id)? {
                Some(row) if row.state == LaunchState::Draining => self.drain(stage, launch, began),
                _ => Ok(()),
            }
        });
    }

    fn drain(&self, stage: &StageKey, launch: &LaunchRow, began: Instant) -> Result<(), ControlError> {
        if launch.port.is_some() && !self.wait_for_requests(stage, launch, began)? {
            return Ok(());
        }
        let grace = self.settings_of(stage, launch).grace();
        self.end_launch(launch, Some(grace))?;
        let end = self.killed_after_grace(stage, launch)?.unwrap_or_else(|| "stopped".to_owned());
        self.say(stage, &launch.name.to_string(), &format!("{} of {} {end}", launch.name, launch.release));
        Ok(())
    }

    /// What to say of an instance that has ended and did not do so when it was asked to.
    pub(crate) fn killed_after_grace(
        &self,
        stage: &StageKey,
        launch: &LaunchRow,
    ) -> Result<Option<String>, ControlError> {
        let exit = self.store.launch(&launch.id)?.and_then(|row| row.exit());
        if exit != Some(ExitReason::Signal(SIGKILL)) {
            return Ok(None);
        }
        let settings = self.settings_of(stage, launch);
        let signal = settings.stop_signal.unwrap_or_default().as_str();
        let grace = settings.grace();
        Ok(Some(format!("did not end within {grace:?} of SIG{signal} and was killed")))
    }

    /// Waits for what is in flight, to the drain limit. False when the server ends: requests and
    /// WebSockets go on, and the next server goes on waiting.
    fn wait_for_requests(
        &self,
        stage: &StageKey,
        launch: &LaunchRow,
        began: Instant,
    ) -> Result<bool, ControlError> {
        let limit = self.drain_limit(stage, launch);
        loop {
            // Upgraded connections count: a WebSocket lives to the drain limit.
            let load = self.router.load_of(&launch.id);
            if self.is_ending() {
                return Ok(false);
            }
            match load {
                Ok(load) if load.requests == 0 && load.upgraded == 0 => return Ok(true),
                Ok(load) if began.elapsed() >= limit => {
                    // Said once it is done: it may have to be tried again.
                    self.router.close_upgraded(&launch.id)?;
                    self.say(stage, &launch.name.to_string(), &left_at_the_limit(load));
                    return Ok(true);
                }
                // A router that says nothing does not move the limit.
                Err(_) if began.elapsed() >= limit => return Ok(true),
                Err(error) => return Err(error),
                Ok(_) => std::thread::sleep(BEAT),
            }
        }
    }

    fn drain_limit(&self, stage: &StageKey, launch: &LaunchRow) -> Duration {
        let release = self.store.release(stage.id, launch.release).ok().flatten();
        let image = release.and_then(|row| self.image_of(&row).ok());
        image
            .map(|image| image.manifest.for_stage(&stage.stage).drain.timeout())
            .unwrap_or(Duration::from_secs(30))
    }
}

/// What to say of an instance that has still something in flight when its time to drain is over.
fn left_at_the_limit(load: EndpointLoad) -> String {
    let count = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    };
    let left = [count(load.requests, "request"), count(load.upgraded, "WebSocket")];
    let left = left.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    format!("at the drain limit with {left} open: WebSockets are closed, requests have the grace period left")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stand::Stand, store::Purpose};

    #[test]
    fn what_is_left_at_the_limit_is_named() {
        let text = |requests, upgraded| {
            left_at_the_limit(EndpointLoad { requests, upgraded, ..EndpointLoad::default() })
        };
        assert!(text(0, 2).starts_with("at the drain limit with 2 WebSockets open"), "{}", text(0, 2));
        assert!(text(1, 1).starts_with("at the drain limit with 1 request and 1 WebSocket open"));
    }

    #[test]
    fn a_drain_that_fails_is_tried_again() {
        let stand = Stand::new();
        let launch = stand.launch(Purpose::Service, None, LaunchState::Draining);
        let damage = stand.damage_once(&launch);
        stand.control.drain_all(&stand.key).unwrap();
        damage.mend_while_it_is_read();
        stand.wait_for("the end of the drain", || stand.state_of(&launch) == LaunchState::Ended);
    }

    #[test]
    fn a_server_that_ends_leaves_what_drains_alone() {
        let stand = Stand::new();
        let mut launch = stand.launch(Purpose::Service, None, LaunchState::Draining);
        launch.port = Some(1);
        stand.control.end();
        stand.control.drain(&stand.key, &launch, Instant::now()).unwrap();
        assert_eq!(stand.state_of(&launch), LaunchState::Draining);
    }

    #[test]
    fn who_waits_for_drains_begins_those_that_nobody_has_begun() {
        let stand = Stand::new();
        let launch = stand.launch(Purpose::Service, None, LaunchState::Draining);
        let (control, stage) = (Arc::clone(&stand.control), stand.key.id);
        let waiting = std::thread::spawn(move || control.wait_for_drains(stage));
        stand.wait_for("the end of the drain", || stand.state_of(&launch) == LaunchState::Ended);
        waiting.join().unwrap().unwrap();
    }
}
