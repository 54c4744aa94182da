//! A snapshot and a name give a resource.

mod affected;
mod inbound;
mod mutual_tls;
mod outside;
mod resources;
mod routed;
mod shaped;
mod streams;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use weir_api::{names, spiffe::TrustDomain};

use super::{
    MeshConfig,
    build::capture,
    names::{Kind, Subject, host_of},
    resource::{Metadata, Resource},
    view::{Client, View},
};
use crate::model::{
    Claim, ClaimKind, Endpoint, NamespacedName, ResolvedService, Resolution, ServiceKind,
    ServicePort, Snapshot,
};

/// What is settled when the control plane starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Domain of the cluster, with which the names of services end.
    pub cluster_domain: String,
    /// What the identities of workloads begin with.
    pub trust_domain: TrustDomain,
    /// Whether workloads have certificates, so that those who can speak mutual TLS.
    pub mutual_tls: bool,
}

/// Makes resources of the model. Pure: it remembers nothing.
#[derive(Debug, Clone, Default)]
pub struct Generator {
    settings: Settings,
    mesh: MeshConfig,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".to_owned(),
            trust_domain: TrustDomain::default(),
            mutual_tls: false,
        }
    }
}

// === impl Generator ===

impl Generator {
    /// With these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            mesh: MeshConfig::default(),
        }
    }

    /// The same with other settings of the mesh.
    #[must_use]
    pub fn with_mesh(&self, mesh: MeshConfig) -> Self {
        Self {
            settings: self.settings.clone(),
            mesh,
        }
    }

    /// The settings of the mesh.
    #[must_use]
    pub fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// Which view a client that asks for the resource by name has of it.
    #[must_use]
    pub fn view(&self, snapshot: &Snapshot, kind: Kind, name: &str, client: &Arc<Client>) -> View {
        match kind {
            Kind::Listener if client.pod.is_some() && capture::is_of_sidecar(name) => {
                View::Sidecar(client.clone())
            }
            Kind::Endpoint => self.endpoint_view(snapshot, name, client),
            Kind::Cluster => self.cluster_view(snapshot, name, client),
            Kind::Listener | Kind::Route => self.routed_view(snapshot, kind, name, client),
            Kind::Secret => View::Everyone,
        }
    }

    /// The resource of that name as nobody in particular sees it.
    #[must_use]
    pub fn resource(&self, snapshot: &Snapshot, kind: Kind, name: &str) -> Option<Resource> {
        self.resource_for(snapshot, kind, name, &View::Everyone)
    }

    /// The resource of that name as somebody in particular sees it. `None` is what the mesh does not
    /// know.
    #[must_use]
    pub fn resource_for(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        name: &str,
        view: &View,
    ) -> Option<Resource> {
        match (kind, view) {
            (Kind::Listener, View::Sidecar(client)) => {
                self.sidecar_listener(snapshot, name, client)
            }
            (Kind::Listener, _) => self.listener(snapshot, name, view),
            (Kind::Route, _) => self.route(snapshot, name, view),
            (Kind::Cluster, view) => self.cluster(snapshot, name, view),
            (Kind::Endpoint, _) => self.load_assignment(snapshot, name, view),
            (Kind::Secret, _) => None,
        }
    }

    /// The names of every resource of a kind, in order: what a wildcard stands for.
    #[must_use]
    pub fn names(&self, snapshot: &Snapshot, kind: Kind) -> BTreeSet<String> {
        match kind {
            Kind::Listener => {
                let addresses = snapshot.addresses();
                let known = addresses.filter(|(_, claim)| is_known(snapshot, &claim.service));
                let outbound = known.map(|(address, _)| names::outbound_listener(address));
                outbound
                    .chain(outside::listeners(snapshot))
                    .chain(capture::LISTENERS.map(str::to_owned))
                    .collect()
            }
            Kind::Cluster => {
                let endpoints = snapshot.addresses();
                let endpoints = endpoints
                    .filter_map(|(address, claim)| self.endpoint_name(address, Some(claim)));
                let services = self.service_names(snapshot);
                let outbound = endpoints
                    .chain(services)
                    .chain(self.all_subset_names(snapshot));
                outbound
                    .chain(capture::CLUSTERS.map(str::to_owned))
                    .collect()
            }
            Kind::Endpoint => {
                let services = self.service_names(snapshot);
                let all = services.chain(self.all_subset_names(snapshot));
                let by_name = |name: &str| self.port(snapshot, name, None);
                all.filter(|name| by_name(name).is_some_and(|(it, ..)| has_assignment(it)))
                    .collect()
            }
            Kind::Route => {
                let services = self.service_names(snapshot);
                services.chain(outside::routes(snapshot)).collect()
            }
            Kind::Secret => BTreeSet::new(),
        }
    }

    fn service_names<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = String> + 'a {
        called_as_a_whole(snapshot).flat_map(|service| {
            let ports = service.service.ports.iter();
            ports.map(|port| self.service_name(&service.service.name, port.port))
        })
    }

    fn all_subset_names<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = String> + 'a {
        called_as_a_whole(snapshot).flat_map(|service| self.subset_names(snapshot, service))
    }

    fn service_name(&self, service: &NamespacedName, port: u16) -> String {
        let service = service.clone();
        self.name(&Subject::Service { service, port })
    }

    /// The cluster of the endpoint at an address, if it is an endpoint's.
    fn endpoint_name(&self, address: SocketAddr, claim: Option<&Claim>) -> Option<String> {
        let claim = claim.filter(|claim| claim.kind == ClaimKind::Endpoint)?;
        let service = claim.service.clone();
        Some(self.name(&Subject::Endpoint { service, address }))
    }

    fn name(&self, subject: &Subject) -> String {
        subject.name(&self.settings.cluster_domain)
    }

    /// What a name refers to, for callers of a namespace.
    fn parse(
        &self,
        snapshot: &Snapshot,
        name: &str,
        namespace: Option<&str>,
    ) -> Option<Subject> {
        let subject = Subject::parse(name, &self.settings.cluster_domain)?;
        if !subject.service().is_host() {
            return Some(subject);
        }
        let host = snapshot.host(&subject.service().name, namespace)?;
        Some(subject.with(&host.service.name))
    }

    /// The port of a service that a cluster, a load assignment or a route configuration is named
    /// after.
    fn port<'a>(
        &self,
        snapshot: &'a Snapshot,
        name: &str,
        namespace: Option<&str>,
    ) -> Option<(&'a ResolvedService, &'a ServicePort, &'a [Endpoint])> {
        let (service, port) = match self.parse(snapshot, name, namespace)? {
            Subject::Service { service, port } | Subject::Subset { service, port, .. } => {
                (service, port)
            }
            Subject::Endpoint { .. } => return None,
        };
        let service = snapshot.service(&service)?;
        let (port, endpoints) = service.port(port)?;
        Some((service, port, endpoints))
    }

    /// Whose a cluster is, for people, metrics and `/explain`.
    fn metadata(&self, service: &ResolvedService, port: &ServicePort) -> Metadata {
        let name = &service.service.name;
        let domain = &self.settings.cluster_domain;
        Metadata::new([
            ("namespace", name.namespace.to_string()),
            ("service", name.name.to_string()),
            ("host", host_of(name, domain)),
            ("protocol", port.hint.protocol.to_string()),
            ("protocol_from", port.hint.source.to_string()),
        ])
    }
}

/// Nothing refers to a headless service as a whole.
fn called_as_a_whole(snapshot: &Snapshot) -> impl Iterator<Item = &ResolvedService> {
    let services = snapshot.services().map(|it| &**it);
    let whole = services.filter(|service| service.service.kind != ServiceKind::Headless);
    whole.filter(|service| is_known(snapshot, &service.service.name))
}

/// Whether everybody means that service by its name.
fn is_known(snapshot: &Snapshot, name: &NamespacedName) -> bool {
    !name.is_host()
        || snapshot
            .host(&name.name, None)
            .is_some_and(|it| it.service.name == *name)
}

/// Whether its endpoints come apart from its clusters.
fn has_assignment(service: &ResolvedService) -> bool {
    let entry = service.service.entry.as_ref();
    entry.is_none_or(|it| it.resolution == Resolution::Static)
}
