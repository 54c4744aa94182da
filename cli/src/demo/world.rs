//! The pods and Services of a demo as its plan and its checks see them.

use std::{collections::BTreeMap, net::Ipv4Addr};

use weir_api::{names, sidecar};
use weir_playground::{
    Playground,
    cluster::{LivePod, PodKey, endpoints, ports_of},
    image::Program,
    k8s,
};

/// A host that the cluster knows nothing of; the address is one of documentation's.
pub(super) const OUTSIDE: (&str, Ipv4Addr) = ("partner.example", Ipv4Addr::new(203, 0, 113, 10));

/// Everything calls can be made from and to.
pub(super) struct World {
    pub(super) pods: Vec<DemoPod>,
    pub(super) services: Vec<DemoService>,
}

/// A pod of the demo.
#[derive(Debug, Clone)]
pub(super) struct DemoPod {
    pub(super) key: PodKey,
    pub(super) ip: Ipv4Addr,
    /// Whether it has a sidecar.
    pub(super) meshed: bool,
    /// Whether the echo application answers in it.
    pub(super) echo: bool,
    /// Whether it stays, so that calls can be made from it.
    pub(super) stays: bool,
    /// Ports its containers declare, which a sidecar knows from the start.
    pub(super) declared: Vec<u16>,
    /// The container calls are made from.
    pub(super) container: String,
    pub(super) labels: BTreeMap<String, String>,
}

/// A port of a Service with the pods behind it.
#[derive(Debug, Clone)]
pub(super) struct DemoService {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) headless: bool,
    pub(super) port: u16,
    pub(super) port_name: String,
    pub(super) app_protocol: String,
    /// Pods and the port each listens on.
    pub(super) targets: Vec<(PodKey, u16)>,
}

// === impl World ===

impl World {
    /// The pods of `keys` and every Service that leads to one of them.
    pub(super) fn of(playground: &Playground, keys: &[PodKey]) -> Self {
        let cluster = playground.shared().cluster();
        let pods = keys
            .iter()
            .filter_map(|key| Some(DemoPod::of(key, cluster.pods.get(key)?)))
            .collect();
        let mut services = Vec::new();
        for service in &cluster.services {
            let behind = endpoints::pods_of(&cluster, service);
            for port in ports_of(service)
                .iter()
                .filter(|port| port.protocol.as_deref() != Some("UDP"))
            {
                let target =
                    |pod: &&LivePod| Some((key_of(pod), endpoints::target_port(port, &pod.pod)?));
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let cluster_ip = service
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.cluster_ip.as_deref());
                services.push(DemoService {
                    namespace: text(&service.metadata.namespace),
                    name: text(&service.metadata.name),
                    headless: cluster_ip == Some("None"),
                    port: u16::try_from(port.port).unwrap_or_default(),
                    port_name: text(&port.name),
                    app_protocol: text(&port.app_protocol),
                    targets: behind
                        .iter()
                        .filter_map(target)
                        .filter(|(key, _)| keys.contains(key))
                        .collect(),
                });
            }
        }
        services.retain(|service| !service.targets.is_empty());
        Self { pods, services }
    }

    /// The pods labelled `app=<app>` in a namespace.
    pub(super) fn app(&self, namespace: &str, app: &str) -> Vec<&DemoPod> {
        let is_app = |pod: &&DemoPod| {
            pod.key.namespace == namespace
                && pod.labels.get("app").is_some_and(|label| label == app)
        };
        self.pods.iter().filter(is_app).collect()
    }

    pub(super) fn pod(&self, key: &PodKey) -> Option<&DemoPod> {
        self.pods.iter().find(|pod| pod.key == *key)
    }

    /// The name of the pod with that address.
    pub(super) fn name_of(&self, ip: Ipv4Addr) -> Option<&str> {
        self.pods
            .iter()
            .find(|pod| pod.ip == ip)
            .map(|pod| pod.key.name.as_str())
    }
}

// === impl DemoPod ===

impl DemoPod {
    /// The clusters of the pod's sidecar that may take connections to `port` of a Service. A port
    /// that no container declares is passed through until the control plane has told of it.
    pub(super) fn inbound_clusters(&self, port: u16) -> Vec<String> {
        let mut clusters = vec![names::inbound_cluster(port)];
        if !self.declared.contains(&port) {
            clusters.push(names::INBOUND_PASSTHROUGH_CLUSTER.to_owned());
        }
        clusters
    }

    fn of(key: &PodKey, live: &LivePod) -> Self {
        let spec = live.pod.spec.clone().unwrap_or_default();
        let all = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        let is_proxy = |container: &k8s::Container| container.name == sidecar::PROXY_CONTAINER;
        // A classic sidecar is a container like the application's.
        let app = spec
            .containers
            .iter()
            .find(|container| !is_proxy(container));
        let program = app.map(Program::of);
        let ports = spec
            .containers
            .iter()
            .flat_map(|c| c.ports.iter().flatten());
        Self {
            key: key.clone(),
            ip: live.ip,
            stays: spec.restart_policy.as_deref().unwrap_or("Always") == "Always",
            declared: ports
                .filter_map(|port| u16::try_from(port.container_port).ok())
                .collect(),
            meshed: all.into_iter().any(is_proxy),
            echo: matches!(program, Some(Program::Echo | Program::Substitute)),
            container: app
                .map(|container| container.name.clone())
                .unwrap_or_default(),
            labels: live.pod.metadata.labels.clone().unwrap_or_default(),
        }
    }
}

fn key_of(pod: &LivePod) -> PodKey {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    PodKey {
        namespace: part(&pod.pod.metadata.namespace),
        name: part(&pod.pod.metadata.name),
    }
}
