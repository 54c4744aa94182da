//! Who the pod is, towards the control plane.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use serde_json::{Value, json};
use weir_api::{
    node::{self, NodeId},
    sidecar::{PodPort, env},
    workload::Workload,
};

/// Who the pod is.
#[derive(Debug, clap::Args)]
pub(super) struct Pod {
    /// Name of the pod.
    #[arg(long, value_name = "NAME", env = env::POD_NAME, default_value = "unknown")]
    pod_name: String,
    /// Namespace of the pod.
    #[arg(long, value_name = "NAME", env = env::POD_NAMESPACE, default_value = "default")]
    pod_namespace: String,
    /// First address of the pod.
    #[arg(long, value_name = "ADDRESS", env = env::POD_IP)]
    pod_ip: Option<IpAddr>,
    /// All addresses of the pod.
    #[arg(long, value_name = "ADDRESSES", env = env::POD_IPS, value_delimiter = ',')]
    pod_ips: Vec<IpAddr>,
    /// Service account of the pod.
    #[arg(long, value_name = "NAME", env = env::SERVICE_ACCOUNT, default_value = "default")]
    service_account: String,
    /// Name of the node.
    #[arg(long, value_name = "NAME", env = env::NODE_NAME, default_value = "")]
    node_name: String,
    /// Name of the workload that owns the pod.
    #[arg(long, value_name = "NAME", env = env::WORKLOAD, default_value = "")]
    workload: String,
    /// Kind of the workload that owns the pod.
    #[arg(long, value_name = "KIND", env = env::WORKLOAD_KIND, default_value = "")]
    workload_kind: String,
    /// Labels of the pod by which metrics name its workload, a JSON object.
    #[arg(long, value_name = "JSON", env = env::POD_LABELS, default_value = "{}", value_parser = labels)]
    pod_labels: Labels,
    /// Domain of the cluster.
    #[arg(long, value_name = "DOMAIN", env = env::CLUSTER_DOMAIN, default_value = "cluster.local")]
    cluster_domain: String,
}

/// Labels of the pod.
#[derive(Debug, Clone)]
struct Labels(BTreeMap<String, String>);

fn labels(text: &str) -> Result<Labels, serde_json::Error> {
    serde_json::from_str(text).map(Labels)
}

// === impl Pod ===

impl Pod {
    pub(super) fn has_ipv6(&self) -> bool {
        self.addresses().any(|address| address.is_ipv6())
    }

    fn workload_name(&self) -> &str {
        match self.workload.as_str() {
            "" => &self.pod_name,
            name => name,
        }
    }

    /// The workload as metrics name it.
    pub(super) fn workload(&self) -> Workload {
        let label = |key: &str| self.pod_labels.0.get(key).map(String::as_str);
        Workload::new(self.workload_name(), &self.pod_namespace, label)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.pod_ip.iter().chain(&self.pod_ips).copied()
    }

    /// `envoy.config.core.v3.Node`, with Istio's metadata keys. The ports let the control plane know
    /// the application without a look at the pod's spec.
    pub(super) fn node(&self, ports: &[PodPort], mutual_tls: bool) -> Value {
        let ip = self
            .addresses()
            .next()
            .unwrap_or(Ipv4Addr::LOCALHOST.into());
        let id = NodeId {
            ip,
            pod: self.pod_name.clone(),
            namespace: self.pod_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
        };
        let workload = self.workload_name();
        let mut addresses: Vec<IpAddr> = self.addresses().collect();
        addresses.dedup();
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let mut node = json!({
            "id": id.to_string(),
            "cluster": format!("{workload}.{}", self.pod_namespace),
            "metadata": {
                "NAMESPACE": self.pod_namespace,
                "WORKLOAD_NAME": workload,
                "WORKLOAD_KIND": self.workload_kind,
                "SERVICE_ACCOUNT": self.service_account,
                node::NODE_NAME: self.node_name,
                node::INSTANCE_IPS: addresses.join(","),
                node::APP_PORTS: json!(ports).to_string(),
            },
        });
        if mutual_tls {
            node["metadata"][node::MUTUAL_TLS] = node::MUTUAL_TLS_YES.into();
        }
        node
    }
}
