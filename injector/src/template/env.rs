//! Environment of the sidecar.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir_api::{
    capture::CaptureMode,
    flows,
    inbound_demands::InboundDemands,
    inbound_tls::InboundTls,
    mesh_metrics::MeshMetrics,
    sidecar::{PROXY_CONTAINER, PodPort, env},
    spiffe::TrustDomain,
    workload::LABELS,
};

use super::workload::Workload;
use crate::{Config, config::SidecarKind, pod::Pod, settings::Settings};

/// Kubernetes' default of a pod's grace period, and the agent's of its drain timeout.
const GRACE_PERIOD: u64 = 30;

/// The variables, in the order of the contract.
pub(super) fn variables(pod: &Pod<'_>, settings: &Settings, config: &Config) -> Vec<Value> {
    let workload = Workload::of(pod);
    let mut variables = vec![
        field(env::POD_NAME, "metadata.name"),
        field(env::POD_NAMESPACE, "metadata.namespace"),
        field(env::POD_IP, "status.podIP"),
        field(env::POD_IPS, "status.podIPs"),
        field(env::SERVICE_ACCOUNT, "spec.serviceAccountName"),
        field(env::NODE_NAME, "spec.nodeName"),
        value(env::CONTROL_PLANE, &config.control_plane),
        value(env::POD_PORTS, &json!(ports(pod)).to_string()),
        json!({"name": env::CPU_REQUEST, "valueFrom": {"resourceFieldRef": {
            "containerName": PROXY_CONTAINER, "resource": "requests.cpu", "divisor": "1m",
        }}}),
        value(env::WORKLOAD, &workload.name),
        value(env::WORKLOAD_KIND, &workload.kind),
        value(env::CLUSTER_DOMAIN, &config.cluster_domain),
    ];
    let labels = labels(pod);
    if !labels.is_empty() {
        variables.push(value(env::POD_LABELS, &json!(labels).to_string()));
    }
    if config.trust_domain != TrustDomain::default() {
        variables.push(value(env::TRUST_DOMAIN, config.trust_domain.as_str()));
    }
    variables.extend(settings.inbound.iter().flat_map(demanded));
    if config.mesh_metrics != MeshMetrics::default() {
        variables.push(value(env::MESH_METRICS, &config.mesh_metrics.to_string()));
    }
    if !config.mesh_metrics_without.is_empty() {
        let labels = config.mesh_metrics_without.iter();
        let labels: Vec<_> = labels.map(|label| label.name()).collect();
        variables.push(value(env::MESH_METRICS_WITHOUT, &labels.join(",")));
    }
    if config.flow_minutes != flows::DEFAULT_MINUTES {
        variables.push(value(env::FLOW_MINUTES, &config.flow_minutes.to_string()));
    }
    if settings.capture.mode == CaptureMode::None {
        variables.push(value(env::CAPTURE_MODE, &CaptureMode::None.to_string()));
    }
    if settings.sidecar == SidecarKind::Native {
        // It is stopped when the application has ended: nobody is left to serve.
        variables.push(value(env::DRAIN_MINIMUM, "0"));
    }
    if let Some(seconds) = pod.grace_period.filter(|seconds| *seconds != GRACE_PERIOD) {
        variables.push(value(env::DRAIN_TIMEOUT, &seconds.to_string()));
    }
    if let Some(threads) = settings.concurrency {
        variables.push(value(env::CONCURRENCY, &threads.to_string()));
    }
    if let Some(level) = &settings.log_level {
        variables.push(value(env::LOG, level));
    }
    variables
}

/// What rules demand of whoever connects, and who is answered all the same.
fn demanded(demands: &InboundDemands) -> Vec<Value> {
    let mut variables = Vec::new();
    if demands.tls != InboundTls::default() {
        variables.push(value(env::INBOUND_TLS, &demands.tls.to_string()));
    }
    if demands.is_guarded {
        variables.push(value(env::REFUSE_INBOUND, "true"));
    }
    if demands.refuse_plaintext() && !demands.probes.is_empty() {
        let probes = json!(demands.probes).to_string();
        variables.push(value(env::PROBES, &probes));
        variables.push(field(env::HOST_IP, "status.hostIP"));
    }
    variables
}

/// Ports of everything in the pod that runs as long as the application does.
fn ports<'a>(pod: &'a Pod<'_>) -> Vec<&'a PodPort> {
    let sidecars = pod
        .init_containers
        .iter()
        .filter(|container| container.is_sidecar());
    pod.containers
        .iter()
        .chain(sidecars)
        .filter(|container| container.name != PROXY_CONTAINER)
        .flat_map(|container| &container.ports)
        .collect()
}

/// The labels by which metrics name the workload.
fn labels<'a>(pod: &'a Pod<'_>) -> BTreeMap<&'static str, &'a str> {
    let known = LABELS.into_iter();
    known
        .filter_map(|key| Some((key, *pod.labels.get(key)?)))
        .collect()
}

fn value(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}
