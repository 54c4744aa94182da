//! Kubernetes objects as they travel, cut down to what the model needs.
//!
//! Everything else is skipped while it is read and never takes memory: of a pod with a specification
//! of many kilobytes some hundred bytes are kept, for as long as it takes to turn them into the
//! model's. Lists may be `null`, as the API server writes empty ones.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString};
use serde::{Deserialize, de::IgnoredAny};
use weir_api::annotations::TLS_MODE_MUTUAL;

/// Metadata of any object.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Its name.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its version, of which only equality means something.
    pub resource_version: Option<String>,
    /// When it was created.
    pub creation_timestamp: Option<Time>,
    /// Since when it is going away.
    pub deletion_timestamp: Option<Time>,
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Its annotations.
    pub annotations: Option<Annotations>,
    /// Who owns it.
    pub owner_references: Option<Vec<OwnerReference>>,
}

// === impl Meta ===

impl Meta {
    /// Namespace of the object. Manifests may leave it out; objects of no namespace have none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// When the object was created, in seconds since 1970.
    #[must_use]
    pub fn created(&self) -> Option<i64> {
        let created = self.creation_timestamp.as_ref();
        created.map(|time| time.0.as_second())
    }

    /// Kind, namespace and name, for people.
    #[must_use]
    pub fn describe(&self, kind: &str) -> String {
        let name = self.name.as_deref().unwrap_or("(without a name)");
        match &self.namespace {
            None if kind == "Node" => format!("{kind} {name}"),
            _ => format!("{kind} {}/{name}", self.namespace()),
        }
    }
}

/// The annotations that matter here: what the injector did to a pod, and whether a policy is enforced.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// It was given a sidecar.
    #[serde(rename = "weir.dev/status")]
    pub status: Option<IgnoredAny>,
    /// How traffic is captured, where that is not as usual.
    #[serde(rename = "weir.dev/capture-mode")]
    pub capture_mode: Option<IgnoredAny>,
    /// The only ports that are captured.
    #[serde(rename = "weir.dev/include-inbound-ports")]
    pub include_inbound_ports: Option<IgnoredAny>,
    /// Ports that are not captured.
    #[serde(rename = "weir.dev/exclude-inbound-ports")]
    pub exclude_inbound_ports: Option<IgnoredAny>,
    /// Whether the sidecar takes mutual TLS.
    #[serde(rename = "weir.dev/tls-mode")]
    pub tls_mode: Option<Box<str>>,
    /// Whether a policy is only watched.
    #[serde(rename = "istio.io/dry-run")]
    pub dry_run: Option<Box<str>>,
}

// === impl Annotations ===

impl Annotations {
    /// Whether all that comes to the pod goes through a sidecar. Where somebody chose what does, the
    /// answer is no: it takes little to be wrong, and costs little not to know.
    #[must_use]
    pub fn say_sidecar(&self) -> bool {
        let Self {
            status,
            capture_mode,
            include_inbound_ports,
            exclude_inbound_ports,
            tls_mode: _,
            dry_run: _,
        } = self;
        let chosen = [capture_mode, include_inbound_ports, exclude_inbound_ports];
        status.is_some() && chosen.iter().all(|choice| choice.is_none())
    }

    /// Whether mutual TLS is taken on every port of the pod.
    #[must_use]
    pub fn say_mutual_tls(&self) -> bool {
        self.say_sidecar() && self.tls_mode.as_deref() == Some(TLS_MODE_MUTUAL)
    }
}

/// An owner of an object.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Kind of the owner.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is the one that controls.
    pub controller: Option<bool>,
}

/// `v1.Service`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// What it is to be.
    pub spec: Option<ServiceSpec>,
    /// What it is.
    pub status: Option<ServiceStatus>,
}

/// What a service is to be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Its type; none is `ClusterIP`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Its first address, or `None`.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// Its addresses, one of a family.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Option<Vec<String>>,
    /// Addresses outside of what the cluster gives away.
    #[serde(rename = "externalIPs")]
    pub external_ips: Option<Vec<String>>,
    /// Families of its endpoints.
    pub ip_families: Option<Vec<String>>,
    /// Its ports.
    pub ports: Option<Vec<ServicePort>>,
    /// Which pods stand behind it.
    pub selector: Option<BTreeMap<String, String>>,
    /// Whether pods that are not ready count as if they were.
    pub publish_not_ready_addresses: Option<bool>,
    /// `None` or `ClientIP`.
    pub session_affinity: Option<String>,
    /// `Cluster` or `Local`.
    pub internal_traffic_policy: Option<String>,
    /// Which endpoints are preferred.
    pub traffic_distribution: Option<String>,
}

