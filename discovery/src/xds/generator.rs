//! A snapshot and a name give a resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use weir_api::{
    names,
    xds::{codec, google::protobuf::Any},
};

use super::{
    MeshConfig,
    build::{capture, cluster, endpoint, http, inbound, listener, route},
    names::{Kind, Subject},
    resource::{Digest, Metadata, Resource},
    topology,
    view::{Client, Scope, View},
};
use crate::model::{
    Changes, Claim, ClaimKind, Destination, Endpoint, Hint, HintSource, NamespacedName, Protocol,
    ResolvedService, ServiceKind, ServicePort, Snapshot,
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
    pub fn view(&self, snapshot: &Snapshot, kind: Kind, name: &str, client: &Arc<Client>) -> View {
        match kind {
            Kind::Listener if client.pod.is_some() && capture::is_of_sidecar(name) => {
                View::Sidecar(client.clone())
            }
            Kind::Endpoint => {
                let view = self.port(snapshot, name).map(|(service, _, endpoints)| {
                    topology::view(snapshot, service, endpoints, client)
                });
                view.unwrap_or_default()
            }
            Kind::Listener | Kind::Cluster | Kind::Route | Kind::Secret => View::Everyone,
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
                let ports = || inbound_ports(snapshot, client);
                let message = capture::sidecar_listener(name, &self.mesh, ports)?;
                let body = codec::pack_listener(&message);
                Some(resource(name, Digest::of(&body.value), body))
            }
            (Kind::Listener, _) => self.listener(snapshot, name),
            (Kind::Route, _) => self.route(snapshot, name),
            (Kind::Cluster, _) => self.cluster(snapshot, name),
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

    /// The names of every resource that may differ after these changes, and for whom. `snapshot` is
    /// the one after them.
    #[must_use]
    pub fn affected(
        &self,
        snapshot: &Snapshot,
        changes: &Changes,
    ) -> BTreeMap<(Kind, String), Scope> {
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
        if !changes.nodes.is_empty() {
            // A client on such a node may be somewhere else now.
            let services = snapshot.services();
            for service in services.filter(|service| topology::is_local(service)) {
                for port in &service.service.ports {
                    let name = self.service_name(&service.service.name, port.port);
                    all(Kind::Endpoint, name);
                }
            }
        }
        let pods = pods_with_other_ports(changes);
        if !pods.is_empty() {
            for suffix in ["", names::V6_SUFFIX] {
                let name = format!("{}{suffix}", names::VIRTUAL_INBOUND);
                affected.insert((Kind::Listener, name), Scope::Pods(pods.clone()));
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
        if let Some(message) = capture::listener(name, &self.mesh) {
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
            log: self.mesh.access_log,
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
                let load_balancer = self.mesh.default_load_balancer;
                let message = cluster::of_service(name, port.hint.protocol, load_balancer);
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

    fn load_assignment(&self, snapshot: &Snapshot, name: &str, view: &View) -> Option<Resource> {
        let (service, port, endpoints) = self.port(snapshot, name)?;
        let usable = topology::endpoints(snapshot, service, endpoints, view);
        let (mut message, metadata) = endpoint::assignment(name, usable.iter().copied());
        if let (true, Some(address)) = (usable.is_empty(), service.service.addresses.first()) {
            endpoint::add_last_resort(&mut message, SocketAddr::new(*address, port.port));
        }
        let mut digest = Digest::of(&codec::encode_cluster_load_assignment(&message));
        for metadata in &metadata {
            digest = digest.metadata(metadata);
        }
        endpoint::attach(&mut message, &metadata);
        let body = codec::pack_cluster_load_assignment(&message);
        Some(resource(name, digest, body))
    }

    /// The port of a service that a cluster, a load assignment or a route configuration is named
    /// after.
    fn port<'a>(
        &self,
        snapshot: &'a Snapshot,
        name: &str,
    ) -> Option<(&'a ResolvedService, &'a ServicePort, &'a [Endpoint])> {
        let Subject::Service { service, port } = self.parse(name)? else {
            return None;
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
            (
                "host",
                names::service_host(&name.name, &name.namespace, domain),
            ),
            ("protocol", port.hint.protocol.to_string()),
            ("protocol_from", port.hint.source.to_string()),
        ])
    }
}

/// The ports of an application: those its containers declare and those that services send to. Who
/// calls the pod by a service knows what that service says of the port; where it says nothing, the
/// container's own name for the port counts.
fn inbound_ports(snapshot: &Snapshot, client: &Client) -> Vec<inbound::Port> {
    let mut ports = BTreeMap::new();
    for port in &client.ports {
        let is_tcp = port.protocol.as_deref().is_none_or(|name| name == "TCP");
        let number = port.container_port;
        if is_tcp && number != 0 {
            let hint = Hint::of(None, port.name.as_deref(), number);
            ports.entry(number).or_insert(hint.protocol);
        }
    }
    let services = client.pod.iter().flat_map(|pod| snapshot.services_of(pod));
    let services = services.filter_map(|name| snapshot.service(name));
    let mut said: Vec<_> = services
        .flat_map(|service| service.ports().map(move |(port, all)| (service, port, all)))
        .flat_map(|(service, port, all)| {
            let numbers = own_ports(all, client);
            numbers.map(move |number| (number, service, port))
        })
        .collect();
    // Of several services one is believed, in the order in which they claim the address.
    said.sort_by_key(|(number, service, port)| {
        let declared = &service.service;
        let through_service = declared.kind != ServiceKind::Headless;
        let created = declared.created.unwrap_or(i64::MAX);
        let translated = port.port != *number;
        (
            *number,
            through_service,
            created,
            &declared.name,
            translated,
            port.port,
        )
    });
    said.dedup_by_key(|(number, ..)| *number);
    for (number, _, port) in said {
        if port.hint.source == HintSource::None {
            ports.entry(number).or_insert(Protocol::Auto);
        } else {
            ports.insert(number, port.hint.protocol);
        }
    }
    let ports = ports.into_iter();
    ports
        .map(|(number, protocol)| inbound::Port { number, protocol })
        .collect()
}

/// The ports that a pod has among these endpoints, which are in the order of their addresses.
fn own_ports<'a>(endpoints: &'a [Endpoint], client: &'a Client) -> impl Iterator<Item = u16> + 'a {
    let own = client.addresses.iter().flat_map(move |address| {
        let first = SocketAddr::new(*address, 0);
        let first = endpoints.partition_point(|endpoint| endpoint.address < first);
        let rest = endpoints[first..].iter();
        rest.take_while(move |endpoint| endpoint.address.ip() == *address)
    });
    let own = own.filter(|endpoint| {
        let pod = endpoint.pod.as_ref().map(|pod| &pod.name);
        pod.is_some() && pod == client.pod.as_ref()
    });
    own.map(|endpoint| endpoint.address.port())
}

/// The pods whose inbound ports may differ after these changes.
fn pods_with_other_ports(changes: &Changes) -> BTreeSet<NamespacedName> {
    let mut pods = changes.pods.clone();
    for change in changes.services.values() {
        let behind = |service: &Option<Arc<ResolvedService>>| -> BTreeSet<_> {
            let services = service.iter();
            let endpoints = services.flat_map(|service| service.ports().flat_map(|(_, all)| all));
            let pods = endpoints.filter_map(|endpoint| {
                let pod = endpoint.pod.as_ref()?;
                Some((endpoint.address, pod.name.clone()))
            });
            pods.collect()
        };
        let (old, new) = (behind(&change.old), behind(&change.new));
        if change.declaration_changed() {
            pods.extend(old.into_iter().chain(new).map(|(_, pod)| pod));
        } else {
            pods.extend(old.symmetric_difference(&new).map(|(_, pod)| pod.clone()));
        }
    }
    pods
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
