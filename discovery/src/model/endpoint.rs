//! Endpoints: as slices declare them, and as resolved for one port of a service.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Labels, NamespacedName, Pod, Told};

/// A part of the endpoints of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Name of the slice.
    pub name: NamespacedName,
    /// The service it belongs to.
    pub service: NamespacedName,
    /// Ports every endpoint of the slice listens on.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// A port of the endpoints of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name of the service port it stands for.
    pub name: String,
    /// The number the endpoints listen on.
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its address.
    pub address: IpAddr,
    /// Whether it takes traffic.
    pub readiness: Readiness,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// Where that is, as far as the slice says. The node's own locality counts for more.
    pub locality: Arc<Locality>,
    /// For whom it is meant.
    pub hints: Arc<Hints>,
    /// The pod behind it. Endpoints outside the cluster have none and are as good as any.
    pub pod: Option<NamespacedName>,
}

/// Whether an endpoint takes traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It is going away and still serves: used only while no endpoint of the port is ready, as
    /// kube-proxy does.
    Draining,
    /// It does not.
    NotReady,
}

/// Region, zone and sub-zone, each empty where unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// The region.
    pub region: Arc<str>,
    /// The zone within the region.
    pub zone: Arc<str>,
    /// The part of the zone.
    pub sub_zone: Arc<str>,
}

/// Whose clients an endpoint is meant for, by the controller that spreads traffic. Empty means that
/// it did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hints {
    /// Clients in these zones.
    pub zones: Vec<Arc<str>>,
    /// Clients on these nodes.
    pub nodes: Vec<Arc<str>>,
}

/// An endpoint of one port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it takes traffic.
    pub readiness: Readiness,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// Where that is: the locality of its node, else the zone its slice gives.
    pub locality: Arc<Locality>,
    /// For whom it is meant.
    pub hints: Arc<Hints>,
    /// The pod behind it.
    pub pod: Option<Arc<Pod>>,
    /// Whether clients of the mesh speak mutual TLS with it: its sidecar can, and no rule says that
    /// it does not.
    pub mutual_tls: bool,
    /// What is said of it otherwise, if anything is.
    pub told: Option<Arc<Told>>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Its part of the traffic.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.told.as_ref().map_or(1, |told| told.weight)
    }

    /// Whether it, or the pod behind it, has all these labels.
    #[must_use]
    pub fn has(&self, labels: &Labels) -> bool {
        let told = self.told.as_ref().map(|told| &told.labels);
        let of_pod = self.pod.as_ref().map(|pod| &pod.labels).or(told);
        let mut asked = labels.iter();
        asked.all(|(key, value)| of_pod.and_then(|it| it.get(key)) == Some(value))
    }
}
