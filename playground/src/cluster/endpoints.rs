//! Which pods stand behind a Service, as the EndpointSlice controller derives it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use super::{Cluster, LivePod, ports_of};

/// Pods that the selector of `service` names, ready or not.
#[must_use]
pub fn pods_of<'a>(cluster: &'a Cluster, service: &Service) -> Vec<&'a LivePod> {
    let Some(selector) = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
    else {
        return Vec::new();
    };
    if selector.is_empty() {
        return Vec::new();
    }
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let pods = cluster
        .pods
        .iter()
        .filter(|(key, _)| key.namespace == namespace);
    pods.map(|(_, pod)| pod)
        .filter(|pod| selects(selector, &pod.pod))
        .collect()
}

/// Whether every label of `selector` is one of the pod's.
#[must_use]
pub fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector
        .iter()
        .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

/// The port of `pod` that `port` of a Service leads to; `None` if the pod has no port of that name.
#[must_use]
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => named_port(name, pod),
    }
}

/// The container port called `name`; sidecars among the init containers count too.
#[must_use]
pub fn named_port(name: &str, pod: &Pod) -> Option<u16> {
    let ports = containers(pod).flat_map(|container| container.ports.iter().flatten());
    let port = ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(port.container_port).ok()
}

/// Containers of a pod that stay: its own, then native sidecars.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    let init = spec
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or_default();
    let sidecars = init
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.map_or(&[][..], |spec| &spec.containers)
        .iter()
        .chain(sidecars)
}

/// The EndpointSlices of `service`: one for each set of target ports its pods have.
#[must_use]
pub fn slices(cluster: &Cluster, service: &Service) -> Vec<Value> {
    let metadata = &service.metadata;
    let (Some(name), Some(namespace)) = (&metadata.name, &metadata.namespace) else {
        return Vec::new();
    };
    let mut groups: BTreeMap<Vec<Option<u16>>, Vec<&LivePod>> = BTreeMap::new();
    for pod in pods_of(cluster, service)
        .into_iter()
        .filter(|pod| !pod.status.finished)
    {
        let targets = ports_of(service)
            .iter()
            .map(|port| target_port(port, &pod.pod))
            .collect();
        groups.entry(targets).or_default().push(pod);
    }
    let slice = |(index, (targets, pods)): (usize, (Vec<Option<u16>>, Vec<&LivePod>))| {
        let ports: Vec<Value> = ports_of(service)
            .iter()
            .zip(targets)
            .filter_map(|(port, target)| {
                let mut value = json!({
                    "name": port.name.as_deref().unwrap_or_default(),
                    "port": target?,
                    "protocol": port.protocol.as_deref().unwrap_or("TCP"),
                });
                if let Some(protocol) = &port.app_protocol {
                    value["appProtocol"] = json!(protocol);
                }
                Some(value)
            })
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{name}-{index}"),
                "namespace": namespace,
                "labels": { "kubernetes.io/service-name": name },
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": pods.iter().map(|pod| endpoint(pod, service)).collect::<Vec<_>>(),
        })
    };
    groups.into_iter().enumerate().map(slice).collect()
}

fn endpoint(pod: &LivePod, service: &Service) -> Value {
    let metadata = &pod.pod.metadata;
    let mut value = json!({
        "addresses": [pod.ip],
        "conditions": {
            "ready": pod.status.is_endpoint(service),
            "serving": pod.status.ready,
            "terminating": pod.status.terminating,
        },
        "nodeName": super::live::NODE_NAME,
        "targetRef": {
            "kind": "Pod", "name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid,
        },
    });
    let spec = pod.pod.spec.as_ref();
    if let Some(hostname) = spec.and_then(|spec| spec.hostname.as_ref())
        && spec.and_then(|spec| spec.subdomain.as_ref()) == service.metadata.name.as_ref()
    {
        value["hostname"] = json!(hostname);
    }
    value
}
