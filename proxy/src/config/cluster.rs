//! Clusters.

use crate::buffer::BufferLimit;
use std::{net::IpAddr, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    LoadAssignment,
    circuit_breakers::CircuitBreakers,
    dns::DnsCluster,
    dns_cache::ForwardProxy,
    health_check::HealthCheck,
    http::Http2Options,
    http_filter::HttpFilter,
    load_balancing::LoadBalancing,
    original_dst::OriginalDstLb,
    outlier_detection::OutlierDetection,
    proxy_protocol::ProxyProtocol,
    tls::{TransportSocket, UpstreamTlsContext},
};

pub use super::load_balancing::LbPolicy;

/// `envoy.config.cluster.v3.Cluster`
#[derive(Debug)]
pub struct Cluster {
    /// Unique name.
    pub name: String,
    /// Part of stat names, `cluster.<stat_name>.`: `alt_stat_name`, else the name.
    pub stat_name: String,
    /// Where its endpoints come from.
    pub discovery: ClusterDiscovery,
    /// Where it leads, if not where a client meant to go; only of `ORIGINAL_DST`.
    pub original_dst: Option<Box<OriginalDstLb>>,
    /// Bound of one dial. Envoy's default is 5 s.
    pub connect_timeout: Duration,
    /// How an endpoint is picked.
    pub lb_policy: LbPolicy,
    /// What is spoken with the endpoints.
    pub protocol: UpstreamProtocol,
    /// How bytes leave.
    pub transport_socket: TransportSocket<UpstreamTlsContext>,
    /// What goes before all bytes that leave.
    pub proxy_protocol: Option<Arc<ProxyProtocol>>,
    /// How bytes leave to endpoints whose metadata says so. The first that matches counts.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// Bounds of what may be in flight.
    pub circuit_breakers: CircuitBreakers,
    /// How much connections to its endpoints may hold.
    pub buffer_limit: BufferLimit,
    /// Source addresses of connections, one a family (`upstream_bind_config`).
    pub bind_source: Vec<IpAddr>,
    /// Pooled connections are closed after this long without a request. Envoy's default is 1 h.
    pub idle_timeout: Option<Duration>,
    /// Age at which a connection takes no further request; none: any.
    pub max_connection_duration: Option<Duration>,
    /// Requests a connection may carry; none: any number.
    pub max_requests_per_connection: Option<u32>,
    /// Kernel keepalive of upstream connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// HTTP/2 settings towards endpoints.
    pub http2: Http2Options,
    /// HTTP filters of each attempt; none: those of the router.
    pub http_filters: Option<Arc<[HttpFilter]>>,
    /// SNI goes by each request.
    pub auto_sni: Option<AutoSni>,
    /// What else decides who is picked.
    pub load_balancing: LoadBalancing,
    /// When health is taken for an error.
    pub panic: Panic,
    /// Whether hosts that fail more than others are ejected.
    pub outlier_detection: Option<OutlierDetection>,
    /// What is asked of hosts time and again; none: nothing.
    pub health_check: Option<HealthCheck>,
    /// What else follows from the health of hosts, and from their coming and going.
    pub host_changes: HostChanges,
}

/// What follows from the health of hosts, and from their coming and going.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostChanges {
    /// A host that discovery has taken away goes at once, though its checks succeed
    /// (`ignore_health_on_host_removal`).
    pub ignore_health_on_removal: bool,
    /// Connections that carry bytes of a host are closed when its checks fail
    /// (`close_connections_on_host_health_failure`).
    pub close_on_health_failure: bool,
    /// All pooled connections are closed when hosts come or go
    /// (`common_lb_config.close_connections_on_host_set_change`).
    pub close_on_set_change: bool,
    /// Hosts count neither way before their first check
    /// (`common_lb_config.ignore_new_hosts_until_first_hc`).
    pub ignore_new_until_checked: bool,
}

/// What becomes of traffic where few hosts are healthy (`Cluster.CommonLbConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panic {
    /// With fewer percent of its hosts available, a priority is in panic; 0: never
    /// (`healthy_panic_threshold`).
    pub threshold: u32,
    /// Then no host gets anything, in place of each (`fail_traffic_on_panic`).
    pub fails_traffic: bool,
}

