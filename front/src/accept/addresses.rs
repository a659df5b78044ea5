//! How many connections each address has. An IPv6 /64 counts as one: it is what a single customer is given.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

pub(super) struct Addresses {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place of one address; given back on drop.
pub(super) struct Seat {
    key: Option<IpAddr>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    pub(super) fn new(max: usize) -> Self {
        Self { max, open: Arc::default() }
    }

    /// A place, or `None` if the address has as many as it may. Without an address nothing is counted.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Option<Seat> {
        let key = address.map(network);
        if let Some(key) = key {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(key).or_default();
            if *count >= self.max {
                return None;
            }
            *count += 1;
        }
        Some(Seat { key, open: Arc::clone(&self.open) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&key);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_address_leaves_the_others_their_places_and_gets_its_own_back() {
        let addresses = Addresses::new(1);
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let seat = addresses.take(Some(one));
        assert!(seat.is_some() && addresses.take(Some(one)).is_none());
        assert!(addresses.take(Some(two)).is_some() && addresses.take(None).is_some());
        drop(seat);
        assert!(addresses.take(Some(one)).is_some());
        assert!(addresses.open.lock().unwrap().is_empty(), "the map holds only who is here");
    }

    #[test]
    fn a_v6_network_is_one_customer() {
        let addresses = Addresses::new(1);
        let _seat = addresses.take(Some("2001:db8::1".parse().unwrap()));
        assert!(addresses.take(Some("2001:db8::2".parse().unwrap())).is_none());
        assert!(addresses.take(Some("2001:db8:0:1::2".parse().unwrap())).is_some());
    }
}
