//! What tests of clusters share.

use std::{net::SocketAddr, sync::Arc};

use weir_api::xds::json;

use super::{Healths, health::ClusterHealth};
use crate::{
    config::{
        self,
        endpoint::{Endpoint, HealthStatus},
    },
    convert,
    snapshot::Snapshot,
};

/// A cluster from the text of its message, without its name and its endpoints.
pub(super) fn config(fields: &str) -> Arc<config::Cluster> {
    let text = format!(
        "static_resources: {{ clusters: [ {{ name: c, type: STATIC, {fields}, \
         load_assignment: {{ cluster_name: c }} }} ] }}"
    );
    let message = json::read_bootstrap(&text).expect("a bootstrap");
    let config = convert::bootstrap(message).expect("a bootstrap");
    Arc::clone(&config.clusters[0])
}

/// The health of such a cluster.
pub(super) fn health(fields: &str) -> Arc<ClusterHealth> {
    Healths::new(&Arc::default()).get(&config(fields), &Snapshot::default())
}

/// An endpoint like any other.
pub(super) fn endpoint(address: impl Into<SocketAddr>) -> Endpoint {
    Endpoint {
        address: address.into(),
        hostname: String::new(),
        health: HealthStatus::Healthy,
        weight: 1,
        hash_key: None,
        last_resort: false,
        sidecar: false,
        transport_socket_match: None,
    }
}