/// `UpstreamHttpProtocolOptions` with `auto_sni`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoSni {
    /// The header that has the name, lower case; none: the authority.
    pub header: Option<String>,
    /// The endpoint's certificate must be of that name (`auto_san_validation`).
    pub validates_san: bool,
}

/// `Cluster.TransportSocketMatch`
#[derive(Debug)]
pub struct TransportSocketMatch {
    /// For people.
    pub name: String,
    /// What an endpoint's metadata must have. Nothing matches all.
    pub criteria: Map<String, Value>,
    /// How bytes leave then.
    pub transport_socket: TransportSocket<UpstreamTlsContext>,
    /// What goes before all of them.
    pub proxy_protocol: Option<Arc<ProxyProtocol>>,
}

/// Where endpoints come from (`Cluster.type`).
#[derive(Debug, Clone)]
pub enum ClusterDiscovery {
    /// `STATIC`: within the message.
    Static(Arc<LoadAssignment>),
    /// `EDS` over ADS: the name of the ClusterLoadAssignment.
    Eds(String),
    /// `STRICT_DNS`, `LOGICAL_DNS`: names, which the control thread looks up.
    Dns(Arc<DnsCluster>),
    /// `envoy.clusters.aggregate`: those of other clusters, by their names, in order.
    Aggregate(Arc<[String]>),
    /// `envoy.clusters.dynamic_forward_proxy`: the name that a request or a connection asks for.
    ForwardProxy(Arc<ForwardProxy>),
    /// `ORIGINAL_DST`: the original destination of the connection.
    OriginalDst,
}

/// `Cluster.RingHashLbConfig`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingHash {
    /// Points on the ring at least, rounded up so that each endpoint has whole ones.
    pub minimum_size: u32,
    /// Points at most.
    pub maximum_size: u32,
    /// What points are made with.
    pub function: HashFunction,
}

/// `RingHashLbConfig.HashFunction`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFunction {
    /// `XX_HASH`
    XxHash,
    /// `MURMUR_HASH_2`
    MurmurHash2,
}

/// What is spoken with endpoints (`HttpProtocolOptions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// What the client spoke.
    UseDownstream,
    /// What ALPN decides of each connection: HTTP/2, or else HTTP/1.1 (`auto_config`).
    Auto,
}

/// `envoy.config.core.v3.TcpKeepalive`; what is absent is the kernel's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Probes without an answer before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Between probes.
    pub interval: Option<Duration>,
}

// === impl Cluster ===

impl Cluster {
    /// How names that requests bring are looked up, where they are its hosts.
    #[must_use]
    pub fn forward_proxy(&self) -> Option<&Arc<ForwardProxy>> {
        match &self.discovery {
            ClusterDiscovery::ForwardProxy(forward_proxy) => Some(forward_proxy),
            _ => None,
        }
    }

    /// The port of a name that has none of its own, where requests bring names.
    #[must_use]
    pub fn default_port(&self) -> u16 {
        match self.transport_socket {
            TransportSocket::Tls(_) => 443,
            TransportSocket::RawBuffer => 80,
        }
    }

    /// Contexts of TLS, of all its transport sockets.
    pub fn tls_contexts(&self) -> impl Iterator<Item = &Arc<UpstreamTlsContext>> {
        let others = self.transport_socket_matches.iter();
        let sockets = others.map(|other| &other.transport_socket);
        let contexts = sockets.chain([&self.transport_socket]);
        contexts.filter_map(|socket| match socket {
            TransportSocket::Tls(context) => Some(context),
            TransportSocket::RawBuffer => None,
        })
    }
}

// === impl TransportSocketMatch ===

impl TransportSocketMatch {
    /// Whether an endpoint says of itself what is wanted.
    #[must_use]
    pub fn matches(&self, said: Option<&Map<String, Value>>) -> bool {
        let says =
            |(key, wanted): (&String, &Value)| said.and_then(|said| said.get(key)) == Some(wanted);
        self.criteria.iter().all(says)
    }
}

// === impl RingHash ===

impl RingHash {
    /// Envoy's bound of either size.
    pub const MAXIMUM: u32 = 8 << 20;
}

impl Default for RingHash {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            minimum_size: 1024,
            maximum_size: Self::MAXIMUM,
            function: HashFunction::XxHash,
        }
    }
}

// === impl Panic ===

impl Default for Panic {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            threshold: 50,
            fails_traffic: false,
        }
    }
}
