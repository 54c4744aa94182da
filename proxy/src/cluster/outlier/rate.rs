//! Success rates of an interval.

use std::net::SocketAddr;

use crate::config::outlier_detection::Volume;

/// Of the hosts of a cluster together, percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) average: f64,
    /// Hosts below it are ejected.
    pub(crate) ejection_threshold: f64,
}

/// What one host did in an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    pub(super) address: SocketAddr,
    pub(super) requests: u64,
    /// Percent.
    pub(super) success_rate: f64,
}

// === impl Rate ===

impl Rate {
    /// Of hosts that did enough, at least one. `factor`: how many standard deviations below the
    /// mean a host may be.
    pub(super) fn of(seen: &[Seen], factor: f64) -> Self {
        let rates = || seen.iter().map(|one| one.success_rate);
        let count = seen.len() as f64;
        let average = rates().sum::<f64>() / count;
        let variance = rates().map(|rate| (rate - average).powi(2)).sum::<f64>() / count;
        Self {
            average,
            ejection_threshold: average - factor * variance.sqrt(),
        }
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(address: SocketAddr, (requests, succeeded): (u64, u64)) -> Self {
        Self {
            address,
            requests,
            success_rate: succeeded as f64 * 100.0 / requests as f64,
        }
    }
}

// === impl Volume ===

impl Volume {
    /// Whether so many hosts are enough to say something.
    pub(super) fn has_hosts(&self, hosts: usize) -> bool {
        u64::from(self.minimum_hosts) <= hosts as u64
    }
}
