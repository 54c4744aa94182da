//! Endpoints of services that come with a selector and pods but without EndpointSlices: what the
//! EndpointSlice controller does in a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::document::Manifest;
use crate::{
    kubernetes::{
        self, SERVICE_NAME_LABEL,
        wire::{Pod, Service, ServicePort, ServiceSpec},
    },
    model::{
        EndpointPort, EndpointSlice, Hints, Interner, Locality, NamespacedName, Readiness,
        SliceEndpoint,
    },
};

/// Slices for every service with a selector that no manifest has a slice for. A named target port
/// may differ from pod to pod, so there is one slice for each set of port numbers.
pub(super) fn derive<'a>(
    manifests: impl Iterator<Item = &'a Manifest> + Clone,
    names: &'a Interner,
) -> impl Iterator<Item = EndpointSlice> {
    let with_slices: BTreeSet<_> = manifests.clone().filter_map(sliced_service).collect();
    let mut pods: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for manifest in manifests.clone() {
        if let Manifest::Pod(pod) = manifest {
            pods.entry(pod.metadata.namespace()).or_default().push(pod);
        }
    }
    manifests
        .filter_map(|manifest| match manifest {
            Manifest::Service(service) => Some(service),
            _ => None,
        })
        .filter(move |service| !name(service).is_some_and(|name| with_slices.contains(&name)))
        .flat_map(move |service| {
            let namespace = service.metadata.namespace();
            let pods = pods.get(namespace).map(Vec::as_slice);
            slices(service, pods.unwrap_or_default(), names)
        })
}

fn sliced_service(manifest: &Manifest) -> Option<NamespacedName> {
    let Manifest::EndpointSlice(slice) = manifest else {
        return None;
    };
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(NamespacedName::new(slice.metadata.namespace(), service))
}

fn name(service: &Service) -> Option<NamespacedName> {
    let name = service.metadata.name.as_deref()?;
    Some(NamespacedName::new(service.metadata.namespace(), name))
}

fn slices(service: &Service, pods: &[&Pod], names: &Interner) -> Vec<EndpointSlice> {
    let (Some(service_name), Some(spec)) = (name(service), &service.spec) else {
        return Vec::new();
    };
    let Some(selector) = spec
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty())
    else {
        return Vec::new();
    };
    let unready_too = spec.publish_not_ready_addresses == Some(true);
    let mut by_ports: BTreeMap<Vec<(String, u16)>, Vec<SliceEndpoint>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| selects(selector, pod)) {
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let name = port.name.clone().unwrap_or_default();
            Some((name, target(port, pod)?))
        });
        let endpoints = endpoints(pod, unready_too, names).into_iter();
        let endpoints = endpoints.filter(|endpoint| has_family(spec, endpoint.address));
        by_ports
            .entry(ports.collect())
            .or_default()
            .extend(endpoints);
    }
    by_ports
        .into_iter()
        .enumerate()
        .map(|(at, (ports, endpoints))| EndpointSlice {
            // No name an object can have: it never meets a slice out of a file.
            name: NamespacedName::new(
                &service_name.namespace,
                &format!("{}/{at}", service_name.name),
            ),
            service: service_name.clone(),
            ports: ports
                .into_iter()
                .map(|(name, port)| EndpointPort { name, port })
                .collect(),
            endpoints,
        })
        .collect()
}

fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let has = |key| labels.and_then(|labels| labels.get(key));
    selector.iter().all(|(key, value)| has(key) == Some(value))
}

/// Whether a service has endpoints of that family: as it says, else those of its own addresses;
/// one without addresses has both.
fn has_family(spec: &ServiceSpec, address: IpAddr) -> bool {
    if let Some(families) = &spec.ip_families {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        return families.iter().any(|named| named == family);
    }
    let own = spec
        .cluster_ip
        .iter()
        .chain(spec.cluster_ips.iter().flatten());
    let mut own = own
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .peekable();
    own.peek().is_none() || own.any(|own| own.is_ipv4() == address.is_ipv4())
}

fn endpoints(pod: &Pod, unready_too: bool, names: &Interner) -> Vec<SliceEndpoint> {
    // What is wrong with the pod is reported where it is read for itself.
    let Some(read) = kubernetes::pod(pod, names, &mut Vec::new()) else {
        return Vec::new();
    };
    let ready = kubernetes::pod_is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let readiness = match (ready, terminating) {
        _ if unready_too => Readiness::Ready,
        (true, false) => Readiness::Ready,
        (true, true) => Readiness::Draining,
        (false, _) => Readiness::NotReady,
    };
    let endpoint = |address| SliceEndpoint {
        address,
        readiness,
        node: read.node.clone(),
        locality: names.locality(&Locality::default()),
        hints: names.hints(&Hints::default()),
        pod: Some(read.name.clone()),
    };
    read.addresses.iter().copied().map(endpoint).collect()
}

/// The port a pod listens on for a port of the service.
fn target(port: &ServicePort, pod: &Pod) -> Option<u16> {
    if port
        .protocol
        .as_deref()
        .is_some_and(|protocol| protocol != "TCP")
    {
        return None;
    }
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.as_ref()?.containers.iter().flatten();
            let ports = containers.flat_map(|container| container.ports.iter().flatten());
            let mut named = ports.filter(|port| port.name.as_deref() == Some(name));
            named.next()?.container_port
        }
    };
    u16::try_from(number).ok().filter(|number| *number != 0)
}
