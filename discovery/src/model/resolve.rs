//! A service together with the endpoints of each of its ports.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Attachments, Claim, ClaimKind, Endpoint, EndpointSlice, NamespacedName, Node, Pod, Readiness,
    Service, ServiceKind, ServicePort, SliceEndpoint, TlsMode,
};

/// A service and the endpoints of each of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedService {
    /// The service as declared.
    pub service: Arc<Service>,
    /// For each port of the service, in the same order: its endpoints by address.
    endpoints: Vec<Vec<Endpoint>>,
}

// === impl ResolvedService ===

impl ResolvedService {
    /// Joins a service with its slices. Endpoints of a family the service has no address of are
    /// left out, as kube-proxy does; a service without addresses has both. Where two slices hold one
    /// address, as they do while a controller moves endpoints between slices, the better state of
    /// the two counts. A pod stands behind an endpoint if it has that address.
    pub(super) fn new<'a>(
        service: Arc<Service>,
        slices: &(impl Iterator<Item = &'a EndpointSlice> + Clone),
        pod: impl Fn(&NamespacedName) -> Option<Arc<Pod>>,
        attachments: &Attachments,
        node: impl Fn(&Arc<str>) -> Option<Arc<Node>>,
    ) -> Self {
        let own = &service.addresses;
        let has_family = |endpoint: &&SliceEndpoint| {
            let same = |own: &IpAddr| own.is_ipv4() == endpoint.address.is_ipv4();
            own.is_empty() || own.iter().any(same)
        };
        let endpoints = service.ports.iter().map(|port| {
            let mut endpoints = Vec::new();
            for slice in slices.clone() {
                for target in slice.ports.iter().filter(|target| target.name == port.name) {
                    let candidates = slice.endpoints.iter().filter(has_family);
                    endpoints.extend(candidates.map(|endpoint| {
                        let pod = endpoint.pod.as_ref().and_then(&pod);
                        let pod = pod.filter(|pod| pod.addresses.contains(&endpoint.address));
                        let takes_tls = |pod: &Arc<Pod>| {
                            let mode = || attachments.inbound_tls_of(pod).on(target.port);
                            pod.mutual_tls && mode() != TlsMode::Disable
                        };
                        Endpoint {
                            address: SocketAddr::new(endpoint.address, target.port),
                            readiness: endpoint.readiness,
                            node: endpoint.node.clone(),
                            locality: endpoint.node.as_ref().and_then(&node).map_or_else(
                                || endpoint.locality.clone(),
                                |node| node.locality.clone(),
                            ),
                            hints: endpoint.hints.clone(),
                            mutual_tls: pod.as_ref().is_some_and(takes_tls),
                            pod,
                            told: None,
                        }
                    }));
                }
            }
            endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.readiness));
            endpoints.dedup_by_key(|endpoint| endpoint.address);
            // Kept until the service changes: no room for more.
            endpoints.shrink_to_fit();
            endpoints
        });
        Self {
            endpoints: endpoints.collect(),
            service,
        }
    }

    /// A service that is declared, with its endpoints.
    pub(super) fn declared(service: Arc<Service>, mut endpoints: Vec<Vec<Endpoint>>) -> Self {
        for all in &mut endpoints {
            all.sort_by_key(|endpoint| (endpoint.address, endpoint.readiness));
            all.dedup_by_key(|endpoint| endpoint.address);
            all.shrink_to_fit();
        }
        Self { service, endpoints }
    }

    /// Each port with all its endpoints, ready or not.
    pub fn ports(&self) -> impl Iterator<Item = (&ServicePort, &[Endpoint])> {
        let endpoints = self.endpoints.iter().map(Vec::as_slice);
        self.service.ports.iter().zip(endpoints)
    }

    /// The port of that number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<(&ServicePort, &[Endpoint])> {
        self.ports().find(|(port, _)| port.port == number)
    }

    /// The endpoints of a port that take traffic: those that are ready; while there is none, those
    /// that drain.
    pub fn usable(endpoints: &[Endpoint]) -> impl Iterator<Item = &Endpoint> {
        let is_ready = |endpoint: &&Endpoint| endpoint.readiness == Readiness::Ready;
        let best = match endpoints.iter().find(is_ready) {
            Some(_) => Readiness::Ready,
            None => Readiness::Draining,
        };
        endpoints
            .iter()
            .filter(move |endpoint| endpoint.readiness == best)
    }

    /// Every destination this service has a claim on: its own addresses on its ports, and the
    /// addresses of its endpoints on the ports they listen on.
    pub(super) fn claims(&self) -> Vec<(SocketAddr, Claim)> {
        let mut claims = Vec::new();
        for (port, endpoints) in self.ports() {
            for address in &self.service.addresses {
                let address = SocketAddr::new(*address, port.port);
                claims.push((address, self.claim(ClaimKind::Service, port, address)));
            }
            // Who stands behind a host elsewhere is a service or a stranger in itself.
            let endpoints = endpoints.iter().filter(|_| self.service.entry.is_none());
            for endpoint in endpoints {
                let address = endpoint.address;
                claims.push((address, self.claim(ClaimKind::Endpoint, port, address)));
            }
        }
        claims
    }

    fn claim(&self, kind: ClaimKind, port: &ServicePort, destination: SocketAddr) -> Claim {
        Claim {
            kind,
            through_service: self.service.kind != ServiceKind::Headless,
            created: self.service.created.unwrap_or(i64::MAX),
            service: self.service.name.clone(),
            translated: port.port != destination.port(),
            port: port.port,
        }
    }
}
