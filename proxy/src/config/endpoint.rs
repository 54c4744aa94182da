//! Endpoints of a cluster.

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Map, Value};
use weir_api::workload::Workload;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadAssignment {
    /// The cluster, or the cluster's `eds_cluster_config.service_name`.
    pub cluster_name: String,
    /// Groups of endpoints.
    pub localities: Vec<LocalityEndpoints>,
    /// How their health decides among priorities.
    pub policy: Policy,
}

/// `ClusterLoadAssignment.Policy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Percent. A priority takes all traffic while its healthy endpoints, so many times, are as many as
    /// it has.
    pub overprovisioning_factor: u32,
    /// Endpoints count by their weight.
    pub weighted_priority_health: bool,
}

/// `LocalityLbEndpoints`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalityEndpoints {
    /// Region, as in topology.kubernetes.io/region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Part of a zone.
    pub sub_zone: String,
    /// 0 is used first.
    pub priority: u32,
    /// Share of the locality; matters with locality-weighted load balancing only.
    pub weight: u32,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// `LbEndpoint`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Used for `auto_host_rewrite`; may be empty.
    pub hostname: String,
    /// What discovery says.
    pub health: HealthStatus,
    /// Share of traffic; 1 by default.
    pub weight: u32,
    /// What stands for it on a hash ring; its address by default (`hash_key` in its metadata
    /// `envoy.lb`).
    pub hash_key: Option<Box<str>>,
    /// It stands in where nobody knows an endpoint, and may lead nowhere (see
    /// [`weir_api::xds::LAST_RESORT`]).
    pub last_resort: bool,
    /// One of our sidecars stands before it ([`weir_api::xds::peer`]).
    pub sidecar: bool,
    /// Who is behind it ([`weir_api::workload`]).
    pub workload: Option<Arc<Workload>>,
    /// Where it is, too: all of its addresses, `address` the first of them. A connection goes to whichever
    /// answers (`LOGICAL_DNS`).
    pub addresses: Option<Arc<[SocketAddr]>>,
    /// What chooses among the transport sockets of its cluster (`envoy.transport_socket_match` in
    /// its metadata, or else in that of its locality).
    pub transport_socket_match: Option<Arc<Map<String, Value>>>,
}

/// `envoy.config.core.v3.HealthStatus`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// Gets traffic (UNKNOWN and HEALTHY).
    Healthy,
    /// Gets what healthy ones leave.
    Degraded,
    /// Gets traffic in panic only (UNHEALTHY, TIMEOUT).
    Unhealthy,
    /// Gets traffic in panic only, and counts neither as healthy nor as missing.
    Draining,
}

// === impl Endpoint ===

impl Endpoint {
    /// A healthy one of which no more than its address is known.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            hostname: String::new(),
            health: HealthStatus::Healthy,
            weight: 1,
            hash_key: None,
            last_resort: false,
            sidecar: false,
            workload: None,
            addresses: None,
            transport_socket_match: None,
        }
    }
}

// === impl Policy ===

impl Default for Policy {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            overprovisioning_factor: 140,
            weighted_priority_health: false,
        }
    }
}

// === impl LoadAssignment ===

impl LoadAssignment {
    /// All endpoints, whatever their locality.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.localities
            .iter()
            .flat_map(|locality| &locality.endpoints)
    }
}
