//! What the pod's own connections meet.

use serde_json::{Value, json};
use weir_api::{names, ports, xds::on_demand};

use super::{
    Sidecar,
    parts::{address, listener_filter, original_dst_cluster, tcp_proxy},
};

/// `virtualOutbound`, one a family: hands connections over by original destination, asks the
/// control plane for those it does not know, and passes on what nobody knows. The control plane may
/// replace it, with one that refuses what nobody knows.
pub(super) fn listeners(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let listener = |(any, suffix): (&str, &str)| {
        json!({
            "name": format!("{}{suffix}", names::VIRTUAL_OUTBOUND),
            "address": address(any, ports::OUTBOUND),
            "traffic_direction": "OUTBOUND",
            "use_original_dst": true,
            "metadata": { "filter_metadata": { on_demand::METADATA_NAMESPACE: {
                on_demand::FIELD: {},
                on_demand::REPLACEABLE: true,
            }}},
            "listener_filters": [listener_filter("original_dst", "OriginalDst")],
            "filter_chains": [{
                // A connection to our own port would come back to us for ever.
                "name": format!("{}-blackhole", names::VIRTUAL_OUTBOUND),
                "filter_chain_match": { "destination_port": ports::OUTBOUND },
                "filters": [tcp_proxy(names::BLACK_HOLE_CLUSTER)],
            }],
            "default_filter_chain": {
                "name": format!("{}-catchall-tcp", names::VIRTUAL_OUTBOUND),
                "filters": [tcp_proxy(names::PASSTHROUGH_CLUSTER)],
            },
        })
    };
    sidecar.families().map(listener).collect()
}

pub(super) fn clusters() -> Vec<Value> {
    vec![
        original_dst_cluster(names::PASSTHROUGH_CLUSTER),
        json!({
            "name": names::BLACK_HOLE_CLUSTER,
            "type": "STATIC",
            "connect_timeout": "10s",
        }),
    ]
}
