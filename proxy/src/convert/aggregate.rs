//! Aggregate clusters.

use std::{collections::HashSet, sync::Arc};

use weir_api::xds::{
    codec, envoy::extensions::clusters::aggregate::v3::ClusterConfig, google::protobuf::Any,
};

use super::{
    at::{At, take},
    value::{non_empty, unpack},
};

/// The names of the clusters that the cluster called `name` is made of.
pub(super) fn clusters(at: &At<'_>, name: &str, any: &Any) -> Option<Arc<[String]>> {
    let message = unpack(at, any, codec::unpack_aggregate_cluster)?;
    take!(at, message => ClusterConfig { supported: clusters; });
    let at = at.field("clusters");
    if clusters.is_empty() {
        at.error("must not be empty");
    }
    let mut seen = HashSet::new();
    for (index, cluster) in clusters.iter().enumerate() {
        let at = at.index(index);
        non_empty(&at, cluster.clone());
        if cluster == name {
            at.unsupported(format!("{name:?}, which is the cluster itself"));
        } else if !seen.insert(cluster) {
            at.unsupported(format!("{cluster:?} more than once"));
        }
    }
    Some(clusters.into())
}
