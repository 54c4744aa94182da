//! The objects of the cluster and what follows from them: Services get addresses, ready pods make
//! endpoints, and both make DNS names, kube-proxy rules and the files the control plane watches.
//!
//! Everything here is plain data; [`crate::playground`] carries it out.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServicePort as Port};
use serde_json::Value;
use weir_api::sidecar;

use crate::{
    address::{self, AddressPool},
    error::{Error, Result},
    manifest::{DEFAULT_NAMESPACE, Manifests},
};

pub mod admission;
pub mod endpoints;
pub mod live;
mod network;
pub mod tokens;

use tokens::Tokens;

/// Namespace and name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A pod that the API server has accepted.
#[derive(Debug, Clone)]
pub struct LivePod {
    /// The object after admission, with every field.
    pub object: Value,
    /// The same, typed.
    pub pod: Pod,
    /// Its address.
    pub ip: Ipv4Addr,
    /// What the kubelet says of it.
    pub status: PodStatus,
}

/// What the kubelet says of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodStatus {
    /// Whether every init container is done.
    pub initialized: bool,
    /// Whether it may get traffic.
    pub ready: bool,
    /// Whether it has been asked to end.
    pub terminating: bool,
    /// Whether its containers have ended for good.
    pub finished: bool,
}

/// Everything that has been applied.
#[derive(Debug)]
pub struct Cluster {
    /// Namespaces by name.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Services, each with its address.
    pub services: Vec<Service>,
    /// Pods.
    pub pods: BTreeMap<PodKey, LivePod>,
    /// Objects passed on to the control plane as they are.
    pub others: Vec<Value>,
    config_maps: Vec<ConfigMap>,
    secrets: Vec<Secret>,
    /// In every namespace, as the control plane keeps it there.
    root_certificate: Option<Vec<u8>>,
    /// Names outside the cluster.
    outside: BTreeMap<String, Ipv4Addr>,
    pod_addresses: AddressPool,
    service_addresses: AddressPool,
    /// None where the machine has no randomness.
    pub(crate) tokens: Option<Tokens>,
}

// === impl PodKey ===

impl PodKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl Cluster ===

impl Default for Cluster {
    fn default() -> Self {
        Self {
            namespaces: BTreeMap::new(),
            services: Vec::new(),
            pods: BTreeMap::new(),
            others: Vec::new(),
            config_maps: Vec::new(),
            secrets: Vec::new(),
            root_certificate: None,
            outside: BTreeMap::new(),
            pod_addresses: AddressPool::new(address::POD_RANGE, 2, &[address::NODE]),
            service_addresses: AddressPool::new(address::SERVICE_RANGE, 11, &[address::DNS]),
            tokens: Tokens::new(),
        }
    }
}

impl Cluster {
    /// Takes in everything of `manifests` but the workloads. Namespaces that are used without being
    /// declared are made.
    ///
    /// # Errors
    /// If a Service asks for an address it cannot have.
    pub fn apply(&mut self, manifests: &Manifests) -> Result<()> {
        for namespace in &manifests.namespaces {
            let name = namespace.metadata.name.clone().unwrap_or_default();
            self.namespaces.insert(name, namespace.clone());
        }
        for service in &manifests.services {
            self.add_service(service.clone())?;
        }
        for workload in &manifests.workloads {
            self.ensure_namespace(&workload.namespace);
            if workload.kind != "Pod" {
                self.others.push(workload.object.clone());
            }
        }
        self.config_maps
            .extend(manifests.config_maps.iter().cloned());
        self.secrets.extend(manifests.secrets.iter().cloned());
        self.others.extend(manifests.others.iter().cloned());
        Ok(())
    }

    /// Puts the control plane's root certificate (PEM) into every namespace.
    pub fn set_root_certificate(&mut self, pem: &[u8]) {
        self.root_certificate = Some(pem.to_owned());
    }

    /// Gives a host outside the cluster a name.
    pub fn add_outside(&mut self, name: &str, address: Ipv4Addr) {
        self.outside.insert(name.to_owned(), address);
    }

    /// The address of the next pod.
    ///
    /// # Errors
    /// If there is none left.
    pub fn next_pod_address(&mut self) -> Result<Ipv4Addr> {
        self.pod_addresses
            .allocate()
            .map_err(|error| Error::System {
                action: "give a pod an address".to_owned(),
                source: std::io::Error::other(error),
            })
    }

