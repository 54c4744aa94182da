//! How callers connect to a service.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What is said of all ports of a service, and of single ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortPolicies {
    /// Of all.
    pub all: TrafficPolicy,
    /// Of single ports of the service, which take over nothing of what is said of all.
    pub ports: BTreeMap<u16, TrafficPolicy>,
}

/// How callers connect. What is not said is as without a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficPolicy {
    /// Which endpoint.
    pub balancing: Option<Balancing>,
    /// How many connections and requests, and for how long.
    pub pool: Option<Arc<ConnectionPool>>,
    /// Which endpoints are left alone for a while.
    pub outliers: Option<Arc<OutlierDetection>>,
    /// Whether TLS is spoken.
    pub tls: Option<Arc<ClientTls>>,
    /// How new endpoints come to their part.
    pub warmup: Option<Warmup>,
    /// How many requests are sent again at once.
    pub retry_budget: Option<RetryBudget>,
}

/// How a new endpoint comes to its part of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warmup {
    /// In this time.
    pub duration: Duration,
    /// From so many of a hundred, in millionths of one.
    pub least: u32,
    /// How steeply at first, in millionths: one is a straight line.
    pub aggression: u32,
}

/// How many requests are sent again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// So many of a hundred that are under way, in millionths of one.
    pub percent: u32,
    /// But always so many. None: as many as Envoy lets.
    pub least: Option<u32>,
}

/// Which endpoint gets a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balancing {
    /// By a policy that looks at no request.
    Simple(SimpleBalancing),
    /// The one that a hash leads to.
    Hashed(Arc<Hashing>),
    /// The address that the caller asked for.
    Passthrough,
}

/// What is hashed, and how that leads to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashing {
    /// What is hashed.
    pub key: HashKey,
    /// How that leads to an endpoint.
    pub table: HashTable,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The caller's address.
    SourceIp,
    /// A header of the request.
    Header(Arc<str>),
    /// A query parameter of the request.
    QueryParameter(Arc<str>),
    /// A cookie of the request.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// For what paths the one is that callers are given; empty: for all.
        path: Arc<str>,
        /// How long that one lasts; zero: as long as the caller does. None: they are given none.
        ttl: Option<Duration>,
    },
}

/// How a hash leads to an endpoint. What is not said is Envoy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTable {
    /// On a ring.
    Ring {
        /// Places on it at least.
        minimum_size: Option<u64>,
    },
    /// By Maglev's table.
    Maglev {
        /// Its entries, a prime number.
        size: Option<u64>,
    },
}

/// A policy that looks at no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimpleBalancing {
    /// One after the other.
    RoundRobin,
    /// Of two the one with less to do.
    LeastRequest,
    /// Any.
    Random,
}

/// Bounds of connections and requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: TcpPool,
    /// Of requests.
    pub http: HttpPool,
}

/// Bounds of connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpPool {
    /// How many at once.
    pub max_connections: Option<u32>,
    /// Of one dial.
    pub connect_timeout: Option<Duration>,
    /// Bytes move within this, where they are not looked into. Zero: no bound.
    pub idle_timeout: Option<Duration>,
    /// A connection for HTTP is closed after this, when it has nothing to do.
    pub max_duration: Option<Duration>,
    /// Probes of a silent connection.
    pub keepalive: Option<Keepalive>,
}

/// Probes of a silent connection. What is not said is the kernel's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Unanswered ones until it is dead.
    pub probes: Option<u32>,
    /// Silence until the first, in seconds.
    pub time: Option<u32>,
    /// Between two, in seconds.
    pub interval: Option<u32>,
}

/// Bounds of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpPool {
    /// That wait for a connection.
    pub max_pending: Option<u32>,
    /// At once.
    pub max_requests: Option<u32>,
    /// Of one connection.
    pub max_per_connection: Option<u32>,
    /// Sent again at once.
    pub max_retries: Option<u32>,
    /// A connection without any is closed after this. Zero: never.
    pub idle_timeout: Option<Duration>,
    /// At once on one connection of HTTP/2.
    pub max_streams: Option<u32>,
    /// How often one of HTTP/2 is asked whether it is there, and how long for an answer.
    pub keep_alive: Option<(Duration, Duration)>,
    /// Which version is spoken.
    pub version: UpstreamHttp,
}

/// Which version of HTTP is spoken with endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpstreamHttp {
    /// As the port says.
    #[default]
    AsDeclared,
    /// HTTP/2.
    Http2,
    /// What the client speaks.
    AsClient,
}

/// Which endpoints are left alone for a while. What is not said is Envoy's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutlierDetection {
    /// After so many errors of any kind in a row; never at 0.
    pub consecutive_5xx: Option<u32>,
    /// After so many errors of gateways in a row; never at 0.
    pub consecutive_gateway: Option<u32>,
    /// After so many failures of connections in a row, where these are told apart; never at 0.
    pub consecutive_local: Option<u32>,
    /// Whether failures of connections are told apart.
    pub splits_local: bool,
    /// Between two looks at what is left alone.
    pub interval: Option<Duration>,
    /// For how long, times how often.
    pub base_ejection_time: Option<Duration>,
    /// How many of a hundred endpoints at most.
    pub max_ejection_percent: Option<u32>,
    /// With fewer of a hundred left all are used. Zero: never.
    pub min_health_percent: u32,
}

/// Whether callers speak TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTls {
    /// They do not.
    Disable,
    /// With the certificates of the mesh, whatever is known of the endpoint.
    Mesh,
    /// With what the rule says.
    Origination(TlsOrigination),
}

/// TLS to somebody who is not of the mesh. Files are those that the sidecar sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOrigination {
    /// The name that is asked for. None: the host of the request.
    pub sni: Option<Arc<str>>,
    /// Names of which the certificate has one. None are asked for if there is none.
    pub names: Vec<Arc<str>>,
    /// File with the authorities that sign it. None: whoever answers is trusted.
    pub authorities: Option<Arc<str>>,
    /// Files with the certificate and the key that the caller shows.
    pub certificate: Option<(Arc<str>, Arc<str>)>,
}

// === impl PortPolicies ===

impl PortPolicies {
    /// What is said of a port, where `around` says what else is in force.
    #[must_use]
    pub fn within(&self, around: TrafficPolicy, port: u16) -> TrafficPolicy {
        if let Some(of_port) = self.ports.get(&port) {
            return of_port.clone();
        }
        let all = self.all.clone();
        TrafficPolicy {
            balancing: all.balancing.or(around.balancing),
            pool: all.pool.or(around.pool),
            outliers: all.outliers.or(around.outliers),
            tls: all.tls.or(around.tls),
            warmup: all.warmup.or(around.warmup),
            retry_budget: all.retry_budget.or(around.retry_budget),
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
