//! An immutable view of the whole model.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Attachments, Endpoint, NamespacedName, Node, Pod, ResolvedService, ServicePort, hosts::Hosts,
    shards::Shards,
};

/// Everything known at one moment. A clone costs next to nothing.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) services: Shards<NamespacedName, Arc<ResolvedService>>,
    pub(super) addresses: Shards<SocketAddr, Arc<[Claim]>>,
    pub(super) pods: Shards<IpAddr, Arc<Pod>>,
    pub(super) pods_by_name: Shards<NamespacedName, Arc<Pod>>,
    /// The services each pod stands behind, in order.
    pub(super) pod_services: Shards<NamespacedName, Arc<[NamespacedName]>>,
    pub(super) nodes: Shards<Arc<str>, Arc<Node>>,
    pub(super) attachments: Arc<Attachments>,
    /// The hosts that rules declare.
    pub(super) hosts: Arc<Hosts>,
}

/// A service's claim to a destination. The least of several claims has it, so the order of the
/// fields is the order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// An address of a service comes before an address of an endpoint.
    pub kind: ClaimKind,
    /// Headless services come first: their clients use the addresses of endpoints on purpose.
    pub(super) through_service: bool,
    /// Then the oldest.
    pub(super) created: i64,
    /// Then by name.
    pub service: NamespacedName,
    /// Then the service port that has the number of the endpoint's port.
    pub(super) translated: bool,
    /// The service port.
    pub port: u16,
}

/// What a claimed address is to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// An address of the service itself.
    Service,
    /// The address of one of its endpoints.
    Endpoint,
}

/// A destination that two services give themselves, which only external addresses can do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The destination.
    pub destination: SocketAddr,
    /// The service that has it: the older one.
    pub service: NamespacedName,
    /// The one that does not.
    pub ignored: NamespacedName,
}

/// What a destination turned out to be.
#[derive(Debug, Clone, Copy)]
pub enum Destination<'a> {
    /// A port of a service, whose endpoints share the traffic.
    Service {
        /// The service.
        service: &'a ResolvedService,
        /// The port.
        port: &'a ServicePort,
    },
    /// One endpoint of a service: traffic goes there and nowhere else, ready or not.
    Endpoint {
        /// The service.
        service: &'a ResolvedService,
        /// The port of the service.
        port: &'a ServicePort,
        /// The endpoint.
        endpoint: &'a Endpoint,
    },
}

// === impl Snapshot ===

impl Snapshot {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &NamespacedName) -> Option<&Arc<ResolvedService>> {
        self.services.get(name)
    }

    /// All services, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ResolvedService>> {
        self.services.iter().map(|(_, service)| service)
    }

    /// The services about which rules say something to some callers only, by their labels.
    #[must_use]
    pub fn services_of_selecting_rules(&self) -> BTreeSet<NamespacedName> {
        let mut hosts = self.attachments.destinations().selecting();
        hosts.extend(self.attachments.routings().selecting());
        hosts.into_iter().flat_map(|it| it.services(self)).collect()
    }

    /// How many services there are.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Every destination somebody claims, with the claim that has it, in no particular order.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, &Claim)> {
        self.addresses
            .iter()
            .filter_map(|(address, claims)| Some((*address, claims.first()?)))
    }

    /// The claim that has a destination.
    #[must_use]
    pub fn claim(&self, destination: SocketAddr) -> Option<&Claim> {
        self.addresses.get(&destination)?.first()
    }

    /// Destinations that two services or more give themselves, in no particular order. Looks at every
    /// destination.
    pub fn conflicts(&self) -> impl Iterator<Item = Conflict> {
        let contested = self.addresses.iter().filter(|(_, claims)| claims.len() > 1);
        contested.flat_map(|(destination, claims)| conflicts(*destination, claims))
    }

    /// What a destination is to whoever calls. `None` is what the mesh does not know.
    #[must_use]
    pub fn destination(&self, destination: SocketAddr) -> Option<Destination<'_>> {
        self.destination_in(destination, None)
    }

    /// What a destination is to callers in a namespace. `None` is what they do not know.
    #[must_use]
    pub fn destination_in(
        &self,
        destination: SocketAddr,
        namespace: Option<&str>,
    ) -> Option<Destination<'_>> {
        let claims = self.addresses.get(&destination);
        let mut claims = claims.into_iter().flat_map(|claims| claims.iter());
        let known = claims.find_map(|claim| {
            let service = self.service(&claim.service)?;
            service
                .service
                .is_known_in(namespace)
                .then_some((claim, service))
        });
        let Some((claim, service)) = known else {
            let (service, port) = self.in_network(destination, namespace)?;
            return Some(Destination::Service { service, port });
        };
        let (port, endpoints) = service.port(claim.port)?;
        match claim.kind {
            ClaimKind::Service => Some(Destination::Service { service, port }),
            ClaimKind::Endpoint => {
                let by_address = |endpoint: &Endpoint| endpoint.address.cmp(&destination);
                let endpoint = &endpoints[endpoints.binary_search_by(by_address).ok()?];
                Some(Destination::Endpoint {
                    service,
                    port,
                    endpoint,
                })
            }
        }
    }

    /// The pod that has an address of its own.
    #[must_use]
    pub fn pod(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.pods.get(&address)
    }

    /// The pod of that name.
    #[must_use]
    pub fn pod_named(&self, name: &NamespacedName) -> Option<&Arc<Pod>> {
        self.pods_by_name.get(name)
    }

    /// All pods, in no particular order.
    pub fn all_pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods_by_name.iter().map(|(_, pod)| pod)
    }

    /// The names of the services that have a pod among their endpoints, ready or not, in order. A
    /// name may be that of a service that is not there.
    #[must_use]
    pub fn services_of(&self, pod: &NamespacedName) -> &[NamespacedName] {
        self.pod_services.get(pod).map_or(&[], |services| services)
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &Arc<str>) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// What rules mean for workloads.
    #[must_use]
    pub fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// How many nodes there are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many addresses belong to a pod.
    #[must_use]
    pub fn pod_address_count(&self) -> usize {
        self.pods.len()
    }
}

/// Claims of other services to an address that a service gives itself.
pub(super) fn conflicts(
    destination: SocketAddr,
    claims: &[Claim],
) -> impl Iterator<Item = Conflict> {
    let service = claims.first().map(|first| first.service.clone());
    let others = claims.iter().skip(1);
    let others = others.take_while(|claim| claim.kind == ClaimKind::Service);
    others.filter_map(move |claim| {
        let conflict = Conflict {
            destination,
            service: service.clone()?,
            ignored: claim.service.clone(),
        };
        (conflict.service != conflict.ignored).then_some(conflict)
    })
}