/// A port of a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// `TCP` unless it says otherwise.
    pub protocol: Option<String>,
    /// What it speaks.
    pub app_protocol: Option<String>,
    /// Its number.
    pub port: i32,
    /// Number or name at the pods.
    pub target_port: Option<IntOrString>,
}

/// What a service is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// What its load balancer is.
    pub load_balancer: Option<LoadBalancer>,
}

/// The load balancer of a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// Where it is reached.
    pub ingress: Option<Vec<Ingress>>,
}

/// An address of a load balancer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// The address; none where it has a host name.
    pub ip: Option<String>,
    /// `VIP`, or `Proxy` where traffic from within has to pass the load balancer.
    pub ip_mode: Option<String>,
}

/// `discovery.k8s.io/v1.EndpointSlice`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// Metadata.
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The endpoints.
    pub endpoints: Option<Vec<Endpoint>>,
    /// Ports every endpoint listens on.
    pub ports: Option<Vec<EndpointPort>>,
}

/// An endpoint of a slice.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses, all the same place.
    pub addresses: Option<Vec<String>>,
    /// Its state.
    pub conditions: Option<EndpointConditions>,
    /// For whom it is meant.
    pub hints: Option<EndpointHints>,
    /// The node it is on.
    pub node_name: Option<String>,
    /// What is behind it.
    pub target_ref: Option<TargetRef>,
    /// The zone it is in.
    pub zone: Option<String>,
}

/// State of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Whether it wants traffic.
    pub ready: Option<bool>,
    /// Whether it could take some.
    pub serving: Option<bool>,
    /// Whether it is going away.
    pub terminating: Option<bool>,
}

/// For whom an endpoint is meant.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointHints {
    /// Clients in these zones.
    pub for_zones: Option<Vec<Named>>,
    /// Clients on these nodes.
    pub for_nodes: Option<Vec<Named>>,
}

/// Something with a name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// What is behind an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// Its kind.
    pub kind: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

/// A port of a slice.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// Name of the service port it stands for.
    pub name: Option<String>,
    /// Its number; none is every port.
    pub port: Option<i32>,
    /// `TCP` unless it says otherwise.
    pub protocol: Option<String>,
}

/// `v1.Pod`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Metadata.
    pub metadata: Meta,
    /// What it is to be.
    pub spec: Option<PodSpec>,
    /// What it is.
    pub status: Option<PodStatus>,
}

/// What a pod is to be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The node it is on.
    pub node_name: Option<String>,
    /// Its service account.
    pub service_account_name: Option<String>,
    /// Whether it uses the network of its node.
    pub host_network: Option<bool>,
    /// Its containers.
    pub containers: Option<Vec<Container>>,
    /// Its init containers, native sidecars among them.
    pub init_containers: Option<Vec<Container>>,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Ports it says it listens on.
    pub ports: Option<Vec<ContainerPort>>,
    /// Tells whether it is to be started again.
    pub liveness_probe: Option<Probe>,
    /// Tells whether it takes traffic.
    pub readiness_probe: Option<Probe>,
    /// Tells whether it has started.
    pub startup_probe: Option<Probe>,
}

/// What the kubelet asks a container. That a port can be connected to, it needs no answer for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// A request.
    pub http_get: Option<HttpGet>,
    /// A call of gRPC's health service.
    pub grpc: Option<GrpcProbe>,
}

/// A request of a probe.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HttpGet {
    /// Whom it is sent to, where that is not the pod.
    pub host: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// Number or name of the port.
    pub port: Option<IntOrString>,
    /// `HTTP` unless it says otherwise.
    pub scheme: Option<String>,
}

/// A call of gRPC's health service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GrpcProbe {
    /// Number of the port.
    pub port: i32,
}

/// A port of a container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Its name.
    pub name: Option<String>,
    /// Its number.
    pub container_port: i32,
}

/// What a pod is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Where it is in its life.
    pub phase: Option<String>,
    /// Its first address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// All its addresses.
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIp>>,
    /// The first address of its node.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    /// All addresses of its node.
    #[serde(rename = "hostIPs")]
    pub host_ips: Option<Vec<PodIp>>,
    /// Its conditions.
    pub conditions: Option<Vec<PodCondition>>,
}

/// An address of a pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// A condition of a pod.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodCondition {
    /// Which.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// `v1.Node`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    pub metadata: Meta,
    /// What it is to be.
    pub spec: Option<NodeSpec>,
    /// What it is.
    pub status: Option<NodeStatus>,
}

/// What a node is to be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// The ranges of its pods' addresses.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Option<Vec<String>>,
}

/// What a node is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses.
    pub addresses: Option<Vec<NodeAddress>>,
}

/// An address of a node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname` and others.
    #[serde(rename = "type")]
    pub type_: String,
    /// The address.
    pub address: String,
}
