//! Clusters whose endpoints are names, and how names are looked up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::endpoint::{Endpoint, LoadAssignment};

/// `STRICT_DNS`, `LOGICAL_DNS`, `envoy.extensions.clusters.dns.v3.DnsCluster`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCluster {
    /// The localities, without their endpoints.
    pub localities: LoadAssignment,
    /// What is looked up.
    pub targets: Vec<DnsTarget>,
    /// Whether each address of a name is an endpoint, or all together are one.
    pub endpoints: DnsEndpoints,
    /// Which addresses are asked for.
    pub family: DnsLookupFamily,
    /// When names are looked up again.
    pub refresh: DnsRefresh,
    /// How names are looked up; none: as the bootstrap says.
    pub resolver: Option<Arc<DnsResolver>>,
}

/// A name in a load assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsTarget {
    /// What is looked up; an address stands for itself.
    pub name: Box<str>,
    /// Which of the localities it is in.
    pub locality: usize,
    /// What each of its endpoints is, but for the address: of that, only the port counts.
    pub endpoint: Endpoint,
}

/// What the addresses of a name are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsEndpoints {
    /// An endpoint each (`STRICT_DNS`).
    Each,
    /// One endpoint (`LOGICAL_DNS`, `all_addresses_in_single_endpoint`). A connection goes to the
    /// first that answers.
    Single,
}

/// `Cluster.DnsLookupFamily`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsLookupFamily {
    /// IPv6, or else IPv4.
    Auto,
    /// IPv4.
    V4Only,
    /// IPv6.
    V6Only,
    /// IPv4, or else IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// When a name is looked up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsRefresh {
    /// After an answer (`dns_refresh_rate`). Envoy's default is 5 s.
    pub rate: Duration,
    /// After a failure (`dns_failure_refresh_rate`); none: as after an answer.
    pub failure: Option<DnsBackoff>,
    /// So much later at most, at random (`dns_jitter`).
    pub jitter: Duration,
    /// After the time that the answer says of itself, if it says any (`respect_dns_ttl`).
    pub respects_ttl: bool,
    /// That time is at least so long (`dns_min_refresh_rate`).
    pub minimum: Duration,
}

/// `Cluster.RefreshRate`: exponential, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsBackoff {
    /// Of the first.
    pub base: Duration,
    /// At most.
    pub maximum: Duration,
}

/// How names are looked up: `CaresDnsResolverConfig` or `GetAddrInfoDnsResolverConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsResolver {
    /// Servers that are asked; none: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// `servers` count only where /etc/resolv.conf names none (`use_resolvers_as_fallback`).
    pub is_fallback: bool,
    /// Over TCP alone (`use_tcp_for_dns_lookups`).
    pub tcp: bool,
    /// Search domains of /etc/resolv.conf are not tried (`no_default_search_domain`).
    pub no_search: bool,
    /// How long a server has to answer at first; each round doubles it. Envoy's default is 5 s.
    pub timeout: Duration,
    /// How often all servers are asked. Envoy's default is 4.
    pub tries: u32,
    /// Each lookup begins with another server (`rotate_nameservers`).
    pub rotates: bool,
    /// Bytes that an answer over UDP may have (`edns0_max_payload_size`).
    pub max_payload: u16,
    /// What each answer is taken to say of its life; none: what it says (getaddrinfo says nothing, and
    /// Envoy takes that for 60 s).
    pub fixed_ttl: Option<Duration>,
}

// === impl DnsTarget ===

impl DnsTarget {
    /// `name:port`
    #[must_use]
    pub fn authority(&self) -> String {
        let port = self.endpoint.address.port();
        match self.name.contains(':') {
            true => format!("[{}]:{port}", self.name),
            false => format!("{}:{port}", self.name),
        }
    }
}

// === impl DnsRefresh ===

impl Default for DnsRefresh {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            rate: Duration::from_secs(5),
            failure: None,
            jitter: Duration::ZERO,
            respects_ttl: false,
            minimum: Duration::ZERO,
        }
    }
}

// === impl DnsResolver ===

impl Default for DnsResolver {
    /// Envoy's defaults for c-ares.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            is_fallback: false,
            tcp: false,
            no_search: false,
            timeout: Duration::from_secs(5),
            tries: 4,
            rotates: false,
            max_payload: 1232,
            fixed_ttl: None,
        }
    }
}
