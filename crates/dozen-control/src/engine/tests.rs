//! What the engine does where the world around it does not do its part.

use std::collections::BTreeMap;

use super::*;
use crate::{stand::Stand, store::DeployKind};

#[test]
fn a_release_that_is_committed_does_not_fail_for_want_of_a_router() {
    let stand = Stand::new();
    let (deploy, release) = stand.release();
    let store = &stand.control.store;
    for step in &STEPS[..4] {
        store.begin_step(deploy.id, step.name).unwrap();
        store.end_step(deploy.id, step.name).unwrap();
    }
    store.scale(stand.key.id, &BTreeMap::from([("web".parse().unwrap(), 0)])).unwrap();
    std::thread::scope(|scope| {
        let driven = scope.spawn(|| drive(&stand.control, stand.stage(), deploy.clone()));
        stand.wait_for("the commit", || stand.stage().current == Some(release));
        stand.wait_for("the next attempt, or a failure", || {
            let events = crate::progress::read(&stand.control.events_file(&stand.key, deploy.number));
            events.iter().any(|event| matches!(event, Progress::Warning { .. } | Progress::Finished { .. }))
        });
        stand.control.end();
        driven.join().unwrap().unwrap();
    });
    let deploy = store.deploy(deploy.id).unwrap().unwrap();
    assert_eq!((deploy.kind, deploy.state), (DeployKind::Deploy, DeployState::Running));
}
