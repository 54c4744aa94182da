//! Equal configuration. Envoy and Weir read the same bootstrap: what a sidecar has, with detection,
//! filter chains, the HTTP connection manager and the fallback to raw TCP. HAProxy is told by
//! scenario what it will see.

use serde_json::{Value, json};

use crate::{
    pods::{OUTBOUND, SERVER},
    scenario::Protocol,
};

const TYPES: &str = "type.googleapis.com/envoy.extensions";
/// Passes to the address the client asked for.
const PASSTHROUGH: &str = "PassthroughCluster";
/// Has no endpoint.
const BLACK_HOLE: &str = "BlackHoleCluster";
/// No limit: the load is to meet the proxy, not a circuit breaker.
const UNBOUNDED: u32 = u32::MAX;

/// For Envoy and Weir.
pub(super) fn bootstrap() -> String {
    let protocols = Protocol::ALL;
    let mut listeners = vec![virtual_outbound()];
    listeners.extend(protocols.map(service_listener));
    let mut clusters = vec![
        cluster(json!({
            "name": PASSTHROUGH, "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
        })),
        cluster(json!({ "name": BLACK_HOLE, "type": "STATIC" })),
    ];
    clusters.extend(protocols.map(service_cluster));
    let bootstrap = json!({
        "node": { "id": "bench", "cluster": "bench" },
        "admin": { "address": address("127.0.0.1", 15000) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    });
    bootstrap.to_string()
}

/// Hands connections over by original destination.
fn virtual_outbound() -> Value {
    json!({
        "name": "virtualOutbound",
        "address": address("0.0.0.0", OUTBOUND),
        "traffic_direction": "OUTBOUND",
        "use_original_dst": true,
        "listener_filters": [listener_filter("original_dst", "OriginalDst")],
        "filter_chains": [{
            // A connection to our own port would come back to us for ever.
            "name": "blackhole",
            "filter_chain_match": { "destination_port": OUTBOUND },
            "filters": [tcp_proxy(BLACK_HOLE)],
        }],
        "default_filter_chain": { "name": "passthrough", "filters": [tcp_proxy(PASSTHROUGH)] },
    })
}

/// Detects TLS and HTTP; what is neither goes on as TCP.
fn service_listener(protocol: Protocol) -> Value {
    let port = protocol.port();
    json!({
        "name": format!("0.0.0.0_{port}"),
        "address": address("0.0.0.0", port),
        "bind_to_port": false,
        "traffic_direction": "OUTBOUND",
        "continue_on_listener_filters_timeout": true,
        "listener_filters_timeout": "5s",
        "listener_filters": [
            listener_filter("tls_inspector", "TlsInspector"),
            listener_filter("http_inspector", "HttpInspector"),
        ],
        "filter_chains": [{
            "name": "http",
            "filter_chain_match": {
                "transport_protocol": "raw_buffer",
                "application_protocols": ["http/1.0", "http/1.1", "h2c"],
            },
            "filters": [http_connection_manager(&service(protocol))],
        }],
        "default_filter_chain": { "name": "tcp", "filters": [tcp_proxy(PASSTHROUGH)] },
    })
}

fn service(protocol: Protocol) -> String {
    format!("outbound|{}||backend", protocol.port())
}

fn service_cluster(protocol: Protocol) -> Value {
    let name = service(protocol);
    let endpoint = json!({ "endpoint": { "address": address(SERVER, protocol.port()) } });
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster(json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
        "typed_extension_protocol_options": { options: {
            "@type": format!("type.googleapis.com/{options}"),
            "use_downstream_protocol_config": {
                "http_protocol_options": {}, "http2_protocol_options": {},
            },
        }},
    }))
}

fn cluster(mut cluster: Value) -> Value {
    cluster["connect_timeout"] = json!("10s");
    cluster["circuit_breakers"] = json!({ "thresholds": [{
        "max_connections": UNBOUNDED, "max_pending_requests": UNBOUNDED,
        "max_requests": UNBOUNDED, "max_retries": UNBOUNDED,
    }]});
    cluster
}

/// As the sidecar has it: everything passes as it came.
fn http_connection_manager(cluster: &str) -> Value {
    let router = extension(
        "filters.http.router",
        "Router",
        json!({ "suppress_envoy_headers": true }),
    );
    let route = json!({
        "match": { "prefix": "/" },
        "route": { "cluster": cluster, "timeout": "0s" },
    });
    let name = "filters.network.http_connection_manager";
    extension(
        name,
        "HttpConnectionManager",
        json!({
            "stat_prefix": cluster,
            "codec_type": "AUTO",
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": false,
            "stream_idle_timeout": "0s",
            "route_config": { "name": cluster, "virtual_hosts": [{
                "name": cluster, "domains": ["*"], "routes": [route],
            }]},
            "http_filters": [router],
        }),
    )
}

fn tcp_proxy(cluster: &str) -> Value {
    let fields = json!({ "stat_prefix": cluster, "cluster": cluster });
    extension("filters.network.tcp_proxy", "TcpProxy", fields)
}

fn listener_filter(name: &str, message: &str) -> Value {
    extension(&format!("filters.listener.{name}"), message, json!({}))
}

fn extension(name: &str, message: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("{TYPES}.{name}.v3.{message}"));
    json!({ "name": format!("envoy.{name}"), "typed_config": fields })
}

fn address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

/// For HAProxy. Connections to the server are shared as Envoy and Weir do it.
pub(super) fn haproxy(protocol: Protocol, connections: u64) -> String {
    let (mode, server) = match protocol {
        Protocol::Http1 => ("http", ""),
        Protocol::Http2 => ("http", " proto h2"),
        Protocol::Tcp => ("tcp", ""),
    };
    format!(
        "global\n  nbthread 1\n  maxconn {connections}\n\
         defaults\n  mode {mode}\n  http-reuse always\n\
         \x20 timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n\
         frontend outbound\n  bind :{OUTBOUND}\n  default_backend service\n\
         backend service\n  server backend {SERVER}:{port}{server}\n",
        port = protocol.port(),
    )
}
