//! Envoy and Weir read the same bootstrap: what a sidecar has, with detection, filter chains, the HTTP
//! connection manager, the fallback to raw TCP and, where that is measured, mutual TLS.

use serde_json::{Value, json};

use super::{ADMIN, identity::Identities, tls};
use crate::{
    pods::{INBOUND, OUTBOUND, SERVER, Side},
    scenario::{Protocol, Sessions, Sidecars},
};

const TYPES: &str = "type.googleapis.com/envoy.extensions";
/// Passes to the address the client asked for.
const PASSTHROUGH: &str = "PassthroughCluster";
/// Has no endpoint.
const BLACK_HOLE: &str = "BlackHoleCluster";
/// What the HTTP inspector may find.
const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];
/// Where the server's sidecar dials the application from.
pub(super) const APPLICATION_CLIENT: &str = "127.0.0.6";
/// No limit: the load is to meet the proxy, not a circuit breaker.
const UNBOUNDED: u32 = u32::MAX;

/// Mutual TLS, where it is measured.
type MutualTls<'a> = Option<(Sessions, &'a Identities)>;

/// Of a sidecar.
pub(super) fn bootstrap(side: Side, sidecars: Sidecars, identities: &Identities) -> String {
    let mutual_tls = match sidecars {
        Sidecars::MutualTls(sessions) => Some((sessions, identities)),
        Sidecars::Client | Sidecars::Both => None,
    };
    let (listeners, mut clusters) = match side {
        Side::Outbound => outbound(sidecars, mutual_tls),
        Side::Inbound => inbound(sidecars, mutual_tls),
    };
    clusters.push(cluster(json!({ "name": BLACK_HOLE, "type": "STATIC" })));
    let bootstrap = json!({
        "node": { "id": "bench", "cluster": "bench" },
        "admin": { "address": address("127.0.0.1", ADMIN) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    });
    bootstrap.to_string()
}

/// Listeners and clusters of the client's sidecar.
fn outbound(sidecars: Sidecars, mutual_tls: MutualTls<'_>) -> (Vec<Value>, Vec<Value>) {
    let listener = |protocol: Protocol| {
        let port = protocol.port(sidecars);
        let tcp = match mutual_tls {
            Some(_) => service(port),
            None => PASSTHROUGH.to_owned(),
        };
        service_listener(port, &tcp)
    };
    let clusters = Protocol::ALL.map(|protocol| {
        let mut cluster = service_cluster(protocol.port(sidecars));
        if let Some((sessions, identities)) = mutual_tls {
            cluster["transport_socket"] = tls::upstream(protocol, sessions, identities);
        }
        cluster
    });
    let passthrough = cluster(json!({
        "name": PASSTHROUGH, "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED",
    }));
    let listeners = Protocol::ALL.map(listener);
    (
        [virtual_outbound()].into_iter().chain(listeners).collect(),
        [passthrough].into_iter().chain(clusters).collect(),
    )
}

/// Listener and clusters of the server's sidecar: as `weir-agent run` makes them of a pod's ports.
fn inbound(sidecars: Sidecars, mutual_tls: MutualTls<'_>) -> (Vec<Value>, Vec<Value>) {
    let chains = Protocol::ALL.map(|protocol| port_chains(protocol, sidecars, mutual_tls));
    let clusters = Protocol::ALL.map(|protocol| {
        let mut cluster = cluster(json!({
            "name": application(protocol.port(sidecars)), "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED",
            // The rules let past what comes from there.
            "upstream_bind_config": {
                "source_address": { "address": APPLICATION_CLIENT, "port_value": 0 },
            },
        }));
        cluster["typed_extension_protocol_options"] = as_downstream();
        cluster
    });
    let mut listener = detecting(json!({
        "name": "virtualInbound",
        "address": address("0.0.0.0", INBOUND),
        "traffic_direction": "INBOUND",
        "filter_chains": chains.concat(),
        "default_filter_chain": { "name": "blackhole", "filters": [tcp_proxy(BLACK_HOLE)] },
    }));
    if let Some(filters) = listener["listener_filters"].as_array_mut() {
        filters.insert(0, listener_filter("original_dst", "OriginalDst"));
    }
    (vec![listener], clusters.to_vec())
}

/// The chains of a port of the application.
fn port_chains(protocol: Protocol, sidecars: Sidecars, mutual_tls: MutualTls<'_>) -> Vec<Value> {
    let port = protocol.port(sidecars);
    let to = application(port);
    let chain = |criteria: Value, filter: Value| json!({ "filter_chain_match": criteria, "filters": [filter] });
    let http = json!({
        "destination_port": port, "transport_protocol": "raw_buffer",
        "application_protocols": HTTP,
    });
    let tcp = json!({ "destination_port": port, "transport_protocol": "raw_buffer" });
    let mut chains = vec![
        chain(http, http_connection_manager(&to)),
        chain(tcp, tcp_proxy(&to)),
    ];
    if let Some((_, identities)) = mutual_tls {
        let mesh = json!({
            "destination_port": port, "transport_protocol": "tls",
            "application_protocols": tls::MESH,
        });
        let filter = match protocol {
            Protocol::Http1 | Protocol::Http2 => http_connection_manager(&to),
            Protocol::Tcp => tcp_proxy(&to),
        };
        let mut chain = chain(mesh, filter);
        chain["transport_socket"] = tls::downstream(protocol, identities);
        chains.push(chain);
    }
    chains
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

/// Detects TLS and HTTP; what is neither goes on as TCP, to the cluster `tcp`.
fn service_listener(port: u16, tcp: &str) -> Value {
    detecting(json!({
        "name": format!("0.0.0.0_{port}"),
        "address": address("0.0.0.0", port),
        "bind_to_port": false,
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{
            "name": "http",
            "filter_chain_match": {
                "transport_protocol": "raw_buffer", "application_protocols": HTTP,
            },
            "filters": [http_connection_manager(&service(port))],
        }],
        "default_filter_chain": { "name": "tcp", "filters": [tcp_proxy(tcp)] },
    }))
}

/// A listener that looks at the first bytes.
fn detecting(mut listener: Value) -> Value {
    listener["continue_on_listener_filters_timeout"] = json!(true);
    listener["listener_filters_timeout"] = json!("5s");
    listener["listener_filters"] = json!([
        listener_filter("tls_inspector", "TlsInspector"),
        listener_filter("http_inspector", "HttpInspector"),
    ]);
    listener
}

fn service(port: u16) -> String {
    format!("outbound|{port}||backend")
}

/// Cluster of a port of the application, within its own pod.
fn application(port: u16) -> String {
    format!("inbound|{port}||")
}

fn service_cluster(port: u16) -> Value {
    let name = service(port);
    let endpoint = json!({ "endpoint": { "address": address(SERVER, port) } });
    cluster(json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
        "typed_extension_protocol_options": as_downstream(),
    }))
}

/// The endpoint is spoken to as the client spoke.
fn as_downstream() -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({ options: {
        "@type": format!("type.googleapis.com/{options}"),
        "use_downstream_protocol_config": {
            "http_protocol_options": {}, "http2_protocol_options": {},
        },
    }})
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
