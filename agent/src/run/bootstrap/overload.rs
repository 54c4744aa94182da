//! What the sidecar does when its memory is nearly used, or its connections are. Envoy's words, and its
//! names in the statistics.

use serde_json::{Value, json};

use crate::limits::Limits;

/// The resource monitor that actions go by.
const HEAP: &str = "envoy.resource_monitors.fixed_heap";

/// `overload_manager`. Actions are taken by degrees, the cheap ones first: what one of them frees does
/// not end it at once, so that they do not come and go.
pub(super) fn overload_manager(limits: Limits) -> Value {
    json!({
        // A flood of connections fills some tens of megabytes in that time.
        "refresh_interval": "0.25s",
        "resource_monitors": [
            monitor(HEAP, "fixed_heap.v3.FixedHeapConfig", json!({
                "max_heap_size_bytes": limits.heap,
            })),
            monitor(
                "envoy.resource_monitors.global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                json!({ "max_active_downstream_connections": limits.connections }),
            ),
        ],
        "actions": [
            action("shrink_heap", json!({ "threshold": { "value": 0.8 } })),
            action("disable_http_keepalive", scaled(0.8, 0.95)),
            action("stop_accepting_requests", scaled(0.9, 0.98)),
            action("reject_incoming_connections", scaled(0.9, 0.98)),
        ],
    })
}

fn monitor(name: &str, of_type: &str, mut config: Value) -> Value {
    let of_type = format!("type.googleapis.com/envoy.extensions.resource_monitors.{of_type}");
    config["@type"] = of_type.into();
    json!({ "name": name, "typed_config": config })
}

fn action(name: &str, mut trigger: Value) -> Value {
    trigger["name"] = HEAP.into();
    json!({ "name": format!("envoy.overload_actions.{name}"), "triggers": [trigger] })
}

fn scaled(from: f64, to: f64) -> Value {
    json!({ "scaled": { "scaling_threshold": from, "saturation_threshold": to } })
}
