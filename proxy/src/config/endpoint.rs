//! Endpoints of a cluster.

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Map, Value};
use weir_api::workload::Workload;

use crate::runtime::FractionalPercent;

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
    /// The share of requests that are refused at once (`drop_overloads`).
    pub drop_overload: Option<FractionalPercent>,
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
    /// Share of the locality, 0 if nothing is said; matters with locality-weighted load balancing only.
    pub weight: u32,
    /// The endpoints, each shared with the workers that know it.
    pub endpoints: Vec<Arc<Endpoint>>,
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
    /// What balancers look at in its metadata ([`super::subset::LB_METADATA`]).
    pub lb_metadata: Option<Arc<Map<String, Value>>>,
    /// How it is checked, where that is not as its address says.
    pub health_check: Option<Box<HealthCheckConfig>>,
}

/// `envoy.config.core.v3.Locality`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locality {
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Part of a zone.
    pub sub_zone: String,
}

/// `Endpoint.HealthCheckConfig`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthCheckConfig {
    /// Where checks go; none: to the endpoint (`address`, `port_value`).
    pub address: Option<SocketAddr>,
    /// The name that checks ask for; empty: what the check says.
    pub hostname: String,
    /// It is not checked.
    pub disable_active_health_check: bool,
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
            lb_metadata: None,
            health_check: None,
        }
    }

    /// Whether its metadata calls it a canary.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        let metadata = self.lb_metadata.as_ref();
        metadata.is_some_and(|all| all.get("canary") == Some(&Value::Bool(true)))
    }
}

// === impl Policy ===

impl Default for Policy {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            overprovisioning_factor: 140,
            weighted_priority_health: false,
            drop_overload: None,
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
            .map(AsRef::as_ref)
    }
}
