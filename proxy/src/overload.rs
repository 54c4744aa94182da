//! What is done while memory or connections are too many: the state that workers read, and (`manager`)
//! the task of the control thread that measures and sets it.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/overload_manager/overload_manager>

mod manager;
mod pressure;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

pub(crate) use manager::keep;

use crate::config::overload::{ActionKind, OverloadManager};

/// An action that is taken always.
const ALWAYS: u32 = u32::MAX;
/// What probes may do beside the rest, each time that resources are measured: of a pod with many ports,
/// each of which is probed.
const SPARED: u32 = 64;

/// How far each action is taken, and how many connections there are. Written by the control thread but
/// for connections, read by the workers without a lock.
#[derive(Debug)]
pub(crate) struct Overload {
    extents: [AtomicU32; ActionKind::ALL.len()],
    connections: AtomicU64,
    max_connections: u64,
    /// Where probes come from.
    probes: Vec<IpAddr>,
    spared: AtomicU32,
    /// Connections that were refused because there are too many.
    refused: AtomicU64,
}

/// A connection among those that are counted.
#[derive(Debug)]
pub(crate) struct Place(Arc<Overload>);

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are as many as there may be.
    TooMany,
    /// [`ActionKind::RejectIncomingConnections`]
    Rejected,
}

// === impl Overload ===

impl Overload {
    /// Nothing is done yet. `probes`: where those come from that get through, up to a bound.
    pub(crate) fn new(config: &OverloadManager, probes: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self {
            extents: Default::default(),
            connections: AtomicU64::new(0),
            max_connections: config.max_active_downstream_connections.unwrap_or(u64::MAX),
            probes,
            spared: AtomicU32::new(SPARED),
            refused: AtomicU64::new(0),
        })
    }

    /// Whether an action is taken now, for somebody at `peer`. `random` decides where it is taken in part.
    pub(crate) fn takes(
        &self,
        action: ActionKind,
        random: impl FnOnce() -> u64,
        peer: IpAddr,
    ) -> bool {
        match self.extents[action as usize].load(Ordering::Relaxed) {
            0 => false,
            extent if extent != ALWAYS && random() as u32 >= extent => false,
            _ => !self.spares(peer),
        }
    }

    /// Whether no connection is accepted at all.
    pub(crate) fn stops_accepting(&self, random: u64) -> bool {
        let extent = &self.extents[ActionKind::StopAcceptingConnections as usize];
        match extent.load(Ordering::Relaxed) {
            ALWAYS => true,
            extent => (random as u32) < extent,
        }
    }

    /// Takes in a connection from `peer`.
    pub(crate) fn admit(self: &Arc<Self>, random: u64, peer: IpAddr) -> Result<Place, Refusal> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        // Gives its place back where it does not stay.
        let place = Place(Arc::clone(self));
        if before >= self.max_connections && !self.spares(peer) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::TooMany);
        }
        match self.takes(ActionKind::RejectIncomingConnections, || random, peer) {
            true => Err(Refusal::Rejected),
            false => Ok(place),
        }
    }

    /// Whether somebody gets through who would not. Only asked for those who would not, which are rare.
    fn spares(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let one_less = |left: u32| left.checked_sub(1);
        self.probes.contains(&peer)
            && self
                .spared
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
    }

    /// An action is taken as far as that, from 0 to 1.
    fn set(&self, action: ActionKind, extent: f64) {
        let extent = match extent {
            extent if extent >= 1.0 => ALWAYS,
            // Below `ALWAYS`, as the extent is below 1.
            extent => (extent * f64::from(ALWAYS)) as u32,
        };
        self.extents[action as usize].store(extent, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn overload(most: Option<u64>) -> Arc<Overload> {
        let config = OverloadManager {
            refresh_interval: Duration::from_secs(1),
            monitors: Vec::new(),
            max_active_downstream_connections: most,
            actions: Vec::new(),
        };
        Overload::new(&config, vec![NODE])
    }

    #[test]
    fn actions_are_taken_by_degrees_and_not_of_probes() {
        let overload = overload(None);
        let action = ActionKind::StopAcceptingRequests;
        assert!(!overload.takes(action, || 0, CLIENT));
        overload.set(action, 0.5);
        assert!(overload.takes(action, || 0, CLIENT));
        assert!(!overload.takes(action, || u64::from(u32::MAX), CLIENT));
        overload.set(action, 1.0);
        assert!(overload.takes(action, || u64::from(u32::MAX), CLIENT));
        let refused = (0..2 * SPARED).filter(|_| overload.takes(action, || 0, NODE));
        assert_eq!(
            refused.count(),
            SPARED as usize,
            "not of any number of them"
        );
    }

    #[test]
    fn connections_have_places_and_probes_one_more() {
        let overload = overload(Some(2));
        let mut places: Vec<_> = (0..2).map(|_| overload.admit(0, CLIENT)).collect();
        assert!(places.iter().all(Result::is_ok));
        assert_eq!(overload.admit(0, CLIENT).err(), Some(Refusal::TooMany));
        assert!(overload.admit(0, NODE).is_ok());
        places.pop();
        assert!(overload.admit(0, CLIENT).is_ok());
        overload.set(ActionKind::RejectIncomingConnections, 1.0);
        assert_eq!(overload.admit(0, CLIENT).err(), Some(Refusal::Rejected));
    }
}
