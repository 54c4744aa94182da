//! `discovery.k8s.io/v1.EndpointSlice` to [`EndpointSlice`].

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1 as discovery;

use super::{Problem, Problems, is_tcp};
use crate::model::{
    EndpointPort, EndpointSlice, Hints, Locality, NamespacedName, Readiness, SliceEndpoint,
};

/// Label of a slice that names its service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Reads an EndpointSlice. `None` if it has no name or belongs to no service, which is nothing
/// wrong; ports and endpoints that make no sense are left out.
pub fn endpoint_slice(
    slice: &discovery::EndpointSlice,
    problems: &mut Vec<Problem>,
) -> Option<EndpointSlice> {
    let mut problems = Problems::of("EndpointSlice", &slice.metadata, problems);
    let name = problems.name(&slice.metadata)?;
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    let service = NamespacedName::new(&name.namespace, service);
    if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
        let reason = format!("{:?} is not supported: IPv4 or IPv6", slice.address_type);
        problems.push("addressType", reason);
        return None;
    }
    let mut endpoints = Vec::with_capacity(slice.endpoints.len());
    for (at, endpoint) in slice.endpoints.iter().enumerate() {
        endpoints.extend(read_endpoint(slice, endpoint, at, &mut problems));
    }
    Some(EndpointSlice {
        name,
        service,
        ports: ports(slice, &mut problems),
        endpoints,
    })
}

fn ports(slice: &discovery::EndpointSlice, problems: &mut Problems) -> Vec<EndpointPort> {
    let mut ports = Vec::new();
    for (at, port) in slice.ports.iter().flatten().enumerate() {
        if !is_tcp(port.protocol.as_deref()) {
            continue;
        }
        let field = format!("ports[{at}].port");
        let Some(number) = port.port else {
            problems.push(field, "is missing; \"all ports\" is not supported");
            continue;
        };
        if let Some(number) = problems.port(field, number) {
            ports.push(EndpointPort {
                name: port.name.clone().unwrap_or_default(),
                port: number,
            });
        }
    }
    ports
}

fn read_endpoint(
    slice: &discovery::EndpointSlice,
    endpoint: &discovery::Endpoint,
    at: usize,
    problems: &mut Problems,
) -> Option<SliceEndpoint> {
    // Several addresses of one endpoint are the same place: readers use the first.
    let Some(text) = endpoint.addresses.first() else {
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
    let target = endpoint.target_ref.as_ref();
    let target = target.filter(|target| target.kind.as_deref() == Some("Pod"));
    let namespace = super::namespace(&slice.metadata);
    Some(SliceEndpoint {
        address,
        readiness: readiness(endpoint.conditions.as_ref()),
        node: endpoint.node_name.as_deref().map(Arc::from),
        locality: Arc::new(Locality {
            zone: endpoint.zone.as_deref().unwrap_or_default().into(),
            ..Locality::default()
        }),
        hints: Arc::new(hints(endpoint.hints.as_ref())),
        pod: target.and_then(|target| {
            let namespace = target.namespace.as_deref().unwrap_or(namespace);
            Some(NamespacedName::new(namespace, target.name.as_deref()?))
        }),
    })
}

fn hints(hints: Option<&discovery::EndpointHints>) -> Hints {
    let zones = hints.and_then(|hints| hints.for_zones.as_ref());
    let nodes = hints.and_then(|hints| hints.for_nodes.as_ref());
    Hints {
        zones: zones
            .into_iter()
            .flatten()
            .map(|it| it.name.as_str().into())
            .collect(),
        nodes: nodes
            .into_iter()
            .flatten()
            .map(|it| it.name.as_str().into())
            .collect(),
    }
}

/// An unset condition is the good one. An endpoint may be ready and terminating at once, when its
/// service publishes addresses that are not ready; it says itself that it wants traffic.
fn readiness(conditions: Option<&discovery::EndpointConditions>) -> Readiness {
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
