//! Where the router is to listen, in the clear and with TLS, and what is bound there.
//!
//! A listener is bound once and outlives every router. One that is held already is kept when its
//! address is still wanted for the same kind of connection.

use std::net::SocketAddr;

use dozen_router::{Listener, ListenerKind, ListenerStatus, bind_listeners};
use parking_lot::Mutex;

use crate::{control::ServerOptions, error::ControlError, port_holder};

/// The addresses of the router.
#[derive(Debug)]
pub(crate) struct RouterListeners {
    /// As they were asked for; port 0 is any port.
    wanted: Vec<ListenerStatus>,
    /// With the ports that were taken, one entry for each address.
    bound: Mutex<Vec<ListenerStatus>>,
}

impl RouterListeners {
    pub(crate) fn new(options: &ServerOptions) -> Self {
        let of = |kind| move |address: &SocketAddr| ListenerStatus { address: *address, kind };
        let plain = options.listen.iter().map(of(ListenerKind::Plain));
        let wanted = plain.chain(options.listen_https.iter().map(of(ListenerKind::Tls))).collect();
        Self { wanted, bound: Mutex::default() }
    }

    /// The first port of a kind, once listeners are bound.
    pub(crate) fn port(&self, kind: ListenerKind) -> Option<u16> {
        self.bound.lock().iter().find(|one| one.kind == kind).map(|one| one.address.port())
    }

    /// The addresses of a kind that were asked for, with the ports that were taken.
    pub(crate) fn addresses(&self, kind: ListenerKind) -> Vec<String> {
        let bound = self.bound.lock();
        let wanted = self.wanted.iter().filter(|one| one.kind == kind);
        let taken = |wanted: &ListenerStatus| {
            bound.iter().find(|bound| is_for(bound, wanted)).unwrap_or(wanted).address.to_string()
        };
        wanted.map(taken).collect()
    }

    /// Whether these are all that are wanted, and no others.
    pub(crate) fn are_served_by(&self, listeners: &[Listener]) -> bool {
        let found = statuses(listeners);
        found.len() == listeners.len()
            && found.iter().all(|one| self.wanted.iter().any(|wanted| is_for(one, wanted)))
            && self.wanted.iter().all(|wanted| found.iter().any(|one| is_for(one, wanted)))
    }

    /// The listeners of all wanted addresses: those of `held`, the others bound anew.
    ///
    /// # Errors
    /// [`ControlError::Listen`] when an address is taken by someone else.
    pub(crate) fn complete(&self, held: Vec<Listener>) -> Result<Vec<Listener>, ControlError> {
        let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(8));
        let is_wanted = |one: &Listener| self.wanted.iter().any(|wanted| is_at(one, wanted));
        // Those that are not go first: an address may be wanted for another kind.
        let mut held: Vec<_> = held.into_iter().filter(is_wanted).collect();
        let mut listeners = Vec::new();
        for wanted in &self.wanted {
            let (kept, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|one| is_at(one, wanted));
            held = others;
            if !kept.is_empty() {
                listeners.extend(kept);
                continue;
            }
            let address = wanted.address;
            let bound = bind_listeners(address, wanted.kind, threads).map_err(|source| {
                let taken = source.kind() == std::io::ErrorKind::AddrInUse;
                let holder = taken.then(|| port_holder::holder_of(address)).flatten();
                ControlError::Listen { address: address.to_string(), holder, source }
            })?;
            listeners.extend(bound);
        }
        Ok(listeners)
    }

    /// These serve from now on.
    pub(crate) fn note(&self, listeners: &[Listener]) {
        let mut bound = statuses(listeners);
        bound.dedup();
        *self.bound.lock() = bound;
    }
}

fn statuses(listeners: &[Listener]) -> Vec<ListenerStatus> {
    listeners.iter().filter_map(status).collect()
}

fn status(listener: &Listener) -> Option<ListenerStatus> {
    Some(ListenerStatus { address: listener.address().ok()?, kind: listener.kind })
}

fn is_at(listener: &Listener, wanted: &ListenerStatus) -> bool {
    status(listener).is_some_and(|bound| is_for(&bound, wanted))
}

/// Whether a listener is the one that was asked for.
fn is_for(bound: &ListenerStatus, wanted: &ListenerStatus) -> bool {
    let (at, asked) = (bound.address, wanted.address);
    bound.kind == wanted.kind && (at == asked || (asked.port() == 0 && at.ip() == asked.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(plain: &str, https: &str) -> RouterListeners {
        let one = |text: &str, kind| Some(ListenerStatus { address: text.parse().ok()?, kind });
        let wanted = [one(plain, ListenerKind::Plain), one(https, ListenerKind::Tls)];
        RouterListeners { wanted: wanted.into_iter().flatten().collect(), bound: Mutex::default() }
    }

    #[test]
    fn what_is_held_is_kept_for_its_kind_alone() {
        let both = of("127.0.0.1:0", "127.0.0.1:0");
        let held = both.complete(Vec::new()).unwrap();
        assert!(both.are_served_by(&held));
        both.note(&held);
        let ports = [ListenerKind::Plain, ListenerKind::Tls].map(|kind| both.port(kind).unwrap());
        assert_ne!(ports[0], ports[1]);
        assert_eq!(both.addresses(ListenerKind::Tls), [format!("127.0.0.1:{}", ports[1])]);

        let plain_only = of("127.0.0.1:0", "");
        assert!(!plain_only.are_served_by(&held));
        let left = plain_only.complete(held).unwrap();
        assert!(left.iter().all(|one| one.address().unwrap().port() == ports[0]), "{left:?}");

        let turned = of("", &format!("127.0.0.1:{}", ports[0]));
        let again = turned.complete(left).unwrap();
        assert!(again.iter().all(|one| one.kind == ListenerKind::Tls) && turned.are_served_by(&again));
    }
}
