//! Services as a registry declares them.

use std::{net::IpAddr, sync::Arc};

use super::{Hint, NamespacedName, Protocol, ServiceEntry};

/// A service, without its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: NamespacedName,
    /// When it was created, seconds since 1970: of two services that claim one address, the older
    /// has it. `None` where the registry does not know.
    pub created: Option<i64>,
    /// How clients reach it.
    pub kind: ServiceKind,
    /// Every address that stands for the service: cluster addresses of both families, external
    /// addresses, load balancer addresses.
    pub addresses: Vec<IpAddr>,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
    /// Which endpoints a client may use.
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// Which of those a client prefers.
    pub traffic_distribution: TrafficDistribution,
    /// Whether a client comes to the same endpoint each time.
    pub session_affinity: SessionAffinity,
    /// What declares it, if that is not the cluster. Its name is then that of a host.
    pub entry: Option<Arc<ServiceEntry>>,
}

/// How clients reach a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Through an address of the service.
    ClusterIp,
    /// Through the addresses of its endpoints; it has none of its own.
    Headless,
    /// Through a name somewhere else. That is a matter of DNS: such a service captures nothing.
    ExternalName,
}

/// A TCP port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Name of the port, empty where a service has only one. Endpoint slices refer to it.
    pub name: String,
    /// Its number at the service's addresses.
    pub port: u16,
    /// What it speaks.
    pub hint: Hint,
}

/// Which endpoints of a service a client may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum InternalTrafficPolicy {
    /// All of them.
    #[default]
    Cluster,
    /// Those on the client's own node.
    Local,
}

// === impl Service ===

impl Service {
    /// Whether callers in a namespace know it; none in particular know what all do.
    #[must_use]
    pub fn is_known_in(&self, namespace: Option<&str>) -> bool {
        let entry = self.entry.as_ref();
        entry.is_none_or(|it| it.exports.reach(namespace))
    }
}

// === impl ServicePort ===

impl ServicePort {
    /// Whether who speaks what the port speaks says for which host that is.
    #[must_use]
    pub fn can_name_hosts(&self) -> bool {
        self.hint.protocol != Protocol::Tcp
    }
}

/// Whether a client of a service comes to the same endpoint each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SessionAffinity {
    /// To any.
    #[default]
    None,
    /// To the one that its address leads to, as long as that endpoint is there.
    ClientIp,
}

/// Which endpoints of a service a client prefers. Where endpoints carry [`super::Hints`], a
/// controller has worked this out already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TrafficDistribution {
    /// None over another.
    #[default]
    Any,
    /// Those in the client's own zone, while there are any: `PreferSameZone`, or its older name
    /// `PreferClose`.
    PreferSameZone,
    /// Those on the client's own node, else those in its zone.
    PreferSameNode,
}
