//! What the process starts with.

use std::{net::SocketAddr, sync::Arc};

use weir_api::xds::envoy::config::core::v3::Node;

use super::{
    Cluster, Listener, dns::DnsResolver, endpoint::Locality, overload::OverloadManager,
    tls::LoadedSecret,
};
use crate::runtime::Runtime;

/// `envoy.config.bootstrap.v3.Bootstrap`, as far as it is supported.
#[derive(Debug)]
pub struct Bootstrap {
    /// Sent to the control plane on the first request of a stream.
    pub node: Node,
    /// Values that override the configuration.
    pub runtime: Runtime,
    /// The cluster of the proxies, among which this one is.
    pub local_cluster: Option<Arc<LocalCluster>>,
    /// What is done while memory or connections are too many; none: nothing.
    pub overload: Option<Arc<OverloadManager>>,
    /// How names are looked up where a cluster does not say.
    pub dns_resolver: Arc<DnsResolver>,
    /// Where the admin interface listens; none without it.
    pub admin: Option<SocketAddr>,
    /// Listeners that never change.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters that never change, with the endpoints of the `STATIC` ones inside.
    pub clusters: Vec<Arc<Cluster>>,
    /// Secrets that resources refer to by name alone.
    pub secrets: Vec<Arc<LoadedSecret>>,
    /// The aggregated discovery stream, if there is one.
    pub ads: Option<Ads>,
    /// Listeners come over ADS, all of them (wildcard subscription).
    pub lds: bool,
    /// Clusters come over ADS, all of them (wildcard subscription).
    pub cds: bool,
}

/// `cluster_manager.local_cluster_name`, and where the proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCluster {
    /// Name of the cluster.
    pub name: String,
    /// `node.locality`
    pub locality: Locality,
}

/// `dynamic_resources.ads_config`: one gRPC stream for all types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ads {
    /// Cluster of the control plane (`grpc_services[0].envoy_grpc.cluster_name`).
    pub cluster: String,
    /// Variant of the protocol.
    pub protocol: AdsProtocol,
    /// Metadata of the stream (`initial_metadata`), such as a bearer token.
    pub initial_metadata: Vec<(String, String)>,
}

/// Variant of the xDS transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdsProtocol {
    /// `DELTA_GRPC`
    Delta,
    /// `GRPC`: state of the world.
    StateOfTheWorld,
}
