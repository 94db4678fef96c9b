//! Maintenance and pauses: what an operator says of a stage's requests.
//!
//! Both are in the store before the router hears of them, and the next server gives the router the
//! same table again. A pause ends by itself: its end stands in the table, and the router lets
//! requests go on at that moment whether control lives or not. So a pause that was forgotten, or
//! whose control was killed, does not take the app down.
//!
//! Health checks and one-off processes do not pass the router and go on through both.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dozen_model::{
    image::{Image, LayerRole},
    manifest::RouterSettings,
    route_policy::{ErrorPageFolder, Maintenance, Pause, RoutePolicy},
};

use crate::{
    api::wire::{MaintenanceWish, Outcome, PauseRequest, Progress, TrafficStatus},
    barrier::Place,
    control::Control,
    error::ControlError,
    progress::{ProgressLog, failed},
    store::{LaunchState, Purpose, StageKey, StageRow, now_ms},
};

/// How often the router is asked what is in flight.
const BEAT: Duration = Duration::from_millis(10);

impl Control {
    /// Puts a stage into maintenance, or takes it out of it.
    pub fn set_maintenance(
        &self,
        stage: &StageRow,
        wish: &MaintenanceWish,
    ) -> Result<TrafficStatus, ControlError> {
        let maintenance = wish.on.then(|| Maintenance { allow: wish.allow.clone() });
        self.store.set_maintenance(stage.key.id, maintenance.as_ref())?;
        self.reach(Place::TrafficRecorded);
        self.publish()?;
        self.say(&stage.key, "router", if wish.on { "maintenance begins" } else { "maintenance is over" });
        self.traffic(&stage.key)
    }

    /// Lets all requests of a stage wait; new ones from the moment this returns.
    ///
    /// The progress ends at once, or where that is asked for when no request is in flight any more.
    pub fn pause(
        self: &Arc<Self>,
        stage: &StageRow,
        request: &PauseRequest,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let limit = Duration::from_millis(request.limit_ms);
        if limit < PauseRequest::SHORTEST || limit > PauseRequest::LONGEST {
            let (least, most) = (PauseRequest::SHORTEST, PauseRequest::LONGEST);
            return Err(ControlError::PauseLimit { least, most });
        }
        if stage.current.is_none() {
            return Err(ControlError::NoRelease { app: stage.key.app.clone() });
        }
        let until_ms = now_ms().saturating_add(i64::try_from(request.limit_ms).unwrap_or(i64::MAX));
        self.store.set_paused_until(stage.key.id, until_ms)?;
        self.reach(Place::TrafficRecorded);
        self.publish()?;
        self.say(&stage.key, "router", &format!("requests wait, for {limit:?} at most"));
        let progress = Arc::new(ProgressLog::heard());
        let (control, key, heard) = (Arc::clone(self), stage.key.clone(), Arc::clone(&progress));
        if !request.wait {
            heard.send(done());
        } else {
            std::thread::spawn(move || {
                let announced = heard.step("wait", "Waiting for requests in flight");
                match control.wait_for_quiet(&key, until_ms) {
                    Ok(true) => {
                        announced.done("none is in flight");
                        heard.send(done());
                    }
                    // The server ends: who follows hears that the connection was lost.
                    Ok(false) => {}
                    Err(error) => heard.send(failed(&error)),
                }
            });
        }
        Ok(progress)
    }

    /// Lets requests go on.
    pub fn resume(&self, stage: &StageRow) -> Result<TrafficStatus, ControlError> {
        self.store.set_paused_until(stage.key.id, 0)?;
        self.reach(Place::TrafficRecorded);
        self.publish()?;
        if pause_of(stage).is_some() {
            self.say(&stage.key, "router", "requests go on");
        }
        self.traffic(&stage.key)
    }

    /// Whether a stage is in maintenance or paused.
    pub fn traffic(&self, stage: &StageKey) -> Result<TrafficStatus, ControlError> {
        let row = self.store.stage(&stage.app, &stage.stage)?;
        let pause = pause_of(&row);
        Ok(TrafficStatus {
            maintenance: row.maintenance.is_some(),
            allow: row.maintenance.map(|said| said.allow).unwrap_or_default(),
            paused_for_ms: pause.map(|pause| pause.until_ms.saturating_sub(now_ms().unsigned_abs())),
            in_flight: self.in_flight(stage)? as u64,
        })
    }

