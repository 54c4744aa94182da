//! The resources of one kind each.

use std::net::{IpAddr, SocketAddr};

use weir_api::{
    names,
    xds::{codec, envoy::config::endpoint::v3::ClusterLoadAssignment, google::protobuf::Any},
};

use super::{
    Generator, has_assignment,
    routed::{heeded, rules_at},
};
use crate::{
    model::{
        Balancing, Destination, Endpoint, NamespacedName, Resolution, ResolvedService, ServicePort, SessionAffinity,
        Snapshot,
    },
    xds::{
        Client, Resource, View,
        build::{capture, cluster, endpoint, external, http, listener, route, shape, streams::Streams},
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
        let Some(found) = snapshot.destination_in(destination, view.namespace()) else {
            let message = self.outside(snapshot, destination, view)?;
            let body = codec::pack_listener(&message);
            return Some(resource(name, Digest::of(&body.value), body));
        };
        let (port, subject, routes, heeded, affinity) = match found {
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
                    heeded(snapshot, &rules_at(snapshot, service, port, view)),
                    self.affinity(snapshot, service, port, None, view),
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
                let (routes, heeded) = (http::Routes::Inline, http::Heeded::default());
                (port, subject, routes, heeded, SessionAffinity::None)
            }
        };
        let streams = match found {
            Destination::Service { service, port } => {
                self.streams(snapshot, service, port, destination, view)
            }
            Destination::Endpoint { .. } => Streams::default(),
        };
        let message = listener::outbound(&listener::Outbound {
            streams,
            destination,
            protocol: port.hint.protocol,
            cluster: &self.name(&subject),
            host: &subject.host(&self.settings.cluster_domain),
            routes,
            heeded,
            affinity,
            idle_timeout: self
                .policy(snapshot, subject.service(), port, view)
                .pool
                .and_then(|pool| pool.tcp.idle_timeout),
            log: self.mesh.access_log,
        });
        let body = codec::pack_listener(&message);
        Some(resource(name, Digest::of(&body.value), body))
    }

    pub(super) fn route(&self, snapshot: &Snapshot, name: &str, view: &View) -> Option<Resource> {
        if let Some(routes) = self.outside_routes(snapshot, name, view) {
            let body = codec::pack_route_configuration(&routes);
            return Some(resource(name, Digest::of(&body.value), body));
        }
        let (service, port, _) = self.port(snapshot, name, view.namespace())?;
        let rules = rules_at(snapshot, service, port, view);
        let routes = match rules.is_empty() {
            true => {
                let affinity = self.affinity(snapshot, service, port, None, view);
                route::to_cluster(name, affinity)
            }
            false => self.routed(snapshot, name, port, &rules, view),
        };
        let body = codec::pack_route_configuration(&routes);
        Some(resource(name, Digest::of(&body.value), body))
    }

    pub(super) fn cluster(&self, snapshot: &Snapshot, name: &str, view: &View) -> Option<Resource> {
        if let Some(message) = capture::cluster(name) {
            let body = codec::pack_cluster(&message);
            return Some(resource(name, Digest::of(&body.value), body));
        }
        let subject = self.parse(snapshot, name, view.namespace())?;
        let rules = snapshot.attachments().destinations();
        let rules = rules.at(subject.service(), view.caller());
        let subset = match &subject {
            Subject::Subset { subset, .. } => Some(rules.subset(subset)?),
            _ => None,
        };
        let policy = |port: &ServicePort| rules.policy(port.port, subset);
        let (service, port, mut message, endpoints, behind) = match &subject {
            Subject::Service { service, port } | Subject::Subset { service, port, .. } => {
                let service = snapshot.service(service)?;
                let (port, behind) = service.port(*port)?;
                let policy = policy(port);
                let load_balancer = self.mesh.default_load_balancer;
                let affinity = service.service.session_affinity;
                let protocol = shape::protocol(port.hint.protocol, &policy);
                let mut message = cluster::of_service(name, protocol, load_balancer, affinity);
                let balancing = match &service.service.entry {
                    Some(entry) => external::place(&mut message, entry, &service.service.name.name, port.port, subset.map(|it| &it.labels))
                        .or(policy.balancing),
                    None => policy.balancing,
                };
                if let Some(balancing) = balancing {
                    shape::balance(&mut message, balancing);
                }
                (&**service, port, message, Vec::new(), behind)
            }
            Subject::Endpoint { service, address } => {
                let (service, port, endpoint) = endpoint_of(snapshot, service, *address)?;
                let (assignment, metadata) =
                    endpoint::assignment(name, [endpoint].into_iter(), SessionAffinity::None);
                let protocol = shape::protocol(port.hint.protocol, &policy(port));
                let message = cluster::of_endpoint(name, protocol, assignment);
                let behind = std::slice::from_ref(endpoint);
                (service, port, message, metadata, behind)
            }
        };
        let mut policy = policy(port);
        let is_one = matches!(subject, Subject::Endpoint { .. });
        // There is nothing to choose.
        policy.balancing = policy.balancing.filter(|_| !is_one);
        if service.service.entry.as_ref().is_some_and(|it| it.resolution == Resolution::None) {
            policy.balancing = Some(Balancing::Passthrough);
        }
        let of_subset = match &subject {
            Subject::Subset { subset, .. } => subset,
            _ => "",
        };
        self.shape(
            &mut message,
            &policy,
            (service, port, of_subset),
            behind,
            view,
        );
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
        let (service, port, endpoints) = self.port(snapshot, name, view.namespace())?;
        if !has_assignment(service) {
            return None;
        }
        let labels = self.subset_labels(snapshot, name, view)?;
        let mut all: Vec<_> = endpoints.iter().collect();
        if let Some(labels) = &labels {
            all.retain(|it| it.has(labels));
        }
        let usable = topology::endpoints(snapshot, service, all, view);
        let affinity = service.service.session_affinity;
        let (mut message, metadata) = endpoint::assignment(name, usable.iter().copied(), affinity);
        // The service's address leads to any endpoint, not to one of a group.
        let declared = &service.service;
        let last_resort = declared.addresses.first().filter(|_| declared.entry.is_none());
        let last_resort = last_resort.filter(|_| labels.is_none() && usable.is_empty());
        if let Some(address) = last_resort {
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
