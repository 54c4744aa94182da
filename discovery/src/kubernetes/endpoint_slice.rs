//! `discovery.k8s.io/v1.EndpointSlice` to [`EndpointSlice`].

use std::net::IpAddr;

use super::{Problem, Problems, is_tcp, wire};
use crate::model::{
    EndpointPort, EndpointSlice, Hints, Interner, Locality, NamespacedName, Readiness,
    SliceEndpoint,
};

/// Label of a slice that names its service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Reads an EndpointSlice. `None` if it has no name or belongs to no service, which is nothing
/// wrong; ports and endpoints that make no sense are left out.
pub fn endpoint_slice(
    slice: &wire::EndpointSlice,
    names: &Interner,
    problems: &mut Vec<Problem>,
) -> Option<EndpointSlice> {
    let mut problems = Problems::of("EndpointSlice", &slice.metadata, problems);
    let name = problems.name(names)?;
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    let service = NamespacedName {
        namespace: name.namespace.clone(),
        name: names.text(service),
    };
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
        let reason = format!("{:?} is not supported: IPv4 or IPv6", slice.address_type);
        problems.push("addressType", reason);
        return None;
    }
    let declared = slice.endpoints.as_deref().unwrap_or_default();
    let mut endpoints = Vec::with_capacity(declared.len());
    for (at, endpoint) in declared.iter().enumerate() {
        endpoints.extend(read_endpoint(slice, endpoint, at, names, &mut problems));
    }
    Some(EndpointSlice {
        name,
        service,
        ports: ports(slice, &mut problems),
        endpoints,
    })
}

fn ports(slice: &wire::EndpointSlice, problems: &mut Problems) -> Vec<EndpointPort> {
    let mut ports: Vec<EndpointPort> = Vec::new();
    for (at, port) in slice.ports.iter().flatten().enumerate() {
        if !is_tcp(port.protocol.as_deref()) {
            continue;
        }
        let field = format!("ports[{at}].port");
        let Some(number) = port.port else {
            problems.push(field, "is missing; \"all ports\" is not supported");
            continue;
        };
        let Some(number) = problems.port(field, number) else {
            continue;
        };
        let name = port.name.clone().unwrap_or_default();
        if ports.iter().any(|other| other.name == name) {
            problems.push(
                format!("ports[{at}].name"),
                format!("{name:?} is there twice"),
            );
            continue;
        }
        ports.push(EndpointPort { name, port: number });
    }
    ports
}

fn read_endpoint(
    slice: &wire::EndpointSlice,
    endpoint: &wire::Endpoint,
    at: usize,
    names: &Interner,
    problems: &mut Problems,
) -> Option<SliceEndpoint> {
    // Several addresses of one endpoint are the same place: readers use the first.
    let Some(text) = endpoint.addresses.iter().flatten().next() else {
        problems.push(format!("endpoints[{at}].addresses"), "is empty");
        return None;
    };
    let field = || format!("endpoints[{at}].addresses[0]");
    let Ok(address) = text.parse::<IpAddr>() else {
        problems.push(field(), format!("{text:?} is not an IP address"));
        return None;
    };
    if address.is_ipv4() != (slice.address_type == "IPv4") || address.is_unspecified() {
        let reason = format!("{text} does not fit addressType {}", slice.address_type);
        problems.push(field(), reason);
        return None;
    }
    let zone = endpoint.zone.as_deref().unwrap_or_default();
    let locality = Locality {
        zone: names.text(zone),
        ..Locality::default()
    };
    Some(SliceEndpoint {
        address,
        readiness: readiness(endpoint.conditions.as_ref()),
        node: endpoint.node_name.as_deref().map(|node| names.text(node)),
        locality: names.locality(&locality),
        hints: names.hints(&hints(endpoint.hints.as_ref(), names)),
        pod: pod(slice, endpoint, at, names, problems),
    })
}

/// The pod an endpoint says it is. Who may write slices in one namespace may say nothing about the
/// pods of another.
fn pod(
    slice: &wire::EndpointSlice,
    endpoint: &wire::Endpoint,
    at: usize,
    names: &Interner,
    problems: &mut Problems,
) -> Option<NamespacedName> {
    let target = endpoint.target_ref.as_ref();
    let target = target.filter(|target| target.kind.as_deref() == Some("Pod"))?;
    let own = slice.metadata.namespace();
    let namespace = target.namespace.as_deref().unwrap_or(own);
    if namespace != own {
        let reason = format!("{namespace} is not the namespace of the slice");
        problems.push(format!("endpoints[{at}].targetRef.namespace"), reason);
        return None;
    }
    Some(names.name(namespace, target.name.as_deref()?))
}

fn hints(hints: Option<&wire::EndpointHints>, names: &Interner) -> Hints {
    let read = |named: Option<&Vec<wire::Named>>| {
        let named = named.into_iter().flatten();
        named.map(|it| names.text(&it.name)).collect()
    };
    Hints {
        zones: read(hints.and_then(|hints| hints.for_zones.as_ref())),
        nodes: read(hints.and_then(|hints| hints.for_nodes.as_ref())),
    }
}

/// An unset condition is the good one. An endpoint may be ready and terminating at once, when its
/// service publishes addresses that are not ready; it says itself that it wants traffic.
fn readiness(conditions: Option<&wire::EndpointConditions>) -> Readiness {
    let Some(conditions) = conditions else {
        return Readiness::Ready;
    };
    let ready = conditions.ready.unwrap_or(true);
    let terminating = conditions.terminating.unwrap_or(false);
    match (ready, terminating) {
        (true, _) => Readiness::Ready,
        (false, true) if conditions.serving.unwrap_or(false) => Readiness::Draining,
        (false, _) => Readiness::NotReady,
    }
}
