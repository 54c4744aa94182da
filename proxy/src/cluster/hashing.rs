//! Tables that lead from the hash of a client to a host. They are Envoy's, so both choose alike.

mod bounds;
mod maglev;
mod ring;

use std::rc::Rc;

use self::{bounds::Bounds, maglev::Table, ring::Ring};
use super::Host;
use crate::config::{self, cluster::LbPolicy};

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
