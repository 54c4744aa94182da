//! Network filters.

use std::{sync::Arc, time::Duration};

use super::{
    AccessLog, HttpConnectionManager, access_log::AccessLogOptions, dns_cache::DnsCacheConfig,
    feature_flag::FeatureFlag, hash::HashPolicy, rbac, subset::MetadataMatch,
    token_bucket::LocalRateLimit,
};

/// A network filter.
#[derive(Debug, Clone)]
pub enum NetworkFilter {
    /// `envoy.filters.network.tcp_proxy`
    TcpProxy(Arc<TcpProxy>),
    /// `envoy.filters.network.http_connection_manager`
    HttpConnectionManager(Arc<HttpConnectionManager>),
    /// `envoy.filters.network.echo`
    Echo,
    /// `envoy.filters.network.direct_response`: what is sent before the connection is closed.
    DirectResponse(Arc<[u8]>),
    /// `envoy.filters.network.connection_limit`
    ConnectionLimit(Arc<ConnectionLimit>),
    /// `envoy.filters.network.local_ratelimit`
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.filters.network.sni_cluster`
    SniCluster,
    /// `envoy.filters.network.rbac`
    Rbac(Arc<NetworkRbac>),
    /// `envoy.filters.network.sni_dynamic_forward_proxy`
    SniDynamicForwardProxy(Arc<SniDynamicForwardProxy>),
}

/// `envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SniDynamicForwardProxy {
    /// Where the name in SNI is looked up.
    pub cache: Arc<DnsCacheConfig>,
    /// The port that is dialled; none: that of the cluster's protocol.
    pub port: Option<u16>,
}

/// `envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit`
#[derive(Debug)]
pub struct ConnectionLimit {
    /// Part of stat names: `connection_limit.<stat_prefix>.`
    pub stat_prefix: String,
    /// Connections open at a time, over all workers.
    pub max_connections: u64,
    /// How long one that is too many is kept before it is closed; none: not at all.
    pub delay: Option<Duration>,
    /// Whether there is a limit.
    pub enabled: FeatureFlag,
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`
#[derive(Debug)]
pub struct NetworkRbac {
    /// Before the names of what it counts: `<stat_prefix>.rbac.`
    pub stat_prefix: String,
    /// The rules.
    pub filter: rbac::Filter,
    /// When they are followed.
    pub enforcement_type: EnforcementType,
    /// How long a refused connection is kept before it is closed; none: not at all.
    pub delay_deny: Option<Duration>,
}

/// `RBAC.EnforcementType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnforcementType {
    /// Once, when the first bytes come.
    OneTimeOnFirstByte,
    /// Whenever bytes come.
    Continuous,
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`
#[derive(Debug)]
pub struct TcpProxy {
    /// Part of stat names: `tcp.<stat_prefix>.`
    pub stat_prefix: String,
    /// Clusters and their weights; one entry of weight 1 for `cluster`.
    pub clusters: Vec<WeightedCluster>,
    /// Closed after this long without a byte either way. Envoy's default is 1 h; none: never.
    pub idle_timeout: Option<Duration>,
    /// Dials before giving up, each on an endpoint of its own where there are several. At least 1.
    pub max_connect_attempts: u32,
    /// What endpoints must have, where the cluster has subsets.
    pub metadata_match: Option<MetadataMatch>,
    /// What chooses the endpoint where the cluster goes by a hash.
    pub hash_policy: Vec<HashPolicy>,
    /// Access logs, written when the connection ends.
    pub access_logs: Vec<AccessLog>,
    /// When lines are written beside the end.
    pub access_log_options: AccessLogOptions,
}

/// A cluster and its share of the traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedCluster {
    /// Name of the cluster.
    pub name: String,
    /// Share, relative to the sum over its siblings. At least 1 in sum.
    pub weight: u32,
    /// What endpoints must have, that of the filter included.
    pub metadata_match: Option<MetadataMatch>,
}

// === impl NetworkFilter ===

impl NetworkFilter {
    /// Whether it ends its chain.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::TcpProxy(_)
            | Self::HttpConnectionManager(_)
            | Self::Echo
            | Self::DirectResponse(_) => true,
            Self::ConnectionLimit(_)
            | Self::LocalRateLimit(_)
            | Self::SniCluster
            | Self::SniDynamicForwardProxy(_)
            | Self::Rbac(_) => false,
        }
    }
}
