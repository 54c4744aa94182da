//! Names that requests bring, and for how long they are known.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::dns::{DnsBackoff, DnsLookupFamily, DnsResolver};

/// `envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCacheConfig {
    /// By which clusters and filters share it, and part of stat names: `dns_cache.<name>.`
    pub name: String,
    /// Which addresses are asked for.
    pub family: DnsLookupFamily,
    /// How long after a failure a name is looked up again, if `failure` does not say it
    /// (`dns_refresh_rate`). Envoy's default is 60 s.
    pub refresh_rate: Duration,
    /// An answer is good for at least so long (`dns_min_refresh_rate`). Envoy's default is 5 s.
    pub min_refresh_rate: Duration,
    /// How long after failures a name is looked up again (`dns_failure_refresh_rate`).
    pub failure: Option<DnsBackoff>,
    /// A name that fails is looked up again by the next request, and not before
    /// (`disable_dns_refresh_on_failure`).
    pub forgets_failures: bool,
    /// A name that was not used for so long is forgotten. Envoy's default is 5 min.
    pub host_ttl: Duration,
    /// Names that are known at a time. Envoy's default is 1024.
    pub max_hosts: u32,
    /// Requests that wait for a name at a time (`dns_cache_circuit_breaker`). Envoy's default is
    /// 1024.
    pub max_pending_requests: u32,
    /// Names that are known from the start, with their ports (`preresolve_hostnames`).
    pub preresolve: Vec<(Box<str>, u16)>,
    /// How long a lookup may take; none: as long as the resolver takes. Envoy's default is 5 s.
    pub query_timeout: Option<Duration>,
    /// How names are looked up; none: as the bootstrap says.
    pub resolver: Option<Arc<DnsResolver>>,
    /// Addresses that count as none (`resolved_address_filter`).
    pub filter: Option<AddressFilter>,
}

/// `envoy.type.matcher.v3.AddressMatcher`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFilter {
    /// Addresses that match.
    pub ranges: Vec<IpNet>,
    /// All others match instead (`invert_match`).
    pub inverts: bool,
}

/// `envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardProxy {
    /// Where its hosts are looked up.
    pub cache: Arc<DnsCacheConfig>,
    /// TLS need not check that an endpoint is who the request asks for
    /// (`allow_insecure_cluster_options`).
    pub allows_insecure: bool,
}

// === impl AddressFilter ===

impl AddressFilter {
    /// Whether an address counts as none.
    #[must_use]
    pub fn matches(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(&address)) != self.inverts
    }
}
