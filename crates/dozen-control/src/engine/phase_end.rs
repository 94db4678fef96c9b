//! The end of a release phase that does not end by itself: proven, not assumed.
//!
//! A migration must never run beside a second one, nor beside old code whose writes go through
//! again. So a change ends only when its phase is seen dead, and a phase begins only when none of
//! an earlier change is left. A process that would not end, or of which nobody can say whether it
//! lives, is asked again until it is gone; a server that ends before that leaves the change under
//! way to the next one.

use super::{Change, hold};
use crate::{
    error::ControlError,
    store::{LaunchState, Purpose},
};

/// Ends the phase of this change, if it began; returns when it is gone.
///
/// # Errors
/// [`ControlError::Cancelled`] when the server ends before that.
pub(super) fn end(change: &Change) -> Result<(), ControlError> {
    end_those(change, "end the release phase", |deploy| deploy == Some(change.deploy.id))
}

/// Ends phases that earlier changes of the stage left behind; returns when they are gone.
///
/// # Errors
/// As [`end`].
pub(super) fn end_others(change: &Change) -> Result<(), ControlError> {
    end_those(change, "end an earlier release phase", |deploy| deploy != Some(change.deploy.id))
}

fn end_those(
    change: &Change,
    what: &str,
    is_meant: impl Fn(Option<i64>) -> bool,
) -> Result<(), ControlError> {
    let control = &change.control;
    let ended = control.until_done(what, || {
        for launch in control.store.open_launches(change.key().id)? {
            let is_phase = launch.purpose == Purpose::ReleasePhase && launch.state != LaunchState::Ended;
            if is_phase && is_meant(launch.deploy) {
                control.end_launch(&launch, None)?;
            }
        }
        Ok(())
    });
    ended.ok_or(ControlError::Cancelled)
}

/// The undo of the step: only when nothing migrates any more do requests go on to what serves.
pub(super) fn undo(change: &Change) -> Result<(), ControlError> {
    end(change)?;
    hold::let_requests_through(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{STEPS, phase},
        stand::Stand,
        store::{DeployKind, DeployState},
    };

    #[test]
    fn a_change_does_not_fail_before_its_phase_is_seen_dead() {
        let stand = Stand::new();
        let (deploy, _) = stand.release();
        let phase = stand.launch(Purpose::ReleasePhase, Some(deploy.id), LaunchState::Serving);
        let folder = stand.damage(&phase);
        for step in &STEPS[..4] {
            stand.control.store.begin_step(deploy.id, step.name).unwrap();
        }
        let change = stand.change(deploy.id);
        std::thread::scope(|scope| {
            let failing = scope.spawn(|| change.fail(&ControlError::NoProcesses));
            std::fs::remove_dir_all(&folder).unwrap();
            failing.join().unwrap().unwrap();
        });
        assert_eq!(stand.state_of(&phase), LaunchState::Ended);
        let deploy = stand.control.store.deploy(deploy.id).unwrap().unwrap();
        assert_eq!(deploy.state, DeployState::Failed);
    }

    #[test]
    fn a_server_that_ends_before_that_leaves_the_change_to_the_next_one() {
        let stand = Stand::new();
        let (deploy, _) = stand.release();
        let phase = stand.launch(Purpose::ReleasePhase, Some(deploy.id), LaunchState::Serving);
        stand.damage(&phase);
        stand.control.store.begin_step(deploy.id, "release-phase").unwrap();
        stand.control.end();
        stand.change(deploy.id).fail(&ControlError::NoProcesses).unwrap_err();
        let deploy = stand.control.store.deploy(deploy.id).unwrap().unwrap();
        assert_eq!((deploy.state, stand.state_of(&phase)), (DeployState::Running, LaunchState::Serving));
    }

    #[test]
    fn a_phase_begins_only_when_none_of_an_earlier_change_is_left() {
        let stand = Stand::new();
        let earlier = stand.queue(DeployKind::Deploy);
        let left = stand.launch(Purpose::ReleasePhase, Some(earlier.id), LaunchState::Serving);
        stand.control.store.end_deploy(earlier.id, DeployState::Failed, None).unwrap();
        let (deploy, _) = stand.release();
        let mut change = stand.change(deploy.id);
        phase::run(&mut change).unwrap_err();
        assert_eq!(stand.state_of(&left), LaunchState::Ended);
        let own = stand.control.store.phase_launch(deploy.id).unwrap().unwrap();
        assert_eq!(own.outcome.as_deref(), Some("did not start"), "no binary is here to start it");
    }
}
