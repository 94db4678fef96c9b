//! The last known state of each instance, and who wants to hear of a change.
//!
//! Shims report, the watcher posts, everybody else reads here: so a question for a state costs
//! no round trip, and waiting for one is a wait on a condition, not a loop of questions.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, Sender, channel},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{InstanceState, LaunchId};

/// A change of an instance's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceEvent {
    /// The instance.
    pub id: LaunchId,
    /// Its state now.
    pub state: InstanceState,
}

/// The last known states.
#[derive(Debug, Default)]
pub(super) struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    states: BTreeMap<LaunchId, InstanceState>,
    /// How often each was restarted when it came into our hands.
    restarts_before: BTreeMap<LaunchId, u32>,
    subscribers: Vec<Sender<InstanceEvent>>,
}

impl Board {
    /// Records a state and tells everyone; the same state again is no news.
    pub(super) fn post(&self, id: &LaunchId, state: InstanceState) {
        let mut inner = self.inner.lock();
        if inner.states.get(id) == Some(&state) {
            return;
        }
        inner.states.insert(id.clone(), state.clone());
        let event = InstanceEvent { id: id.clone(), state };
        // A subscriber that went away is forgotten the first time it is not there.
        inner.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
        drop(inner);
        self.changed.notify_all();
    }

    pub(super) fn get(&self, id: &LaunchId) -> Option<InstanceState> {
        self.inner.lock().states.get(id).cloned()
    }

    pub(super) fn forget(&self, id: &LaunchId) {
        let mut inner = self.inner.lock();
        inner.states.remove(id);
        inner.restarts_before.remove(id);
        drop(inner);
        self.changed.notify_all();
    }

    /// Notes with how many restarts an instance came into our hands; the first note counts.
    pub(super) fn note_restarts(&self, id: &LaunchId, restarts: u32) {
        self.inner.lock().restarts_before.entry(id.clone()).or_insert(restarts);
    }

    /// With how many restarts it came into our hands.
    pub(super) fn restarts_before(&self, id: &LaunchId) -> u32 {
        self.inner.lock().restarts_before.get(id).copied().unwrap_or(0)
    }

    pub(super) fn subscribe(&self) -> Receiver<InstanceEvent> {
        let (sender, receiver) = channel();
        self.inner.lock().subscribers.push(sender);
        receiver
    }

    /// Waits until `wanted` finds something in the state of `id`, at most for `timeout`.
    pub(super) fn wait<T>(
        &self,
        id: &LaunchId,
        timeout: Duration,
        wanted: impl Fn(&InstanceState) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut inner = self.inner.lock();
        loop {
            if let Some(found) = inner.states.get(id).and_then(&wanted) {
                return Some(found);
            }
            if self.changed.wait_until(&mut inner, deadline).timed_out() {
                return inner.states.get(id).and_then(&wanted);
            }
        }
    }
}
