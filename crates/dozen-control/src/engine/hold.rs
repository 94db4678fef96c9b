//! Requests that may write, from the start of a release phase to the route swap.
//!
//! Old code over a new schema answers 500 to every write. So where that may happen the router
//! holds unsafe requests, and the phase begins when those that were under way before are answered,
//! or at a limit: a held request waits 30 s at most, and the phase and the start need their part
//! of it.
//!
//! A change that keeps the image keeps the code, and what its phase migrates to is the schema that
//! this code knows: nothing is held for it.

use std::time::{Duration, Instant};

use dozen_model::route_table::Hold;

use super::Change;
use crate::{
    control::Control,
    error::ControlError,
    launcher::Loaded,
    store::{LaunchState, Purpose, StageRow},
};

/// How long requests that were sent before the hold are waited for.
const LATE_WRITES: Duration = Duration::from_secs(10);
/// How often the router is asked for them.
const BEAT: Duration = Duration::from_millis(10);
/// A wait that people notice is told.
const NOTICED: Duration = Duration::from_millis(500);

/// Holds writes and waits until none is under way.
pub(super) fn hold_writes(change: &Change, loaded: &Loaded) -> Result<(), ControlError> {
    if !change.control.holds_writes(&change.stage, loaded)? {
        return Ok(());
    }
    change.control.set_hold(change.key().id, Hold::Unsafe);
    change.control.publish()?;
    let began = Instant::now();
    loop {
        let left = writes_under_way(change)?;
        if left == 0 {
            break;
        }
        if change.control.is_ending() {
            return Err(ControlError::Cancelled);
        }
        if began.elapsed() >= LATE_WRITES {
            let text = format!("{left} requests that may write are still under way after {LATE_WRITES:?}");
            change.work.progress.warn(text);
            break;
        }
        std::thread::sleep(BEAT);
    }
    if began.elapsed() >= NOTICED {
        let text = format!("waited {:.1} s for requests that may write", began.elapsed().as_secs_f64());
        change.work.progress.line(text);
    }
    Ok(())
}

impl Control {
    /// Whether a stage's writes wait while the release phase of `loaded` runs.
    pub(crate) fn holds_writes(&self, stage: &StageRow, loaded: &Loaded) -> Result<bool, ControlError> {
        let Some(current) = stage.current else { return Ok(false) };
        let asked = loaded.manifest.release.hold_unsafe;
        let holds = match asked {
            Some(asked) => asked,
            None => self.has_single_writer(&loaded.config.bound)?,
        };
        if !holds {
            return Ok(false);
        }
        let serving = self.store.release(stage.key.id, current)?;
        Ok(serving.is_none_or(|release| release.image != loaded.row.image))
    }
}

/// Unsafe requests at instances of the stage, also at those that drain.
fn writes_under_way(change: &Change) -> Result<usize, ControlError> {
    let control = &change.control;
    let mut launches = control.store.open_launches(change.key().id)?;
    launches.retain(|launch| launch.purpose == Purpose::Service && launch.state != LaunchState::Starting);
    let loads = control.router.loads()?;
    let of = |id: &str| loads.get(id).map_or(0, |load| load.unsafe_requests);
    Ok(launches.iter().map(|launch| of(&launch.id)).sum())
}

/// The undo of a release phase: requests go on to what serves.
pub(super) fn let_requests_through(change: &Change) -> Result<(), ControlError> {
    if change.control.hold_of(change.key().id) != Hold::None {
        change.control.set_hold(change.key().id, Hold::None);
        change.control.publish()?;
    }
    Ok(())
}
