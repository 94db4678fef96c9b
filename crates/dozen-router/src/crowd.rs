//! How many connections each client has, in all threads, so that none can take them all.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// The clients that have connections.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    /// A place for one more connection of this client; `None` when it has `most` already.
    pub(crate) fn place(self: &Arc<Self>, client: IpAddr, most: usize) -> Option<Place> {
        let client = network_of(client);
        let mut clients = self.0.lock();
        let count = clients.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(clients);
        Some(Place { crowd: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.crowd.0.lock().entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// An IPv6 client has a network of 64 bits to itself, and as many addresses as it likes.
fn network_of(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_no_more() {
        let crowd = Arc::new(Crowd::default());
        let place = |client: &str| crowd.place(client.parse().unwrap(), 2);
        let (one, two) = (place("10.0.0.1"), place("10.0.0.1"));
        assert!(one.is_some() && two.is_some() && place("10.0.0.1").is_none());
        assert!(place("10.0.0.2").is_some());
        drop(one);
        assert!(place("10.0.0.1").is_some());
        drop(two);
        assert!(crowd.0.lock().is_empty(), "nobody is kept in mind");
    }

    #[test]
    fn the_addresses_of_one_network_are_one_client() {
        let crowd = Arc::new(Crowd::default());
        let place = |client: &str| crowd.place(client.parse().unwrap(), 1);
        let _one = place("2001:db8::1");
        assert!(place("2001:db8::2:3").is_none() && place("2001:db8:0:1::1").is_some());
    }
}
