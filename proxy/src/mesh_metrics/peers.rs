//! Who is behind the addresses that connections come from.
//!
//! The control plane knows, and is asked by need: the first connection from an address sends a demand,
//! and the answer, a load assignment of one endpoint, comes with a snapshot.

use std::{cell::RefCell, net::IpAddr, sync::Arc};

use hashbrown::HashMap;
use weir_api::{names, workload::Workload};

use crate::{
    demand::{Demand, DemandSender},
    snapshot::Snapshot,
};

/// Addresses that a worker remembers.
const MAX_PEERS: usize = 4096;
/// Ticks after which an address that is in use is asked for again, so that it is not forgotten.
const RENEWAL: i64 = 6;

/// What is known of addresses.
pub(super) struct Peers {
    demands: DemandSender,
    snapshot: RefCell<Arc<Snapshot>>,
    known: RefCell<HashMap<IpAddr, Peer>>,
}

struct Peer {
    workload: Option<Arc<Workload>>,
    /// Ticks when it was first seen, and asked for last.
    since: i64,
    asked: i64,
}

/// Who is behind an address.
pub(super) enum Who {
    Known(Arc<Workload>),
    /// Nobody that the control plane has told of.
    Nobody,
    /// It was asked for just now.
    Asked,
}

// === impl Peers ===

impl Peers {
    pub(super) fn new(snapshot: &Arc<Snapshot>, demands: DemandSender) -> Self {
        Self {
            demands,
            snapshot: RefCell::new(Arc::clone(snapshot)),
            known: RefCell::default(),
        }
    }

    /// Who is behind an address, at this tick.
    pub(super) fn who(&self, address: IpAddr, now: i64) -> Who {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_PEERS && !known.contains_key(&address) {
            known.clear();
        }
        let peer = known.entry(address).or_insert_with(|| Peer {
            workload: find(&self.snapshot.borrow(), address),
            since: now,
            asked: now - RENEWAL,
        });
        if now - peer.asked >= RENEWAL {
            peer.asked = now;
            // A full queue is a burst of others; the next connection asks again.
            let _ = self.demands.try_send(Demand::Workload(address));
        }
        match &peer.workload {
            Some(workload) => Who::Known(Arc::clone(workload)),
            None if now == peer.since && self.snapshot.borrow().discovery_available => Who::Asked,
            None => Who::Nobody,
        }
    }

    /// Takes in what a new snapshot says.
    pub(super) fn apply(&self, snapshot: &Arc<Snapshot>) {
        *self.snapshot.borrow_mut() = Arc::clone(snapshot);
        for (address, peer) in self.known.borrow_mut().iter_mut() {
            peer.workload = find(snapshot, *address);
        }
    }

    /// Forgets those that nobody has asked for in a while.
    pub(super) fn age(&self, now: i64) {
        let mut known = self.known.borrow_mut();
        known.retain(|_, peer| now - peer.asked < 4 * RENEWAL);
    }
}

fn find(snapshot: &Snapshot, address: IpAddr) -> Option<Arc<Workload>> {
    let assignment = snapshot.endpoints.get(&names::workload(address))?;
    assignment.endpoints().next()?.workload.clone()
}
