//! A cluster that was made up: services of ten endpoints each, as the API server would show them.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// Endpoints of each service, one pod each.
pub(crate) const ENDPOINTS: u32 = 10;
/// Services of a namespace.
const PER_NAMESPACE: u32 = 100;
/// Pods of a node, as kubelets have it by default, and a little less.
const PER_NODE: u32 = 100;

/// The cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) services: u32,
}

/// A kind of object, as a watch asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Service,
    EndpointSlice,
    Pod,
    Node,
    Namespace,
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Node,
        Self::Namespace,
    ];

    /// Where the API server has it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Service => "/api/v1/services",
            Self::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
            Self::Pod => "/api/v1/pods",
            Self::Node => "/api/v1/nodes",
            Self::Namespace => "/api/v1/namespaces",
        }
    }

    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            _ => "v1",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// How many objects of a kind there are.
    pub(crate) fn count(self, kind: Kind) -> u32 {
        match kind {
            Kind::Service | Kind::EndpointSlice => self.services,
            Kind::Pod => self.services * ENDPOINTS,
            Kind::Node => (self.services * ENDPOINTS).div_ceil(PER_NODE),
            Kind::Namespace => self.services.div_ceil(PER_NAMESPACE),
        }
    }

    /// The object of that number.
    pub(crate) fn object(self, kind: Kind, number: u32) -> Value {
        let mut object = match kind {
            Kind::Service => service(number),
            Kind::EndpointSlice => self.slice(number, ENDPOINTS),
            Kind::Pod => self.pod(number),
            Kind::Node => node(number),
            Kind::Namespace => json!({"metadata": {"name": namespace_of(number)}}),
        };
        object["kind"] = kind.name().into();
        object["apiVersion"] = kind.api_version().into();
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        object["metadata"]["uid"] =
            format!("{:08x}-0000-4000-8000-{number:012x}", kind as u32).into();
        object["metadata"]["managedFields"] = managed_fields();
        object
    }

    /// The slice of a service, with as many of its endpoints as are ready.
    pub(crate) fn slice(self, service: u32, ready: u32) -> Value {
        let endpoints = (0..ENDPOINTS).map(|at| {
            let pod = service * ENDPOINTS + at;
            let is_ready = at < ready;
            json!({
                "addresses": [pod_address(pod)],
                "conditions": {"ready": is_ready, "serving": is_ready, "terminating": false},
                "nodeName": self.node_of(pod),
                "targetRef": {"kind": "Pod", "namespace": namespace(service), "name": pod_name(pod)},
            })
        });
        json!({
            "kind": "EndpointSlice",
            "apiVersion": "discovery.k8s.io/v1",
            "metadata": {
                "name": format!("{}-x2x4z", name(service)),
                "namespace": namespace(service),
                "labels": {"kubernetes.io/service-name": name(service), "app": name(service)},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    }

    fn pod(self, number: u32) -> Value {
        let service = number / ENDPOINTS;
        let app = name(service);
        let env = (0..8)
            .map(|at| json!({"name": format!("SETTING_{at}"), "value": "of the application"}));
        json!({
            "metadata": {
                "name": pod_name(number),
                "namespace": namespace(service),
                "labels": {"app": app, "pod-template-hash": "7d9f8b6c5"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-7d9f8b6c5"),
                    "controller": true, "uid": "00000000-0000-4000-8000-000000000000",
                }],
            },
            "spec": {
                "nodeName": self.node_of(number),
                "serviceAccountName": app,
                "containers": [{
                    "name": "app", "image": format!("registry.example/shop/{app}:v1.2.3"),
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "env": env.collect::<Vec<_>>(),
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
                }],
                "tolerations": [
                    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300},
                    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300},
                ],
            },
            "status": {
                "phase": "Running",
                "podIP": pod_address(number),
                "podIPs": [{"ip": pod_address(number)}],
                "conditions": [
                    {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                    {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"},
                ],
                "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0}],
            },
        })
    }

    fn node_of(self, pod: u32) -> String {
        node_name(pod % self.count(Kind::Node))
    }
}

fn service(number: u32) -> Value {
    json!({
        "metadata": {"name": name(number), "namespace": namespace(number), "labels": {"app": name(number)}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": service_address(number),
            "clusterIPs": [service_address(number)],
            "ipFamilies": ["IPv4"],
            "selector": {"app": name(number)},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
    })
}

fn node(number: u32) -> Value {
    let zone = format!("zone-{}", number % 3);
    let labels =
        json!({"topology.kubernetes.io/region": "region-1", "topology.kubernetes.io/zone": zone});
    json!({"metadata": {"name": node_name(number), "labels": labels}})
}

/// What `kubectl get --show-managed-fields` shows, which every object carries and nobody needs.
fn managed_fields() -> Value {
    let fields = (0..20).map(|at| (format!("f:field-{at}"), json!({".": {}, "f:nested": {}})));
    json!([{
        "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": fields.collect::<serde_json::Map<_, _>>(),
    }])
}

pub(crate) fn name(service: u32) -> String {
    format!("service-{service}")
}

pub(crate) fn namespace(service: u32) -> String {
    namespace_of(service / PER_NAMESPACE)
}

fn namespace_of(number: u32) -> String {
    format!("team-{number}")
}

fn node_name(number: u32) -> String {
    format!("node-{number}")
}

fn pod_name(number: u32) -> String {
    format!(
        "{}-7d9f8b6c5-{:05}",
        name(number / ENDPOINTS),
        number % ENDPOINTS
    )
}

/// The address of a service, out of 10.96.0.0/12.
pub(crate) fn service_address(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 96, 0, 0)) + number + 1).into()
}

/// The address of a pod, out of 10.128.0.0/9.
pub(crate) fn pod_address(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 128, 0, 0)) + number + 1).into()
}
