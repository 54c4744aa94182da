//! Pods: who is behind an address.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{Labels, NamespacedName};

/// A pod, as far as discovery cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: NamespacedName,
    /// Its addresses; those of its node where it uses the host's network.
    pub addresses: Vec<IpAddr>,
    /// Whether it uses the host's network, so that its addresses are not its own.
    pub host_network: bool,
    /// The node it is on.
    pub node: Option<Arc<str>>,
    /// Whether a sidecar of ours stands before each of its ports.
    pub sidecar: bool,
    /// Whether that sidecar can take mutual TLS with certificates of the mesh.
    pub mutual_tls: bool,
    /// Whose name its certificate has.
    pub service_account: Arc<str>,
    /// Whether it takes traffic.
    pub ready: bool,
    /// What the kubelet asks it, each once.
    pub probes: Arc<[Probe]>,
    /// Addresses of its node, where it has probes.
    pub node_addresses: Vec<IpAddr>,
    /// Its labels, by which rules select it.
    pub labels: Arc<Labels>,
    /// What owns it.
    pub workload: Workload,
}

/// A request by which the kubelet finds out how a container is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probe {
    /// The port it is sent to.
    pub port: u16,
    /// What is asked.
    pub question: Question,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// `GET` of this path.
    Http(Arc<str>),
    /// A call of gRPC's health service.
    Grpc,
    /// Something over TLS, which nobody but the application sees.
    Tls,
}

/// What owns a pod, as people name it: a Deployment rather than its ReplicaSet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Such as `Deployment`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
