//! A snapshot and a name give a resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use weir_api::{
    names,
    xds::{codec, google::protobuf::Any},
};

use super::{
    MeshConfig,
    build::{capture, cluster, endpoint, http, listener, route},
    names::{Kind, Subject},
    resource::{Digest, Metadata, Resource},
    view::{Client, Scope, View},
};
use crate::model::{
    Changes, Claim, ClaimKind, Destination, Endpoint, NamespacedName, ResolvedService, ServiceKind,
    ServicePort, Snapshot,
};

/// What is settled when the control plane starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Domain of the cluster, with which the names of services end.
    pub cluster_domain: String,
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
    pub fn view(&self, _snapshot: &Snapshot, _kind: Kind, _name: &str, _client: &Client) -> View {
        View::Everyone
    }

    /// The resource of that name as somebody in particular sees it. `None` is what the mesh does not
    /// know.
    #[must_use]
    pub fn resource_for(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        name: &str,
        _view: &View,
    ) -> Option<Resource> {
        self.resource(snapshot, kind, name)
    }

    /// The resource of that name as nobody in particular sees it.
    #[must_use]
    pub fn resource(&self, snapshot: &Snapshot, kind: Kind, name: &str) -> Option<Resource> {
        match kind {
            Kind::Listener => self.listener(snapshot, name),
            Kind::Route => self.route(snapshot, name),
            Kind::Cluster => self.cluster(snapshot, name),
            Kind::Endpoint => self.load_assignment(snapshot, name),
            Kind::Secret => None,
        }
    }

    /// The names of every resource of a kind, in order: what a wildcard stands for.
    #[must_use]
    pub fn names(&self, snapshot: &Snapshot, kind: Kind) -> BTreeSet<String> {
        match kind {
            Kind::Listener => {
                let addresses = snapshot.addresses();
                let outbound = addresses.map(|(address, _)| names::outbound_listener(address));
                outbound
                    .chain(capture::LISTENERS.map(str::to_owned))
                    .collect()
            }
            Kind::Cluster => {
                let endpoints = snapshot.addresses();
                let endpoints = endpoints
                    .filter_map(|(address, claim)| self.endpoint_name(address, Some(claim)));
                let outbound = endpoints.chain(self.service_names(snapshot));
                outbound
                    .chain(capture::CLUSTERS.map(str::to_owned))
                    .collect()
            }
            Kind::Endpoint | Kind::Route => self.service_names(snapshot).collect(),
            Kind::Secret => BTreeSet::new(),
        }
    }

    /// The names of every resource that may differ after these changes, and for whom.
    #[must_use]
    pub fn affected(&self, changes: &Changes) -> BTreeMap<(Kind, String), Scope> {
        let mut affected = BTreeMap::new();
        let mut all = |kind: Kind, name: String| {
            affected.insert((kind, name), Scope::All);
        };
        for (name, change) in &changes.services {
            let kinds: &[Kind] = if change.declaration_changed() {
                &[Kind::Cluster, Kind::Endpoint, Kind::Route]
            } else {
                &[Kind::Endpoint]
            };
            let services = change.old.iter().chain(&change.new);
            for port in services.flat_map(|service| &service.service.ports) {
                let name = self.service_name(name, port.port);
                kinds.iter().for_each(|kind| all(*kind, name.clone()));
            }
        }
        for (address, change) in &changes.addresses {
            all(Kind::Listener, names::outbound_listener(*address));
            for claim in [change.old.as_ref(), change.new.as_ref()] {
                if let Some(name) = self.endpoint_name(*address, claim) {
                    all(Kind::Cluster, name);
                }
            }
        }
        affected
    }

    /// The load assignments that lost an endpoint by these changes: such news go first.
    #[must_use]
    pub fn shrunk(&self, changes: &Changes) -> BTreeSet<String> {
        let services = changes.services.iter();
        let services = services.filter(|(_, change)| change.removes_endpoints());
        services
            .flat_map(|(name, change)| {
                let ports = change.old.iter().flat_map(|service| &service.service.ports);
                ports.map(|port| self.service_name(name, port.port))
            })
            .collect()
    }

    fn service_names<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = String> + 'a {
        // Nothing refers to a headless service as a whole.
        let services = snapshot.services();
        let services = services.filter(|service| service.service.kind != ServiceKind::Headless);
        services.flat_map(|service| {
            let ports = service.service.ports.iter();
            ports.map(|port| self.service_name(&service.service.name, port.port))
        })
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

    fn parse(&self, name: &str) -> Option<Subject> {
        Subject::parse(name, &self.settings.cluster_domain)
    }

    fn listener(&self, snapshot: &Snapshot, name: &str) -> Option<Resource> {
        if let Some(message) = capture::listener(name) {
            let body = codec::pack_listener(&message);
            return Some(resource(name, Digest::of(&body.value), body));
        }
        let destination = names::outbound_listener_destination(name)?;
        // Other spellings of an address are other names, and nobody's.
        if names::outbound_listener(destination) != name {
            return None;
        }
        let found = snapshot.destination(destination)?;
        let (port, subject, routes) = match found {
            Destination::Service { service, port } => {
                let name = service.service.name.clone();
                let subject = Subject::Service {
                    service: name,
                    port: port.port,
                };
                (port, subject, http::Routes::Named)
            }
            Destination::Endpoint {
                service,
                port,
                endpoint,
            } => {
                let name = service.service.name.clone();
                let subject = Subject::Endpoint {
                    service: name,
                    address: endpoint.address,
                };
                (port, subject, http::Routes::Inline)
            }
        };
        let message = listener::outbound(&listener::Outbound {
            destination,
            protocol: port.hint.protocol,
            cluster: &self.name(&subject),
            host: &subject.host(&self.settings.cluster_domain),
            routes,
        });
        let body = codec::pack_listener(&message);
        Some(resource(name, Digest::of(&body.value), body))
    }

    fn route(&self, snapshot: &Snapshot, name: &str) -> Option<Resource> {
        let Subject::Service { service, port } = self.parse(name)? else {
            return None;
        };
        snapshot.service(&service)?.port(port)?;
        let body = codec::pack_route_configuration(&route::to_cluster(name));
        Some(resource(name, Digest::of(&body.value), body))
    }

    fn cluster(&self, snapshot: &Snapshot, name: &str) -> Option<Resource> {
        if let Some(message) = capture::cluster(name) {
            let body = codec::pack_cluster(&message);
            return Some(resource(name, Digest::of(&body.value), body));
        }
        let (service, port, mut message, endpoints) = match self.parse(name)? {
            Subject::Service { service, port } => {
                let service = snapshot.service(&service)?;
                let (port, _) = service.port(port)?;
                let message = cluster::of_service(name, port.hint.protocol);
                (&**service, port, message, Vec::new())
            }
            Subject::Endpoint { service, address } => {
                let (service, port, endpoint) = endpoint_of(snapshot, &service, address)?;
                let (assignment, metadata) = endpoint::assignment(name, [endpoint].into_iter());
                let message = cluster::of_endpoint(name, port.hint.protocol, assignment);
                (service, port, message, metadata)
            }
        };
        let metadata = self.metadata(service, port);
        let mut digest = Digest::of(&codec::encode_cluster(&message)).metadata(&metadata);
        for metadata in &endpoints {
            digest = digest.metadata(metadata);
        }
        message.metadata = metadata.to_message();
        if let Some(assignment) = &mut message.load_assignment {
            endpoint::attach(assignment, &endpoints);
        }
        Some(resource(name, digest, codec::pack_cluster(&message)))
    }

    fn load_assignment(&self, snapshot: &Snapshot, name: &str) -> Option<Resource> {
        let Subject::Service { service, port } = self.parse(name)? else {
            return None;
        };
        let (_, endpoints) = snapshot.service(&service)?.port(port)?;
        let usable = ResolvedService::usable(endpoints);
        let (mut message, metadata) = endpoint::assignment(name, usable);
        let mut digest = Digest::of(&codec::encode_cluster_load_assignment(&message));
        for metadata in &metadata {
            digest = digest.metadata(metadata);
        }
        endpoint::attach(&mut message, &metadata);
        let body = codec::pack_cluster_load_assignment(&message);
        Some(resource(name, digest, body))
    }

    /// Whose a cluster is, for people, metrics and `/explain`.
    fn metadata(&self, service: &ResolvedService, port: &ServicePort) -> Metadata {
        let name = &service.service.name;
        let domain = &self.settings.cluster_domain;
        Metadata::new([
            ("namespace", name.namespace.to_string()),
            ("service", name.name.to_string()),
            (
                "host",
                names::service_host(&name.name, &name.namespace, domain),
            ),
            ("protocol", port.hint.protocol.to_string()),
            ("protocol_from", port.hint.source.to_string()),
        ])
    }
}

fn resource(name: &str, digest: Digest, body: Any) -> Resource {
    Resource {
        name: name.into(),
        version: digest.version(),
        body,
    }
}

/// The endpoint at an address, if the claim of that service to it is the one that counts.
fn endpoint_of<'a>(
    snapshot: &'a Snapshot,
    name: &NamespacedName,
    address: SocketAddr,
) -> Option<(&'a ResolvedService, &'a ServicePort, &'a Endpoint)> {
    match snapshot.destination(address)? {
        Destination::Endpoint {
            service,
            port,
            endpoint,
        } if service.service.name == *name => Some((service, port, endpoint)),
        _ => None,
    }
}
