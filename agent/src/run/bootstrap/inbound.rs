//! What connections to the pod meet.

use serde_json::{Value, json};
use weir_api::{
    identity, names, ports,
    protocol::{Hint, Protocol},
    sidecar::PodPort,
    xds::on_demand,
};

use super::{
    Sidecar,
    parts::{
        address, http_connection_manager, http_protocol, listener_filter, original_dst_cluster,
        tcp_proxy,
    },
};

/// What the HTTP inspector may find.
const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// `virtualInbound`, one a family: filter chains for each port of the application, and two that
/// pass on everything else. The control plane replaces it once it knows the pod's services; chains
/// of which it knows nothing new are the same messages, so that their connections stay.
pub(super) fn listeners(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let mut chains = vec![json!({
        "name": format!("{}-blackhole", names::VIRTUAL_INBOUND),
        "filter_chain_match": { "destination_port": ports::INBOUND },
        "filters": [tcp_proxy(names::BLACK_HOLE_CLUSTER)],
    })];
    for port in tcp_ports(sidecar) {
        chains.extend(port_chains(port));
    }
    chains.push(json!({
        "name": format!("{}-catchall-http", names::VIRTUAL_INBOUND),
        "filter_chain_match": { "transport_protocol": "raw_buffer", "application_protocols": HTTP },
        "filters": [http_connection_manager(
            names::INBOUND_PASSTHROUGH_CLUSTER,
            names::INBOUND_PASSTHROUGH_CLUSTER,
        )],
    }));
    let listener = |(any, suffix): (&str, &str)| {
        json!({
            "name": format!("{}{suffix}", names::VIRTUAL_INBOUND),
            "address": address(any, ports::INBOUND),
            "traffic_direction": "INBOUND",
            "metadata": { "filter_metadata": {
                on_demand::METADATA_NAMESPACE: { on_demand::REPLACEABLE: true },
            }},
            "listener_filters": [
                listener_filter("original_dst", "OriginalDst"),
                listener_filter("tls_inspector", "TlsInspector"),
                listener_filter("http_inspector", "HttpInspector"),
            ],
            // Nobody waits for a timer: whichever side speaks first decides.
            "listener_filters_timeout": "0s",
            "continue_on_listener_filters_timeout": true,
            "filter_chains": chains,
            "default_filter_chain": {
                "name": names::VIRTUAL_INBOUND,
                "filters": [tcp_proxy(names::INBOUND_PASSTHROUGH_CLUSTER)],
            },
        })
    };
    sidecar.families().map(listener).collect()
}

pub(super) fn clusters(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let of_ports = tcp_ports(sidecar).map(|port| names::inbound_cluster(port.container_port));
    let passthrough = names::INBOUND_PASSTHROUGH_CLUSTER.to_owned();
    of_ports
        .chain([passthrough])
        .map(|name| cluster(&name))
        .collect()
}

/// The ports of the application that carry TCP, each once.
fn tcp_ports<'a>(sidecar: &Sidecar<'a>) -> impl Iterator<Item = &'a PodPort> + use<'a> {
    let ports = sidecar.ports;
    let is_tcp = |port: &PodPort| port.protocol.as_deref().is_none_or(|name| name == "TCP");
    let tcp = ports
        .iter()
        .enumerate()
        .filter(move |(_, port)| is_tcp(port));
    let is_first = move |index: usize, number: u16| {
        let mut earlier = ports[..index].iter().filter(|port| is_tcp(port));
        !earlier.any(|port| port.container_port == number)
    };
    tcp.filter(move |(index, port)| is_first(*index, port.container_port))
        .map(|(_, port)| port)
}

/// A connection is served by the chains of the first criterion that tells them apart, and there is
/// no way back: beside a chain for plaintext HTTP, both other kinds must be named, too.
fn port_chains(port: &PodPort) -> Vec<Value> {
    let number = port.container_port;
    let cluster = names::inbound_cluster(number);
    let chain = |kind: &str, criteria: Value, filter: Value| {
        let mut criteria = criteria;
        criteria["destination_port"] = number.into();
        let name = format!("inbound|{number}|{kind}");
        json!({ "name": name, "filter_chain_match": criteria, "filters": [filter] })
    };
    if is_named_tcp(port) {
        return vec![chain("tcp", json!({}), tcp_proxy(&cluster))];
    }
    let http = json!({ "transport_protocol": "raw_buffer", "application_protocols": HTTP });
    let manager = http_connection_manager(&format!("inbound_{number}"), &cluster);
    vec![
        chain("http", http, manager),
        chain(
            "tcp",
            json!({ "transport_protocol": "raw_buffer" }),
            tcp_proxy(&cluster),
        ),
        chain(
            "tls",
            json!({ "transport_protocol": "tls" }),
            tcp_proxy(&cluster),
        ),
    ]
}

fn is_named_tcp(port: &PodPort) -> bool {
    let hint = Hint::of(None, port.name.as_deref(), port.container_port);
    matches!(hint.protocol, Protocol::Tcp | Protocol::Tls)
}

/// Dials the application at the address the peer used, from the source that the capture rules let
/// past.
fn cluster(name: &str) -> Value {
    let mut cluster = original_dst_cluster(name);
    cluster["upstream_bind_config"] = json!({
        "source_address": {
            "address": identity::INBOUND_PASSTHROUGH_V4.to_string(),
            "port_value": 0,
        },
        "extra_source_addresses": [{ "address": {
            "address": identity::INBOUND_PASSTHROUGH_V6.to_string(),
            "port_value": 0,
        }}],
    });
    cluster["typed_extension_protocol_options"] = http_protocol(json!({
        // Below the 5 s at which common servers close, so that a request does not meet a close.
        "common_http_protocol_options": { "idle_timeout": "4s" },
        "use_downstream_protocol_config": {
            "http_protocol_options": {},
            "http2_protocol_options": {},
        },
    }));
    cluster
}
