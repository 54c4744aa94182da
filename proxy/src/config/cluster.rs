//! Clusters.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    LoadAssignment,
    dns::DnsCluster,
    http::Http2Options,
    http_filter::HttpFilter,
    original_dst::OriginalDstLb,
    outlier_detection::OutlierDetection,
    tls::{TransportSocket, UpstreamTlsContext},
};

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
    /// How bytes leave to endpoints whose metadata says so. The first that matches counts.
    pub transport_socket_matches: Vec<TransportSocketMatch>,
    /// Bounds of what may be in flight.
    pub circuit_breakers: CircuitBreakers,
    /// Source addresses of connections, one a family (`upstream_bind_config`).
    pub bind_source: Vec<IpAddr>,
    /// Pooled connections are closed after this long without a request. Envoy's default is 1 h.
    pub idle_timeout: Option<Duration>,
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
    /// When health is taken for an error.
    pub panic: Panic,
    /// Whether hosts that fail more than others are ejected.
    pub outlier_detection: Option<OutlierDetection>,
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
    /// `ORIGINAL_DST`: the original destination of the connection.
    OriginalDst,
}

/// `Cluster.lb_policy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LbPolicy {
    /// Each in turn, by weight.
    RoundRobin,
    /// The one of two picked at random with fewer requests in flight.
    LeastRequest,
    /// Any, by weight.
    Random,
    /// The one that a hash of the client leads to, on a ring of all.
    RingHash(RingHash),
    /// The cluster type decides (`ORIGINAL_DST`).
    ClusterProvided,
}

/// `Cluster.RingHashLbConfig`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingHash {
    /// Points on the ring at least, rounded up so that each endpoint has whole ones.
    pub minimum_size: u32,
    /// Points at most.
    pub maximum_size: u32,
}

/// What chooses the endpoint where a cluster goes by a hash (`RouteAction.HashPolicy`,
/// `envoy.type.v3.HashPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashPolicy {
    /// The address that the connection comes from.
    SourceIp,
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
}

/// `CircuitBreakers.Thresholds` of the default priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreakers {
    /// Connections.
    pub max_connections: u32,
    /// Requests waiting for a connection.
    pub max_pending_requests: u32,
    /// Requests in flight.
    pub max_requests: u32,
    /// Retries in flight.
    pub max_retries: u32,
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

// === impl CircuitBreakers ===

impl Default for CircuitBreakers {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
        }
    }
}
