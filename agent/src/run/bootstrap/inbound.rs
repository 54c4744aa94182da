//! What connections to the pod meet.

use serde_json::{Value, json};
use weir_api::{
    identity, names, ports,
    protocol::{Hint, Protocol},
    sidecar::PodPort,
    spiffe::TrustDomain,
    xds::on_demand,
};

use super::{
    Sidecar,
    parts::{
        address, http_connection_manager, http_protocol, listener_filter, original_dst_cluster,
        tcp_proxy,
    },
    tls,
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
        chains.extend(port_chains(port, sidecar.mutual_tls));
    }
    let passthrough = To {
        stat_prefix: names::INBOUND_PASSTHROUGH_CLUSTER,
        cluster: names::INBOUND_PASSTHROUGH_CLUSTER,
    };
    let mut catch_all = passthrough.mutual_tls(Protocol::Auto, sidecar.mutual_tls);
    catch_all.push(passthrough.http("catchall-http", plaintext_http()));
    for mut chain in catch_all {
        let kind = chain["name"].as_str().unwrap_or_default();
        chain["name"] = format!("{}-{kind}", names::VIRTUAL_INBOUND).into();
        chains.push(chain);
    }
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
fn port_chains(port: &PodPort, mutual_tls: Option<&TrustDomain>) -> Vec<Value> {
    let number = port.container_port;
    let protocol = Hint::of(None, port.name.as_deref(), number).protocol;
    let to = To {
        stat_prefix: &format!("inbound_{number}"),
        cluster: &names::inbound_cluster(number),
    };
    let mut chains = to.mutual_tls(protocol, mutual_tls);
    let tcp_only = matches!(protocol, Protocol::Tcp | Protocol::Tls);
    if !tcp_only {
        chains.push(to.http("http", plaintext_http()));
    }
    match tcp_only && mutual_tls.is_none() {
        true => chains.push(to.tcp("tcp", json!({}))),
        false => chains.extend([
            to.tcp("tcp", json!({ "transport_protocol": "raw_buffer" })),
            to.tcp("tls", json!({ "transport_protocol": "tls" })),
        ]),
    }
    for chain in &mut chains {
        let kind = chain["name"].as_str().unwrap_or_default();
        chain["name"] = format!("inbound|{number}|{kind}").into();
        chain["filter_chain_match"]["destination_port"] = number.into();
    }
    chains
}

fn plaintext_http() -> Value {
    json!({ "transport_protocol": "raw_buffer", "application_protocols": HTTP })
}

/// Where connections go.
struct To<'a> {
    stat_prefix: &'a str,
    cluster: &'a str,
}

// === impl To ===

impl To<'_> {
    /// The chains of clients of the mesh: of one that names HTTP by ALPN, and of one that does not.
    fn mutual_tls(&self, protocol: Protocol, trust_domain: Option<&TrustDomain>) -> Vec<Value> {
        let Some(trust_domain) = trust_domain else {
            return Vec::new();
        };
        let named =
            |alpn: &[&str]| json!({ "transport_protocol": "tls", "application_protocols": alpn });
        let within = |mut chain: Value, alpn: &[&str]| {
            chain["transport_socket"] = tls::downstream(trust_domain, alpn);
            chain
        };
        let http = |kind: &str, alpn: &[&str]| within(self.http(kind, named(alpn)), &tls::HTTP);
        let tcp = |kind: &str, alpn: &[&str]| within(self.tcp(kind, named(alpn)), &[]);
        let any: Vec<_> = tls::MESH_TCP.into_iter().chain(tls::MESH_HTTP).collect();
        match protocol {
            Protocol::Http | Protocol::Http2 => vec![http("mtls", &any)],
            Protocol::Auto => vec![
                http("mtls-http", &tls::MESH_HTTP),
                tcp("mtls-tcp", &tls::MESH_TCP),
            ],
            Protocol::Tcp | Protocol::Tls => vec![tcp("mtls", &any)],
        }
    }

    fn http(&self, kind: &str, criteria: Value) -> Value {
        let manager = http_connection_manager(self.stat_prefix, self.cluster);
        chain(kind, criteria, manager)
    }

    fn tcp(&self, kind: &str, criteria: Value) -> Value {
        chain(kind, criteria, tcp_proxy(self.cluster))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "both are made for this alone"
)]
fn chain(name: &str, criteria: Value, filter: Value) -> Value {
    json!({ "name": name, "filter_chain_match": criteria, "filters": [filter] })
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
