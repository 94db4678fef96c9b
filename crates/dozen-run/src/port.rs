//! Ports for instances that share the host's network.
//!
//! A web process is told its `PORT` and binds it itself, so between the choice and the bind
//! nothing of ours holds the port. Three things keep the gap harmless: ports lie below the range
//! from which the kernel serves `connect` and `bind(0)`, so no outgoing connection takes one by
//! chance; a port is tried on every address before it is handed out; and the pool never hands
//! out one that another instance of ours was given, even while that one is between two starts.
//! Whether the app itself answers there is for [`crate::ready`] to find out.
//!
//! An instance in a network namespace of its own needs no pool: it may use the same port as all.

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
};

use parking_lot::Mutex;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt::set_ipv6_v6only},
};

use crate::RunError;

/// Where ports are taken from on a kernel with the usual ephemeral range (32768-60999).
const USUAL: Range<u16> = 20_000..32_000;

/// The ports that instances were given.
#[derive(Debug)]
pub struct PortPool {
    range: Range<u16>,
    given: Mutex<BTreeSet<u16>>,
}

impl Default for PortPool {
    fn default() -> Self {
        Self::new()
    }
}

impl PortPool {
    /// A pool below this kernel's ephemeral range.
    pub fn new() -> Self {
        let ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Self { range: below(first_ephemeral(&ephemeral)), given: Mutex::default() }
    }

    /// A port that is free on all addresses and that no other instance was given.
    ///
    /// It stays given until [`PortPool::release`].
    pub fn reserve(&self) -> Result<u16, RunError> {
        let mut given = self.given.lock();
        let count = self.range.len();
        let start = random_below(count);
        let free = (0..count)
            .filter_map(|step| self.range.clone().nth((start + step) % count))
            .find(|port| !given.contains(port) && is_free(*port));
        let port = free.ok_or(RunError::NoPort { from: self.range.start, to: self.range.end - 1 })?;
        given.insert(port);
        Ok(port)
    }

    /// Marks a port as given: that of an instance which was adopted.
    pub fn hold(&self, port: u16) {
        self.given.lock().insert(port);
    }

    /// Gives a port back, after the instance is gone.
    pub fn release(&self, port: u16) {
        self.given.lock().remove(&port);
    }
}

/// The first port of the kernel's ephemeral range, from the text of its sysctl.
fn first_ephemeral(text: &str) -> u16 {
    text.split_ascii_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(32_768)
}

/// The ports to choose from, below `ephemeral` where there is room.
fn below(ephemeral: u16) -> Range<u16> {
    match ephemeral {
        30_000.. => USUAL.start..USUAL.end.min(ephemeral),
        12_000.. => 10_000..ephemeral,
        // A host that hands out nearly all ports itself: the bind check must do.
        _ => USUAL,
    }
}

/// A number below `count`, not for secrets: it only spreads the ports.
fn random_below(count: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random % count.max(1) as u64).unwrap_or(0)
}

/// Whether nobody is bound to `port` on any address.
///
/// The socket is bound without SO_REUSEADDR, so connections that linger count as taken, and it
/// never listens, so nothing can connect to it.
fn is_free(port: u16) -> bool {
    match bind_all(port) {
        Ok(()) => true,
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
            let flags = SocketFlags::CLOEXEC;
            let bound = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))
                .and_then(|socket| bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
            bound.is_ok()
        }
        Err(_) => false,
    }
}

/// Binds both families at once; the socket is closed again on return.
fn bind_all(port: u16) -> Result<(), Errno> {
    let socket =
        socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    set_ipv6_v6only(&socket, false)?;
    bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_is_given_to_one_instance_only() {
        let pool = PortPool { range: 20_000..20_010, given: Mutex::default() };
        let mut seen = BTreeSet::new();
        while let Ok(port) = pool.reserve() {
            assert!(seen.insert(port), "{port} was given twice");
        }
        let back = seen.first().copied().unwrap();
        pool.release(back);
        assert_eq!(pool.reserve().unwrap(), back);
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let pool = PortPool { range: port..port + 1, given: Mutex::default() };
        assert!(matches!(pool.reserve(), Err(RunError::NoPort { .. })));
        drop(taken);
        assert_eq!(pool.reserve().unwrap(), port);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let taken = TcpListener::bind(address).unwrap();
            assert!(!is_free(taken.local_addr().unwrap().port()), "{address}");
        }
    }

    #[test]
    fn ports_lie_below_the_ephemeral_range() {
        assert_eq!(below(first_ephemeral("32768\t60999\n")), 20_000..32_000);
        assert_eq!(below(first_ephemeral("30000 60999")), 20_000..30_000);
        assert_eq!(below(first_ephemeral("15000 65000")), 10_000..15_000);
        assert_eq!(below(first_ephemeral("1024 65535")), 20_000..32_000);
        assert_eq!(below(first_ephemeral("nonsense")), 20_000..32_000);
    }
}
