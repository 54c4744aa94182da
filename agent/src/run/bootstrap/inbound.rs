//! What connections to the pod meet.

use serde_json::{Value, json};
use weir_api::{
    identity,
    inbound_tls::Served,
    names, ports,
    protocol::{Hint, Protocol},
    sidecar::PodPort,
    spiffe::TrustDomain,
    xds::{envoy::config::listener::v3::FilterChain, on_demand},
};

use super::{
    Sidecar,
    parts::{
        address, all_to, http_connection_manager, http_protocol, listener_filter,
        original_dst_cluster, tcp_proxy,
    },
    probe, refused, tls,
};

/// How long a client may take for its ClientHello where it must send one, and then for its handshake.
const FIRST_BYTES: &str = "15s";

/// What the HTTP inspector may find.
const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// `virtualInbound`, one a family: filter chains for each port of the application, and those that
/// pass on everything else. The control plane replaces it once it knows the pod's services; chains
/// of which it knows nothing new are the same messages, so that their connections stay.
pub(super) fn listeners(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let mut chains = vec![json!({
        "name": format!("{}-blackhole", names::VIRTUAL_INBOUND),
        "filter_chain_match": { "destination_port": ports::INBOUND },
        "filters": [tcp_proxy(names::BLACK_HOLE_CLUSTER)],
    })];
    for (number, protocol) in ports(sidecar) {
        chains.extend(port_chains(number, protocol, sidecar));
    }
    chains.extend(probe::chains(sidecar));
    let (others, default) = of_other_ports(sidecar);
    chains.extend(others);
    let listener = |(any, suffix): (&str, &str)| {
        let mut listener = json!({
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
            // Nobody waits for a timer, unless the client has to speak first, as the control plane
            // has it.
            "listener_filters_timeout": if default.is_some() { "0s" } else { FIRST_BYTES },
            "continue_on_listener_filters_timeout": true,
            "filter_chains": chains,
        });
        if let Some(default) = &default {
            listener["default_filter_chain"] = default.clone();
        }
        listener
    };
    sidecar.families().map(listener).collect()
}

pub(super) fn clusters(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let mut ports: Vec<u16> = ports(sidecar).map(|(number, _)| number).collect();
    let kept = sidecar.kept.iter().flat_map(|it| &it.filter_chains);
    for port in kept.filter_map(own_port) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    let of_ports = ports.into_iter().map(names::inbound_cluster);
    let passthrough = names::INBOUND_PASSTHROUGH_CLUSTER.to_owned();
    of_ports
        .chain([passthrough])
        .map(|name| cluster(&name))
        .collect()
}

/// The port of the application that a chain of the control plane serves.
fn own_port(chain: &FilterChain) -> Option<u16> {
    let port = chain.filter_chain_match.as_ref()?.destination_port?.value;
    let port = u16::try_from(port).ok()?;
    (port != ports::INBOUND).then_some(port)
}

/// The ports that the application declares and that carry TCP, each once, and those that rules or
/// probes speak of.
fn ports(sidecar: &Sidecar<'_>) -> impl Iterator<Item = (u16, Protocol)> {
    let tcp = |port: &&PodPort| port.protocol.as_deref().is_none_or(|name| name == "TCP");
    let mut ports: Vec<(u16, Protocol)> = Vec::new();
    let declared = sidecar.ports.iter().filter(tcp).map(|port| {
        let number = port.container_port;
        let hint = Hint::of(None, port.name.as_deref(), number);
        (number, hint.protocol)
    });
    let named = sidecar.demands.tls.ports.keys().copied();
    let named = named.chain(probe::answered(sidecar).map(|probe| probe.port));
    for port in declared.chain(named.map(|number| (number, Protocol::Auto))) {
        if !ports.iter().any(|(number, _)| *number == port.0) {
            ports.push(port);
        }
    }
    ports.into_iter()
}

/// The chains of the ports that nobody spoke of, and the one of what fits none.
fn of_other_ports(sidecar: &Sidecar<'_>) -> (Vec<Value>, Option<Value>) {
    let rest =
        |name: String, cluster| Some(json!({ "name": name, "filters": [tcp_proxy(cluster)] }));
    if sidecar.demands.is_guarded {
        let chains = refused::chains(names::INBOUND_PASSTHROUGH_CLUSTER);
        let named = |kind: &str| format!("{}-{kind}", names::VIRTUAL_INBOUND);
        return (renamed(chains, named), None);
    }
    let served = sidecar.served(sidecar.demands.tls.mode);
    if served == Served::Refused {
        let name = format!("{}-refused", names::VIRTUAL_INBOUND);
        return (Vec::new(), rest(name, names::BLACK_HOLE_CLUSTER));
    }
    let passthrough = To {
        stat_prefix: names::INBOUND_PASSTHROUGH_CLUSTER,
        cluster: names::INBOUND_PASSTHROUGH_CLUSTER,
    };
    let mut chains = passthrough.chains(Protocol::Auto, served, sidecar.mutual_tls);
    // What fits no chain may be plaintext on a port that serves TLS alone: there the rest is named.
    let mut ports = ports(sidecar).map(|(number, _)| sidecar.served_on(number));
    let strict = served == Served::Strict || ports.any(|served| served == Served::Strict);
    let kind = |chain: &Value| chain["name"].as_str().unwrap_or_default().to_owned();
    if !strict {
        chains.retain(|chain| !["tcp", "tls"].contains(&kind(chain).as_str()));
    }
    let chains = renamed(chains, |kind| {
        let kind = if kind == "http" {
            "catchall-http"
        } else {
            kind
        };
        format!("{}-{kind}", names::VIRTUAL_INBOUND)
    });
    let name = names::VIRTUAL_INBOUND.to_owned();
    let default = rest(name, names::INBOUND_PASSTHROUGH_CLUSTER);
    (chains, default.filter(|_| !strict))
}

