//! [`Snapshot`]: all configuration in force, immutable, published as a whole.
//!
//! The control thread changes it (static resources at the start, then what ADS brings); workers
//! see each new one once and bring their own state in line with it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    config::{
        Cluster, Listener, LoadAssignment, RouteConfiguration, bootstrap::LocalCluster,
        dns::DnsCluster,
    },
    net::BoundListener,
    runtime::Runtime,
};

/// All configuration in force.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Rises with each change, so that who comes late with an older one is told apart.
    pub generation: u64,
    /// Listeners with sockets, by name.
    pub listeners: HashMap<String, Arc<BoundListener>>,
    /// Listeners without sockets, by the original destination they serve. An unspecified address
    /// (`0.0.0.0`, `::`) stands for every address of that port.
    pub destinations: HashMap<SocketAddr, Destination>,
    /// Clusters by name.
    pub clusters: HashMap<String, Arc<Cluster>>,
    /// Clusters that are in force once the first health checks of their hosts have ended.
    pub warming: HashMap<String, Arc<Cluster>>,
    /// Endpoints of EDS clusters, by the name they are asked for.
    pub endpoints: HashMap<String, Arc<LoadAssignment>>,
    /// Endpoints of clusters whose endpoints are names, by the cluster; of two while it is to be replaced by
    /// one with other names.
    pub resolved: HashMap<String, Vec<ResolvedNames>>,
    /// Listeners of the bootstrap wait for the first answers about names of its clusters.
    pub awaits_names: bool,
    /// Route configurations from RDS, by name.
    pub routes: HashMap<String, Arc<RouteConfiguration>>,
    /// The cluster of the proxies, where the bootstrap names one.
    pub local_cluster: Option<Arc<LocalCluster>>,
    /// Values that override the configuration.
    pub runtime: Arc<Runtime>,
    /// Listeners wait for the first health checks of clusters.
    pub is_initializing: bool,
    /// Whether somebody may answer a demand: the stream to the control plane is up, or is being
    /// set up for the first time. While it is false (no control plane configured, or known to be
    /// out of reach) an unknown destination is passed through at once rather than after
    /// [`crate::config::listener::OnDemand::timeout`]; the demand is still sent, so that the
    /// destination is there once the control plane is.
    pub discovery_available: bool,
}

/// What names of a cluster were found to be.
#[derive(Debug, Clone)]
pub struct ResolvedNames {
    /// The names, and how they were looked up.
    pub of: Arc<DnsCluster>,
    /// The endpoints.
    pub endpoints: Arc<LoadAssignment>,
}

/// What is known of an original destination.
#[derive(Debug, Clone)]
pub enum Destination {
    /// This listener serves it.
    Present(Arc<DestinationListener>),
    /// The control plane said that it knows no such destination.
    Absent,
}

/// A listener chosen by original destination. Each connection it serves holds it, so that a
/// strong count of one means unused.
#[derive(Debug)]
pub struct DestinationListener {
    /// Its configuration.
    pub listener: Arc<Listener>,
    /// Connections that were handed to it. Moves while it is used; discovery by need compares two
    /// readings to find what is idle.
    pub connections: AtomicU64,
}

/// Publishes snapshots to the workers.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<watch::Sender<Arc<Snapshot>>>);

// === impl Snapshot ===

impl Snapshot {
    /// Whether listeners of the bootstrap wait for what is to be known of its clusters first.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.is_initializing || self.awaits_names
    }

    /// What is known of `destination`: exactly, or by its port alone.
    #[must_use]
    pub fn destination(&self, destination: SocketAddr) -> Option<&Destination> {
        let any: IpAddr = match destination {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let by_port = || {
            self.destinations
                .get(&SocketAddr::new(any, destination.port()))
        };
        self.destinations.get(&destination).or_else(by_port)
    }
}

// === impl DestinationListener ===

impl DestinationListener {
    /// For a listener that came from the control plane or the bootstrap.
    #[must_use]
    pub fn new(listener: Arc<Listener>) -> Self {
        Self {
            listener,
            connections: AtomicU64::new(0),
        }
    }

    /// Counts a connection.
    pub fn touch(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}

// === impl Publisher ===

impl Publisher {
    /// Starts with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(snapshot))))
    }

    /// Changes the snapshot and publishes the result as one step.
    pub fn modify(&self, change: impl FnOnce(&mut Snapshot)) {
        self.0.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            snapshot.generation += 1;
            change(snapshot);
        });
    }

    /// The snapshot in force.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow())
    }

    /// Follows it.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }
}
