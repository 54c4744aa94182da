//! Addresses of the playground: which ranges it uses, and who gets which.
//!
//! The ranges exist only inside the playground's own namespaces; they cannot collide with the
//! machine's.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// Addresses of pods, as kubeadm and Flannel choose them.
pub const POD_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// Addresses of Services, as kubeadm chooses them.
pub const SERVICE_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16);
/// Address of the node, which is the gateway of every pod.
pub const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Address of the cluster's DNS.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Domain of the cluster.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// Hands out the addresses of a range, each once.
#[derive(Debug)]
pub struct AddressPool {
    range: Ipv4Net,
    used: BTreeSet<Ipv4Addr>,
    next: u32,
}

/// Why an address cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The range has no free address.
    #[error("no address of {0} is free")]
    Exhausted(Ipv4Net),
    /// The address asked for is not of the range.
    #[error("{0} is not in {1}")]
    Outside(Ipv4Addr, Ipv4Net),
    /// The address asked for is taken.
    #[error("{0} is already taken")]
    Taken(Ipv4Addr),
}

// === impl AddressPool ===

impl AddressPool {
    /// A pool of `range` that starts `offset` addresses in and never gives out `reserved`.
    #[must_use]
    pub fn new(range: Ipv4Net, offset: u32, reserved: &[Ipv4Addr]) -> Self {
        Self {
            range,
            used: reserved.iter().copied().collect(),
            next: offset,
        }
    }

    /// The next free address.
    ///
    /// # Errors
    /// If the range has none.
    pub fn allocate(&mut self) -> Result<Ipv4Addr, AddressError> {
        let first = u32::from(self.range.network());
        let last = u32::from(self.range.broadcast());
        loop {
            let candidate = first.saturating_add(self.next);
            if candidate >= last {
                return Err(AddressError::Exhausted(self.range));
            }
            self.next += 1;
            let address = Ipv4Addr::from(candidate);
            if self.used.insert(address) {
                return Ok(address);
            }
        }
    }

    /// Takes the address a manifest asks for.
    ///
    /// # Errors
    /// If it is taken or not of the range.
    pub fn claim(&mut self, address: Ipv4Addr) -> Result<(), AddressError> {
        if !self.range.contains(&address) {
            return Err(AddressError::Outside(address, self.range));
        }
        if self.used.insert(address) {
            Ok(())
        } else {
            Err(AddressError::Taken(address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_given_once_and_reserved_ones_never() {
        let mut pool = AddressPool::new(POD_RANGE, 1, &[NODE]);
        assert_eq!(pool.allocate(), Ok(Ipv4Addr::new(10, 244, 0, 2)));
        assert_eq!(pool.claim(Ipv4Addr::new(10, 244, 0, 3)), Ok(()));
        assert_eq!(pool.allocate(), Ok(Ipv4Addr::new(10, 244, 0, 4)));
        assert_eq!(pool.claim(NODE), Err(AddressError::Taken(NODE)));
        let outside = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(
            pool.claim(outside),
            Err(AddressError::Outside(outside, POD_RANGE))
        );
    }

    #[test]
    fn an_exhausted_range_says_so() {
        let range = "192.0.2.0/30".parse().expect("range");
        let mut pool = AddressPool::new(range, 1, &[]);
        assert_eq!(pool.allocate(), Ok(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(pool.allocate(), Ok(Ipv4Addr::new(192, 0, 2, 2)));
        assert_eq!(pool.allocate(), Err(AddressError::Exhausted(range)));
    }
}