fn port_chains(number: u16, protocol: Protocol, sidecar: &Sidecar<'_>) -> Vec<Value> {
    let stat_prefix = format!("inbound_{number}");
    let to = To {
        stat_prefix: &stat_prefix,
        cluster: &names::inbound_cluster(number),
    };
    let chains = match sidecar.demands.is_guarded {
        true => refused::chains(&stat_prefix),
        false => to.chains(protocol, sidecar.served_on(number), sidecar.mutual_tls),
    };
    let mut chains = renamed(chains, |kind| format!("inbound|{number}|{kind}"));
    for chain in &mut chains {
        chain["filter_chain_match"]["destination_port"] = number.into();
    }
    chains
}

/// Chains under names of which the ones that they have are the last part.
fn renamed(mut chains: Vec<Value>, name: impl Fn(&str) -> String) -> Vec<Value> {
    for chain in &mut chains {
        chain["name"] = name(chain["name"].as_str().unwrap_or_default()).into();
    }
    chains
}

pub(super) fn plaintext_http() -> Value {
    json!({ "transport_protocol": "raw_buffer", "application_protocols": HTTP })
}

/// Where connections go.
struct To<'a> {
    stat_prefix: &'a str,
    cluster: &'a str,
}

// === impl To ===

impl To<'_> {
    /// A connection is served by the chains of the first criterion that tells them apart, and there is
    /// no way back: beside a chain for plaintext HTTP, both other kinds must be named, too.
    fn chains(
        &self,
        protocol: Protocol,
        served: Served,
        trust_domain: Option<&TrustDomain>,
    ) -> Vec<Value> {
        let tcp_only = matches!(protocol, Protocol::Tcp | Protocol::Tls);
        let mut chains = match served {
            Served::Refused => {
                let to = To {
                    cluster: names::BLACK_HOLE_CLUSTER,
                    ..*self
                };
                return vec![to.tcp("refused", json!({}))];
            }
            Served::Plaintext if tcp_only => return vec![self.tcp("tcp", json!({}))],
            Served::Plaintext => Vec::new(),
            Served::Permissive | Served::Strict => self.mutual_tls(protocol, served, trust_domain),
        };
        if served == Served::Strict {
            return chains;
        }
        if !tcp_only {
            chains.push(self.http("http", plaintext_http()));
        }
        chains.push(self.tcp("tcp", json!({ "transport_protocol": "raw_buffer" })));
        chains.push(self.tcp("tls", json!({ "transport_protocol": "tls" })));
        chains
    }

    /// The chains of clients of the mesh: of one that names HTTP by ALPN, and of one that does not.
    /// Where nobody else is served, all TLS is meant for them.
    fn mutual_tls(
        &self,
        protocol: Protocol,
        served: Served,
        trust_domain: Option<&TrustDomain>,
    ) -> Vec<Value> {
        let Some(trust_domain) = trust_domain else {
            return Vec::new();
        };
        let named =
            |alpn: &[&str]| json!({ "transport_protocol": "tls", "application_protocols": alpn });
        let rest = |alpn: &[&str]| match served {
            Served::Strict => json!({ "transport_protocol": "tls" }),
            _ => named(alpn),
        };
        let within = |mut chain: Value, alpn: &[&str]| {
            chain["transport_socket"] = tls::downstream(trust_domain, alpn);
            chain["transport_socket_connect_timeout"] = FIRST_BYTES.into();
            chain
        };
        let http = |kind: &str, criteria| within(self.http(kind, criteria), &tls::HTTP);
        let tcp = |kind: &str, criteria| within(self.tcp(kind, criteria), &[]);
        let any: Vec<_> = tls::MESH_TCP.into_iter().chain(tls::MESH_HTTP).collect();
        match protocol {
            Protocol::Http | Protocol::Http2 => vec![http("mtls", rest(&any))],
            Protocol::Auto => vec![
                http("mtls-http", named(&tls::MESH_HTTP)),
                tcp("mtls-tcp", rest(&tls::MESH_TCP)),
            ],
            Protocol::Tcp | Protocol::Tls => vec![tcp("mtls", rest(&any))],
        }
    }

    fn http(&self, kind: &str, criteria: Value) -> Value {
        let routes = (self.cluster, all_to(self.cluster));
        let manager = http_connection_manager(self.stat_prefix, routes, Vec::new());
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
pub(super) fn chain(name: &str, criteria: Value, filter: Value) -> Value {
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