    /// The policy of a stage that serves a release of this image.
    pub(crate) fn policy(&self, stage: &StageRow, image: &Image, declared: RouterSettings) -> RoutePolicy {
        let tree = image.layers.iter().find(|layer| layer.role == LayerRole::App);
        let folder = |folder: &String| {
            Some(ErrorPageFolder { layer: self.layers.path(&tree?.digest), folder: folder.into() })
        };
        RoutePolicy {
            error_pages: declared.error_pages.as_ref().and_then(folder),
            declared,
            maintenance: stage.maintenance.clone(),
            pause: pause_of(stage),
            https_port: self.options.https_port,
        }
    }

    /// Waits until nothing is in flight; false when the server ends.
    fn wait_for_quiet(&self, key: &StageKey, until_ms: i64) -> Result<bool, ControlError> {
        let began = Instant::now();
        let limit = Duration::from_millis(until_ms.saturating_sub(now_ms()).unsigned_abs());
        loop {
            let left = self.in_flight(key)?;
            if left == 0 {
                return Ok(true);
            }
            if self.is_ending() {
                return Ok(false);
            }
            let is_paused = pause_of(&self.store.stage(&key.app, &key.stage)?).is_some();
            if !is_paused || began.elapsed() >= limit {
                return Err(ControlError::PauseOver { left });
            }
            std::thread::sleep(BEAT);
        }
    }

    /// Requests at instances of a stage, also at those that drain. WebSockets do not count.
    fn in_flight(&self, key: &StageKey) -> Result<usize, ControlError> {
        let mut launches = self.store.open_launches(key.id)?;
        launches.retain(|launch| launch.purpose == Purpose::Service && launch.state != LaunchState::Starting);
        if launches.is_empty() {
            return Ok(0);
        }
        let loads = self.router.loads()?;
        Ok(launches.iter().map(|launch| loads.get(&launch.id).map_or(0, |load| load.requests)).sum())
    }
}

/// The pause that holds now.
fn pause_of(stage: &StageRow) -> Option<Pause> {
    let until_ms = Some(stage.paused_until).filter(|until| *until > now_ms())?;
    Some(Pause { until_ms: until_ms.unsigned_abs() })
}

fn done() -> Progress {
    Progress::Finished { outcome: Outcome::Succeeded, release: None, urls: Vec::new(), error: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand::Stand;

    #[test]
    fn what_was_said_stands_in_the_next_servers_table() {
        let stand = Stand::new();
        stand.serve_release();
        let control = &stand.control;
        let policy = || control.table(1).unwrap().stages[0].policy.clone();
        assert_eq!(policy(), RoutePolicy::default());
        let allow = vec!["10.0.0.0/8".parse().unwrap()];
        control.store.set_maintenance(stand.key.id, Some(&Maintenance { allow: allow.clone() })).unwrap();
        let until = now_ms() + 60_000;
        control.store.set_paused_until(stand.key.id, until).unwrap();
        assert_eq!(policy().maintenance, Some(Maintenance { allow }));
        assert_eq!(policy().pause, Some(Pause { until_ms: until.unsigned_abs() }));
        control.store.set_maintenance(stand.key.id, None).unwrap();
        control.store.set_paused_until(stand.key.id, now_ms() - 1).unwrap();
        assert_eq!(policy(), RoutePolicy::default(), "a pause that is over is none");
    }

    #[test]
    fn a_pause_is_neither_endless_nor_of_what_has_no_release() {
        let stand = Stand::new();
        let ask = |limit_ms| stand.control.pause(&stand.stage(), &PauseRequest { limit_ms, wait: false });
        assert!(matches!(ask(1000), Err(ControlError::NoRelease { .. })));
        for limit in [0, 999, 600_001, u64::MAX] {
            assert!(matches!(ask(limit), Err(ControlError::PauseLimit { .. })), "{limit}");
        }
    }
}
