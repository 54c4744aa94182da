//! What tests of clusters share.

use std::sync::Arc;

use weir_api::xds::json;

use super::{Healths, health::ClusterHealth};
use crate::{config, convert, snapshot::Snapshot};

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
