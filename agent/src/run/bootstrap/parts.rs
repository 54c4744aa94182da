//! Pieces that several resources share.

use serde_json::{Value, json};

/// Bounds that nobody reaches: the application decides how much is too much.
const UNBOUNDED: u32 = u32::MAX;

/// An extension's configuration.
pub(super) fn typed(name: &str, message: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{message}"));
    json!({ "name": name, "typed_config": fields })
}

/// `envoy.config.core.v3.Address`
pub(super) fn address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

/// A listener filter without settings.
pub(super) fn listener_filter(name: &str, message: &str) -> Value {
    let (name, message) = (
        format!("envoy.filters.listener.{name}"),
        format!("filters.listener.{name}.v3.{message}"),
    );
    typed(&name, &message, json!({}))
}

/// The tcp_proxy filter to one cluster. Idle connections stay, as they would without a proxy.
pub(super) fn tcp_proxy(cluster: &str) -> Value {
    typed(
        "envoy.filters.network.tcp_proxy",
        "filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": cluster, "cluster": cluster, "idle_timeout": "0s" }),
    )
}

/// Routes that send everything to one cluster.
pub(super) fn all_to(cluster: &str) -> Value {
    let route = json!({ "cluster": cluster, "timeout": "0s" });
    json!([
        { "name": "tunnel", "match": { "connect_matcher": {} }, "route": route },
        { "name": "default", "match": { "prefix": "/" }, "route": route },
    ])
}

/// An HTTP connection manager with these routes, and filters in front of the router, that changes
/// nothing.
pub(super) fn http_connection_manager(
    stat_prefix: &str,
    (name, routes): (&str, Value),
    mut filters: Vec<Value>,
) -> Value {
    filters.push(typed(
        "envoy.filters.http.router",
        "filters.http.router.v3.Router",
        json!({ "suppress_envoy_headers": true }),
    ));
    typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": stat_prefix,
            "codec_type": "AUTO",
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": false,
            "stream_idle_timeout": "0s",
            "request_timeout": "0s",
            "common_http_protocol_options": { "idle_timeout": "0s", "max_headers_count": 10000 },
            "http_protocol_options": { "accept_http_10": true },
            // More than applications send, and no more than a sidecar holds for anybody.
            "max_request_headers_kb": weir_api::sidecar::MAX_REQUEST_HEADERS_KB,
            "request_headers_timeout": "60s",
            "upgrade_configs": [{ "upgrade_type": "websocket" }, { "upgrade_type": "CONNECT" }],
            "route_config": {
                "name": name,
                "virtual_hosts": [{ "name": name, "domains": ["*"], "routes": routes }],
            },
            "http_filters": filters,
        }),
    )
}

/// `typed_extension_protocol_options` of a cluster.
pub(super) fn http_protocol(mut fields: Value) -> Value {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    fields["@type"] = json!(format!("type.googleapis.com/{OPTIONS}"));
    json!({ OPTIONS: fields })
}

/// A cluster that dials the original destination of the connection.
pub(super) fn original_dst_cluster(name: &str) -> Value {
    json!({
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "10s",
        "circuit_breakers": { "thresholds": [{
            "max_connections": UNBOUNDED,
            "max_pending_requests": UNBOUNDED,
            "max_requests": UNBOUNDED,
            "max_retries": UNBOUNDED,
        }]},
    })
}