    /// Makes the namespace `name` if it is not there.
    pub fn ensure_namespace(&mut self, name: &str) {
        let namespace = self.namespaces.entry(name.to_owned()).or_default();
        namespace.metadata.name = Some(name.to_owned());
        // Kubernetes puts this label on every namespace.
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    }

    /// Labels of a namespace.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> BTreeMap<String, String> {
        let namespace = self.namespaces.get(name);
        namespace
            .and_then(|namespace| namespace.metadata.labels.clone())
            .unwrap_or_default()
    }

    fn add_service(&mut self, mut service: Service) -> Result<()> {
        let metadata = &mut service.metadata;
        let namespace = metadata
            .namespace
            .get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned())
            .clone();
        let name = metadata.name.clone().unwrap_or_default();
        self.ensure_namespace(&namespace);
        let spec = service.spec.get_or_insert_default();
        let wants_address = spec.type_.as_deref() != Some("ExternalName");
        let asked = spec
            .cluster_ip
            .clone()
            .filter(|address| !address.is_empty());
        match asked.as_deref() {
            Some("None") => {}
            Some(text) => {
                let claimed = text
                    .parse()
                    .map_err(|_| format!("{text:?} is not an IPv4 address"));
                let claimed = claimed.and_then(|address| {
                    self.service_addresses
                        .claim(address)
                        .map_err(|error| error.to_string())
                });
                claimed.map_err(|reason| Error::Manifest {
                    file: format!("Service {namespace}/{name}"),
                    reason: format!("spec.clusterIP: {reason}"),
                })?;
            }
            None if wants_address => {
                let address = self
                    .service_addresses
                    .allocate()
                    .map_err(|error| Error::System {
                        action: format!("give Service {namespace}/{name} an address"),
                        source: std::io::Error::other(error),
                    })?;
                spec.cluster_ip = Some(address.to_string());
            }
            None => {}
        }
        spec.cluster_ips = spec.cluster_ip.clone().map(|address| vec![address]);
        self.services.push(service);
        Ok(())
    }

    /// The data of a `ConfigMap`, as file names and contents.
    #[must_use]
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        if name == sidecar::CA_CONFIG_MAP
            && let Some(certificate) = &self.root_certificate
        {
            return Some(BTreeMap::from([(
                sidecar::CA_FILE.to_owned(),
                certificate.clone(),
            )]));
        }
        let found = self
            .config_maps
            .iter()
            .find(|map| is_named(&map.metadata, namespace, name))?;
        let text = found.data.iter().flatten();
        let bytes = found.binary_data.iter().flatten();
        Some(
            text.map(|(key, value)| (key.clone(), value.clone().into_bytes()))
                .chain(bytes.map(|(key, value)| (key.clone(), value.0.clone())))
                .collect(),
        )
    }

    /// The data of a Secret, as file names and contents.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let found = self
            .secrets
            .iter()
            .find(|map| is_named(&map.metadata, namespace, name))?;
        let bytes = found.data.iter().flatten();
        let text = found.string_data.iter().flatten();
        Some(
            bytes
                .map(|(key, value)| (key.clone(), value.0.clone()))
                .chain(text.map(|(key, value)| (key.clone(), value.clone().into_bytes())))
                .collect(),
        )
    }
}

// === impl PodStatus ===

impl PodStatus {
    /// Whether a pod of this status gets traffic of `service`.
    #[must_use]
    pub fn is_endpoint(&self, service: &Service) -> bool {
        let spec = service.spec.as_ref();
        let unready = spec
            .and_then(|spec| spec.publish_not_ready_addresses)
            .unwrap_or_default();
        !self.finished && !self.terminating && (self.ready || unready)
    }
}

/// `namespace/name` of a Service.
#[must_use]
pub fn service_name(service: &Service) -> String {
    let metadata = &service.metadata;
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", part(&metadata.namespace), part(&metadata.name))
}

/// The address of a Service that has one.
#[must_use]
pub fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

/// The ports of a Service.
#[must_use]
pub fn ports_of(service: &Service) -> &[Port] {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default()
}

fn is_named(
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    namespace: &str,
    name: &str,
) -> bool {
    metadata.name.as_deref() == Some(name)
        && metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE) == namespace
}

#[cfg(test)]
mod tests;
