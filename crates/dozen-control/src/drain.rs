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
                    if let Err(error) = control.drain(&stage, &launch) {
                        tracing::error!(instance = %launch.name, "could not drain an instance: {error}");
                    }
                    control.drain_ended(&launch.id);
                });
            }
        }
        Ok(())
    }

    fn drain(&self, stage: &StageKey, launch: &LaunchRow) -> Result<(), ControlError> {
        if launch.port.is_some() && !self.wait_for_requests(stage, launch)? {
            return Ok(());
        }
        let settings = self.settings_of(stage, launch);
        let grace = settings.grace();
        let reason = self.end_launch(launch, Some(grace))?;
        let end = if reason == Some(ExitReason::Signal(SIGKILL)) {
            let signal = settings.stop_signal.unwrap_or_default().as_str();
            format!("did not end within {grace:?} of SIG{signal} and was killed")
        } else {
            "stopped".to_owned()
        };
        self.say(stage, &launch.name.to_string(), &format!("{} of {} {end}", launch.name, launch.release));
        Ok(())
    }

    /// Waits for what is in flight, to the drain limit. False when the server ends: requests and
    /// WebSockets go on, and the next server goes on waiting.
    fn wait_for_requests(&self, stage: &StageKey, launch: &LaunchRow) -> Result<bool, ControlError> {
        let limit = self.drain_limit(stage, launch);
        let began = Instant::now();
        loop {
            // Upgraded connections count: a WebSocket lives to the drain limit.
            let load = self.router.load_of(&launch.id)?;
            if self.is_ending() {
                return Ok(false);
            }
            if load.requests == 0 && load.upgraded == 0 {
                return Ok(true);
            }
            if began.elapsed() >= limit {
                let text = format!("{} requests in flight were cut at the drain limit", load.requests);
                self.say(stage, &launch.name.to_string(), &text);
                self.router.close_upgraded(&launch.id)?;
                return Ok(true);
            }
            std::thread::sleep(BEAT);
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
