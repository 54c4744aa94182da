//! Addresses whose workload metrics asked for.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use weir_api::names;

use super::{Kind, State};
use crate::xds::resource::Reference;

/// Addresses that are remembered at a time: far more than clients of a pod at a time.
const MAX_WORKLOADS: usize = 4096;
/// How long one is remembered that nobody asks for again, as those do whose connections come from it.
const IDLE: Duration = Duration::from_secs(300);

/// Addresses, and when somebody last asked.
#[derive(Debug, Default)]
pub(super) struct Workloads(BTreeMap<IpAddr, Instant>);

// === impl Workloads ===

impl Workloads {
    /// What they are asked for by.
    pub(super) fn references(&self) -> impl Iterator<Item = Reference> {
        let addresses = self.0.keys();
        addresses.map(|address| (Kind::Endpoint, names::workload(*address)))
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let since = |then: Instant| now.saturating_duration_since(then);
        self.0.retain(|_, asked| since(*asked) < IDLE);
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        Some(*self.0.values().min()? + IDLE)
    }
}

// === impl State ===

impl State {
    /// Somebody asks whose an address is. False if there is no room to remember it.
    pub(in crate::xds) fn demand_workload(&mut self, address: IpAddr, now: Instant) -> bool {
        let known = &mut self.workloads.0;
        let has_room = known.len() < MAX_WORKLOADS || known.contains_key(&address);
        if has_room {
            known.insert(address, now);
        }
        has_room
    }
}
