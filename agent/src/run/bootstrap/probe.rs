//! What is answered to the kubelet where it would be refused, with the chains that the control plane has
//! for it, too.

use std::net::IpAddr;

use serde_json::{Value, json};
use weir_api::{
    inbound_demands::{GRPC_HEALTH, Probe},
    inbound_tls::Served,
    names,
};

use super::{
    Sidecar,
    inbound::{chain, plaintext_http},
    parts::{http_connection_manager, tcp_proxy},
    refused,
};

/// The probes that would be refused like anybody in plaintext, in the order of their ports. One of a port
/// that nobody can be served on is.
pub(super) fn answered<'a>(sidecar: &'a Sidecar<'_>) -> impl Iterator<Item = &'a Probe> {
    let demands = &sidecar.demands;
    let from_somewhere = !sidecar.node_addresses.is_empty();
    let probes = demands.probes.iter().filter(move |_| from_somewhere);
    probes.filter(move |probe| match sidecar.served_on(probe.port) {
        Served::Strict => true,
        Served::Permissive | Served::Plaintext => demands.is_guarded,
        Served::Refused => false,
    })
}

/// Chains for each port that is probed: from the pod's own node, exactly what its probes ask, and any TLS
/// where they ask over TLS.
pub(super) fn chains(sidecar: &Sidecar<'_>) -> Vec<Value> {
    let mut probes: Vec<_> = answered(sidecar).collect();
    probes.sort_by_key(|probe| probe.port);
    let of_ports = probes.chunk_by(|one, other| one.port == other.port);
    let chains = of_ports.flat_map(|probes| {
        let plaintext: Vec<_> = probes.iter().copied().filter(|probe| !probe.tls).collect();
        let plaintext = (!plaintext.is_empty()).then(|| of_port(sidecar, &plaintext));
        let tls = probes.iter().find(|probe| probe.tls);
        let tls = tls.map(|probe| over_tls(sidecar, probe.port));
        plaintext.into_iter().chain(tls)
    });
    chains.collect()
}

/// Nobody but the application sees what is asked.
fn over_tls(sidecar: &Sidecar<'_>, number: u16) -> Value {
    let mut criteria = json!({ "transport_protocol": "tls" });
    come_from_the_node(&mut criteria, sidecar, number);
    let to = tcp_proxy(&names::inbound_cluster(number));
    chain(&format!("inbound|{number}|probe-tls"), criteria, to)
}

fn come_from_the_node(criteria: &mut Value, sidecar: &Sidecar<'_>, number: u16) {
    criteria["destination_port"] = number.into();
    let from = sidecar.node_addresses.iter();
    criteria["source_prefix_ranges"] = from.map(|address| alone(*address)).collect();
}

/// Whoever asks from the node for something else is refused: where policies are about the pod, as
/// everybody is.
fn of_port(sidecar: &Sidecar<'_>, probes: &[&Probe]) -> Value {
    let number = probes[0].port;
    let cluster = names::inbound_cluster(number);
    let mut routes: Vec<_> = probes.iter().map(|probe| route(probe, &cluster)).collect();
    let (mut stat_prefix, mut filters) = (format!("inbound_{number}"), Vec::new());
    // Beside a chain of all plaintext HTTP it must ask for no less.
    let mut criteria = plaintext_http();
    if sidecar.demands.is_guarded {
        let exempt = |route: &mut Value| route["typed_per_filter_config"] = refused::exempt();
        routes.iter_mut().for_each(exempt);
        routes.push(json!({
            "name": "refused", "match": { "prefix": "/" }, "route": { "cluster": cluster },
        }));
        filters.push(refused::rbac());
    } else {
        stat_prefix += "_probe";
        routes.push(json!({
            "name": "refused", "match": { "prefix": "/" }, "direct_response": { "status": 403 },
        }));
        criteria = json!({ "transport_protocol": "raw_buffer" });
    }
    come_from_the_node(&mut criteria, sidecar, number);
    let routes = (cluster.as_str(), Value::from(routes));
    let manager = http_connection_manager(&stat_prefix, routes, filters);
    chain(&format!("inbound|{number}|probe"), criteria, manager)
}

/// The range of one address.
fn alone(address: IpAddr) -> Value {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    json!({ "address_prefix": address.to_string(), "prefix_len": bits })
}

fn route(probe: &Probe, cluster: &str) -> Value {
    let (method, path) = match &probe.path {
        Some(path) => ("GET", path.as_str()),
        None => ("POST", GRPC_HEALTH),
    };
    json!({
        "name": "probe",
        "match": {
            "path": path,
            "headers": [{ "name": ":method", "string_match": { "exact": method } }],
        },
        "route": { "cluster": cluster, "timeout": "0s" },
    })
}
