//! Where connections go that are not looked into, or only as far as the name that TLS asks for.

use std::collections::BTreeSet;

use weir_api::xds::envoy::{
    config::listener::v3::FilterChainMatch,
    extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
        ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight,
    },
};

/// Clusters, by weight.
pub(in crate::xds) type Shares = Vec<(String, u32)>;

/// Where connections go.
#[derive(Debug, Default)]
pub(in crate::xds) struct Streams {
    /// By names that TLS asks for; each name once, and any name by `*`.
    pub(in crate::xds) by_name: Vec<(Vec<String>, Shares)>,
    /// All others. None: to the cluster of the listener.
    pub(in crate::xds) rest: Option<Shares>,
}

/// Stands for any name.
const ANY: &str = "*";

// === impl Streams ===

impl Streams {
    /// What each name leads to; the first that is said of a name counts.
    pub(in crate::xds) fn push(&mut self, names: impl Iterator<Item = String>, shares: Shares) {
        let known: BTreeSet<_> = self.by_name.iter().flat_map(|(names, _)| names).collect();
        let names: BTreeSet<_> = names.filter(|name| !known.contains(name)).collect();
        let is_any = names.contains(ANY);
        let names: Vec<_> = names.into_iter().filter(|it| *it != ANY).collect();
        if !names.is_empty() {
            self.by_name.push((names, shares.clone()));
        }
        if is_any {
            self.by_name.push((vec![ANY.to_owned()], shares));
        }
    }
}

/// Connections of TLS that ask for one of these names.
pub(super) fn asks_for(names: &[String]) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "tls".to_owned(),
        server_names: names.iter().filter(|it| *it != ANY).cloned().collect(),
        ..FilterChainMatch::default()
    }
}

/// Clusters as a TCP proxy names them.
pub(super) fn clusters(shares: &[(String, u32)]) -> ClusterSpecifier {
    if let [(cluster, _)] = shares {
        return ClusterSpecifier::Cluster(cluster.clone());
    }
    let clusters = shares.iter().map(|(name, weight)| ClusterWeight {
        name: name.clone(),
        weight: *weight,
        ..ClusterWeight::default()
    });
    ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: clusters.collect(),
    })
}
