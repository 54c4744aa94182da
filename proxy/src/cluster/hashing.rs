//! Hashes of clients and hosts, and the tables that lead from one to the other. Hashes are Envoy's, so
//! both choose alike.

mod bounds;
mod maglev;
mod ring;

use std::{io::Write as _, net::IpAddr, rc::Rc};

use twox_hash::XxHash64;

use self::{bounds::Bounds, maglev::Table, ring::Ring};
use super::Host;
use crate::config::{
    self,
    cluster::{HashPolicy, LbPolicy},
};

/// Longest text of an IPv6 address, with a scope.
const ADDRESS: usize = 64;
/// How often the table is asked for another host before all hosts are looked through.
const OTHERS: u32 = 64;

/// Hosts, and which of them a hash leads to.
pub(super) struct Hashed {
    table: Lookup,
    bounds: Option<Box<Bounds>>,
}

enum Lookup {
    Ring(Ring),
    Maglev(Table),
}

/// What stands for a host, and its share of all hashes.
pub(super) struct Keyed {
    key: Box<str>,
    share: f64,
}

/// The hash of a client, if the policies give one.
pub(crate) fn hash_of(policies: &[HashPolicy], source: IpAddr) -> Option<u64> {
    policies.iter().fold(None, |before: Option<u64>, policy| {
        let HashPolicy::SourceIp = policy;
        let hash = hash_of_address(source);
        // As Envoy: of two that are equal something remains.
        Some(before.map_or(hash, |before| before.rotate_left(1) ^ hash))
    })
}

/// Of the address as people write it, without a port.
fn hash_of_address(address: IpAddr) -> u64 {
    let mut text = [0; ADDRESS];
    let mut rest = &mut text[..];
    // No address is longer than there is room for.
    let _ = write!(rest, "{}", address.to_canonical());
    let length = ADDRESS - rest.len();
    XxHash64::oneshot(0, &text[..length])
}

// === impl Keyed ===

impl Keyed {
    /// `by_hostname`: its name stands for it rather than its address, where it has no key of its own.
    pub(super) fn new(host: &Host, by_hostname: bool, share: f64) -> Self {
        let key = match &host.hash_key {
            Some(own) => own.clone(),
            None if by_hostname => host.hostname.as_str().into(),
            None => host.address.to_string().into(),
        };
        Self { key, share }
    }
}

// === impl Hashed ===

impl Hashed {
    /// None where the policy goes by no hash. The shares of `hosts` add up to 1.
    pub(super) fn new(hosts: &[Keyed], config: &config::Cluster) -> Option<Self> {
        let table = match config.lb_policy {
            LbPolicy::RingHash(settings) => Lookup::Ring(Ring::new(hosts, settings)),
            LbPolicy::Maglev(settings) => Lookup::Maglev(Table::new(hosts, settings)),
            _ => return None,
        };
        let factor = config.load_balancing.consistent_hashing.balance_factor;
        let bounds = factor.map(|factor| {
            let shares = hosts.iter().map(|host| host.share);
            Box::new(Bounds::new(shares, factor))
        });
        Some(Self { table, bounds })
    }

    /// The index of the host that `hash` leads to. `in_flight`: requests of the cluster; `attempt`:
    /// 0, or how many hosts were refused before.
    pub(super) fn pick(
        &self,
        hosts: &[Rc<Host>],
        (hash, attempt): (u64, u32),
        in_flight: u32,
    ) -> Option<usize> {
        let index = self.table.pick(hash, attempt)?;
        match &self.bounds {
            None => Some(index),
            Some(bounds) => Some(bounds.relieve(hosts, (index, hash), in_flight)),
        }
    }

    /// Another host than `first` that is good.
    pub(super) fn other(&self, hash: u64, is_good: impl Fn(usize) -> bool) -> Option<usize> {
        let mut others = (1..OTHERS).map_while(|attempt| self.table.pick(hash, attempt));
        others.find(|index| is_good(*index))
    }
}

// === impl Lookup ===

impl Lookup {
    fn pick(&self, hash: u64, attempt: u32) -> Option<usize> {
        match self {
            Self::Ring(ring) => ring.pick(hash, attempt),
            Self::Maglev(table) => table.pick(hash, attempt),
        }
    }
}

#[cfg(test)]
mod tests;
