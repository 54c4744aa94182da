//! The resources of one kind each.

use std::net::{IpAddr, SocketAddr};

use weir_api::{
    names,
    xds::{codec, envoy::config::endpoint::v3::ClusterLoadAssignment, google::protobuf::Any},
};

use super::{
    Generator,
    routed::{cors, rules_at},
};
use crate::{
    model::{
        Destination, Endpoint, NamespacedName, ResolvedService, ServicePort, SessionAffinity,
        Snapshot,
    },
    xds::{
        Client, Resource, View,
        build::{capture, cluster, endpoint, http, listener, route},
        names::Subject,
        resource::{Digest, Metadata},
        topology,
    },
};

impl Generator {
    /// A listener that captures traffic, of one sidecar.
    pub(super) fn sidecar_listener(
        &self,
        snapshot: &Snapshot,
        name: &str,
        client: &Client,
    ) -> Option<Resource> {
        let inbound = || self.inbound(snapshot, client);
        let message = capture::sidecar_listener(name, &self.mesh, inbound)?;
        let body = codec::pack_listener(&message);
        Some(resource(name, Digest::of(&body.value), body))
    }

    pub(super) fn listener(
        &self,
        snapshot: &Snapshot,
        name: &str,
        view: &View,
    ) -> Option<Resource> {
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
        let (port, subject, routes, cors, affinity) = match found {
            Destination::Service { service, port } => {
                let name = service.service.name.clone();
                let subject = Subject::Service {
                    service: name,
                    port: port.port,
                };
                (
                    port,
                    subject,
                    http::Routes::Named,
                    cors(&rules_at(snapshot, service, port, view)),
                    service.service.session_affinity,
                )
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
                // It is one pod.
                let (routes, cors) = (http::Routes::Inline, http::Cors::Absent);
                (port, subject, routes, cors, SessionAffinity::None)
            }
        };
        let message = listener::outbound(&listener::Outbound {
            destination,
            protocol: port.hint.protocol,
            cluster: &self.name(&subject),
            host: &subject.host(&self.settings.cluster_domain),
            routes,
            cors,
            affinity,
            log: self.mesh.access_log,
        });
        let body = codec::pack_listener(&message);
        Some(resource(name, Digest::of(&body.value), body))
    }

    pub(super) fn route(&self, snapshot: &Snapshot, name: &str, view: &View) -> Option<Resource> {
        let (service, port, _) = self.port(snapshot, name)?;
        let rules = rules_at(snapshot, service, port, view);
        let routes = match rules.is_empty() {
            true => route::to_cluster(name, service.service.session_affinity),
            false => self.routed(snapshot, name, port, &rules),
        };
        let body = codec::pack_route_configuration(&routes);
        Some(resource(name, Digest::of(&body.value), body))
    }

    pub(super) fn cluster(&self, snapshot: &Snapshot, name: &str, view: &View) -> Option<Resource> {
        if let Some(message) = capture::cluster(name) {
            let body = codec::pack_cluster(&message);
            return Some(resource(name, Digest::of(&body.value), body));
        }
        let (service, port, mut message, endpoints, behind) = match self.parse(name)? {
            Subject::Service { service, port } => {
                let service = snapshot.service(&service)?;
                let (port, behind) = service.port(port)?;
                let load_balancer = self.mesh.default_load_balancer;
                let affinity = service.service.session_affinity;
                let protocol = port.hint.protocol;
                let message = cluster::of_service(name, protocol, load_balancer, affinity);
                (&**service, port, message, Vec::new(), behind)
            }
            Subject::Endpoint { service, address } => {
                let (service, port, endpoint) = endpoint_of(snapshot, &service, address)?;
                let (assignment, metadata) =
                    endpoint::assignment(name, [endpoint].into_iter(), SessionAffinity::None);
                let message = cluster::of_endpoint(name, port.hint.protocol, assignment);
                let behind = std::slice::from_ref(endpoint);
                (service, port, message, metadata, behind)
            }
        };
        if *view == View::MutualTls {
            message.transport_socket_matches = self.upstream(service, port, behind).matches();
        }
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

    pub(super) fn load_assignment(
        &self,
        snapshot: &Snapshot,
        name: &str,
        view: &View,
    ) -> Option<Resource> {
        if let Some(address) = names::workload_address(name) {
            return workload(snapshot, name, address);
        }
        let (service, port, endpoints) = self.port(snapshot, name)?;
        let usable = topology::endpoints(snapshot, service, endpoints, view);
        let affinity = service.service.session_affinity;
        let (mut message, metadata) = endpoint::assignment(name, usable.iter().copied(), affinity);
        if let (true, Some(address)) = (usable.is_empty(), service.service.addresses.first()) {
            endpoint::add_last_resort(&mut message, SocketAddr::new(*address, port.port));
        }
        Some(assigned(name, message, &metadata))
    }
}

/// Whose an address is.
fn workload(snapshot: &Snapshot, name: &str, address: IpAddr) -> Option<Resource> {
    let (message, metadata) = endpoint::workload(name, address, snapshot.pod(address)?);
    Some(assigned(name, message, &[metadata]))
}

fn assigned(name: &str, mut message: ClusterLoadAssignment, metadata: &[Metadata]) -> Resource {
    let mut digest = Digest::of(&codec::encode_cluster_load_assignment(&message));
    for metadata in metadata {
        digest = digest.metadata(metadata);
    }
    endpoint::attach(&mut message, metadata);
    let body = codec::pack_cluster_load_assignment(&message);
    resource(name, digest, body)
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
