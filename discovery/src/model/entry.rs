//! Services that people declare because the cluster does not: hosts outside of it, and what stands
//! behind them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Endpoint, Exports, Hint, Hints, InternalTrafficPolicy, Labels, Locality, NamespacedName, Pod,
    Readiness, Service, ServiceKind, ServicePort, SessionAffinity, TrafficDistribution,
};

/// What one object declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Names, each of a service of its own; one may begin with `*.`.
    pub hosts: Vec<Arc<str>>,
    /// Addresses that stand for the first of them.
    pub addresses: Vec<IpAddr>,
    /// Networks whose addresses do.
    pub networks: Vec<IpNet>,
    /// TCP ports.
    pub ports: Vec<EntryPort>,
    /// Whether what stands behind is of the mesh, and so may speak mutual TLS.
    pub is_internal: bool,
    /// How it is known where a connection goes.
    pub resolution: Resolution,
    /// What stands behind, as it is written there.
    pub endpoints: Vec<EntryEndpoint>,
    /// Pods and workloads of the object's namespace that stand behind, too.
    pub selector: Option<Labels>,
    /// Callers in which namespaces know it.
    pub exports: Exports,
    /// Names of which a certificate behind it has one, where a rule has callers speak TLS with it.
    pub names: Vec<Arc<str>>,
}

/// A port of a service that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPort {
    /// Its name, to which endpoints refer.
    pub name: String,
    /// Its number for callers.
    pub port: u16,
    /// Its number at endpoints that say nothing else.
    pub target: u16,
    /// What it speaks.
    pub hint: Hint,
}

/// How it is known where a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// To the address that the caller asked for.
    None,
    /// To the endpoints that are written down or selected.
    Static,
    /// To all addresses of names, which sidecars look up.
    Dns,
    /// To one address of a name at a time.
    DnsRoundRobin,
}

/// Something that stands behind a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryEndpoint {
    /// Where it is.
    pub place: EndpointPlace,
    /// Numbers of its ports, by the names that the service has for them.
    pub ports: BTreeMap<String, u16>,
    /// Labels, by which rules group endpoints.
    pub labels: Arc<Labels>,
    /// Where that is.
    pub locality: Arc<Locality>,
    /// Its part of the traffic.
    pub weight: u32,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointPlace {
    /// At an address.
    Address(IpAddr),
    /// Wherever a name leads.
    Name(Arc<str>),
}

/// What is said of an endpoint beside its address, where that is not said of its pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Its part of the traffic.
    pub weight: u32,
}

// === impl ServiceEntry ===

impl ServiceEntry {
    /// The service of one of its hosts.
    #[must_use]
    pub fn service(
        self: &Arc<Self>,
        name: NamespacedName,
        created: Option<i64>,
    ) -> Option<Service> {
        let place = self.hosts.iter().position(|host| *host == name.name)?;
        let ports = self.ports.iter().map(|port| ServicePort {
            name: port.name.clone(),
            port: port.port,
            hint: port.hint,
        });
        Some(Service {
            name,
            created,
            kind: ServiceKind::ClusterIp,
            addresses: match place {
                0 => self.addresses.clone(),
                _ => Vec::new(),
            },
            ports: ports.collect(),
            internal_traffic_policy: InternalTrafficPolicy::default(),
            traffic_distribution: TrafficDistribution::default(),
            session_affinity: SessionAffinity::default(),
            entry: Some(self.clone()),
        })
    }

    /// Whether connections to a host of it are recognised by its name alone.
    #[must_use]
    pub fn is_known_by_name(&self, host: &str) -> bool {
        let has_addresses = !self.addresses.is_empty() || !self.networks.is_empty();
        !has_addresses || self.hosts.first().is_none_or(|first| **first != *host)
    }

    /// How large the network is in which an address of a host lies: the length of its prefix.
    #[must_use]
    pub fn network_of(&self, host: &str, address: IpAddr) -> Option<u8> {
        let is_first = self.hosts.first().is_some_and(|first| **first == *host);
        let networks = self.networks.iter().filter(|it| it.contains(&address));
        networks
            .map(IpNet::prefix_len)
            .max()
            .filter(|_| is_first)
    }

    /// Where a port of an endpoint is. None: nowhere, for the endpoint is behind a name.
    #[must_use]
    pub fn endpoint(&self, port: &EntryPort, endpoint: &EntryEndpoint) -> Option<Endpoint> {
        let EndpointPlace::Address(address) = endpoint.place else {
            return None;
        };
        let told = Told {
            labels: endpoint.labels.clone(),
            weight: endpoint.weight,
        };
        let says_nothing = told.weight == 1 && told.labels.is_empty();
        Some(Endpoint {
            address: SocketAddr::new(address, endpoint.port(port)),
            readiness: Readiness::Ready,
            node: None,
            locality: endpoint.locality.clone(),
            hints: Arc::default(),
            pod: None,
            mutual_tls: false,
            told: (!says_nothing).then(|| Arc::new(told)),
        })
    }

    /// The port of a pod that stands behind.
    #[must_use]
    pub fn endpoint_of_pod(
        &self,
        port: &EntryPort,
        pod: &Arc<Pod>,
        takes_tls: bool,
        locality: Arc<Locality>,
    ) -> Option<Endpoint> {
        Some(Endpoint {
            address: SocketAddr::new(*pod.addresses.first()?, port.target),
            readiness: match pod.ready {
                true => Readiness::Ready,
                false => Readiness::NotReady,
            },
            node: pod.node.clone(),
            locality,
            hints: Arc::<Hints>::default(),
            pod: Some(pod.clone()),
            mutual_tls: takes_tls && self.is_internal,
            told: None,
        })
    }
}

// === impl EntryEndpoint ===

impl EntryEndpoint {
    /// The number of a port there.
    #[must_use]
    pub fn port(&self, port: &EntryPort) -> u16 {
        self.ports.get(&port.name).copied().unwrap_or(port.target)
    }
}
