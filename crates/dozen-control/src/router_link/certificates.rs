//! The way of certificate sets to the router: as with tables, one after the other, and again to a
//! router that was started after one that died.

use dozen_model::certificates::CertificateSet;
use parking_lot::{Condvar, Mutex};

use super::RouterLink;
use crate::error::ControlError;

/// What is known of the set that the router has.
#[derive(Debug, Default)]
pub(super) struct CertificateLink {
    /// Held while a set is made and given.
    giving: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// It may be an old one.
    is_stale: bool,
    /// Routers that were started after one that died.
    revivals: u64,
}

impl CertificateLink {
    /// A new router has the set that is stored, which may be an old one.
    pub(super) fn router_was_revived(&self) {
        let mut state = self.state.lock();
        *state = State { is_stale: true, revivals: state.revivals + 1 };
        self.changed.notify_all();
    }
}

impl RouterLink {
    /// Gives the router a set and waits until every new connection meets it.
    pub(crate) fn publish_certificates(
        &self,
        make: impl Fn() -> Result<CertificateSet, ControlError>,
    ) -> Result<(), ControlError> {
        let link = &self.certificates;
        let _one_after_the_other = link.giving.lock();
        let revivals = link.state.lock().revivals;
        let given = make().and_then(|set| self.ask(|client| client.set_certificates(&set)));
        let mut state = link.state.lock();
        state.is_stale = given.is_err() || state.revivals != revivals;
        link.changed.notify_all();
        given.map(|_| ())
    }

    /// Sleeps until the router may have an old set, for whoever gives it the newest.
    pub(crate) fn wait_for_stale_certificates(&self) {
        let link = &self.certificates;
        let mut state = link.state.lock();
        while !state.is_stale {
            link.changed.wait(&mut state);
        }
    }
}
