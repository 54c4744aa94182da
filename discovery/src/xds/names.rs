//! Kinds and names of resources, and what a name refers to.

use std::net::{IpAddr, SocketAddr};

use weir_api::{names, xds::type_url};

use crate::model::NamespacedName;

/// The types that are served, in the order in which news of them must reach a client so that
/// nothing ever refers to what is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `envoy.config.cluster.v3.Cluster`
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`
    Endpoint,
    /// `envoy.config.listener.v3.Listener`
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`
    Route,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`, of which there is none yet.
    Secret,
}

/// What the name of a resource refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A port of a service: `outbound|8000||dest-app.ns.svc.cluster.local`.
    Service { service: NamespacedName, port: u16 },
    /// A group of the endpoints of a port of a service: `outbound|8000|v1|dest-app.ns.svc.cluster.local`.
    Subset {
        service: NamespacedName,
        port: u16,
        subset: String,
    },
    /// One endpoint of a service: `outbound|8080||10-4-0-7.dest-app.ns.svc.cluster.local`, which is
    /// also the endpoint's name in the cluster's DNS. The port is the endpoint's own.
    Endpoint {
        service: NamespacedName,
        address: SocketAddr,
    },
}

// === impl Kind ===

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::Route,
        Self::Secret,
    ];

    /// The type URL on the wire.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => type_url::CLUSTER,
            Self::Endpoint => type_url::ENDPOINT,
            Self::Listener => type_url::LISTENER,
            Self::Route => type_url::ROUTE,
            Self::Secret => type_url::SECRET,
        }
    }

    /// The kind of a type URL.
    #[must_use]
    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    }

    /// Whether a first request that names nothing means "everything", as it always did for the
    /// roots of a configuration.
    #[must_use]
    pub fn has_implicit_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// A word for logs, metrics and people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
            Self::Listener => "listener",
            Self::Route => "route",
            Self::Secret => "secret",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// Reads the name of a cluster, route configuration or load assignment.
    pub(super) fn parse(name: &str, cluster_domain: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("outbound|")?.splitn(3, '|');
        let (port, subset, host) = (parts.next()?, parts.next()?, parts.next()?);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let of_cluster = host.strip_suffix(cluster_domain);
        let Some(host) = of_cluster.and_then(|it| it.strip_suffix(".svc.")) else {
            return Self::of_host(host, port, subset);
        };
        let (rest, namespace) = host.rsplit_once('.')?;
        Some(match rest.rsplit_once('.') {
            None if !subset.is_empty() => Self::Subset {
                service: NamespacedName::new(namespace, rest),
                port,
                subset: subset.to_owned(),
            },
            Some(_) if !subset.is_empty() => return None,
            None => Self::Service {
                service: NamespacedName::new(namespace, rest),
                port,
            },
            Some((label, service)) => Self::Endpoint {
                service: NamespacedName::new(namespace, service),
                address: SocketAddr::new(undashed(label)?, port),
            },
        })
    }

    /// A host that a rule declares: in which namespace, its name does not say.
    fn of_host(host: &str, port: u16, subset: &str) -> Option<Self> {
        let service = NamespacedName::new("", host);
        if !service.is_host() {
            return None;
        }
        Some(match subset.is_empty() {
            true => Self::Service { service, port },
            false => Self::Subset {
                service,
                port,
                subset: subset.to_owned(),
            },
        })
    }

    /// The same of the service that callers mean by its host.
    pub(super) fn with(mut self, name: &NamespacedName) -> Self {
        match &mut self {
            Self::Service { service, .. }
            | Self::Subset { service, .. }
            | Self::Endpoint { service, .. } => *service = name.clone(),
        }
        self
    }

    /// The name of its cluster, route configuration and load assignment alike.
    pub(super) fn name(&self, cluster_domain: &str) -> String {
        let host = self.host(cluster_domain);
        match self {
            Self::Subset { subset, port, .. } => names::outbound_subset(*port, subset, &host),
            _ => names::outbound_cluster(self.port(), &host),
        }
    }

    /// The service that it is, or is of.
    pub(super) fn service(&self) -> &NamespacedName {
        match self {
            Self::Service { service, .. }
            | Self::Subset { service, .. }
            | Self::Endpoint { service, .. } => service,
        }
    }

    /// Its name in the cluster's DNS.
    pub(super) fn host(&self, cluster_domain: &str) -> String {
        let host = |service: &NamespacedName| host_of(service, cluster_domain);
        match self {
            Self::Service { service, .. } | Self::Subset { service, .. } => host(service),
            Self::Endpoint { service, address } => {
                format!("{}.{}", dashed(address.ip()), host(service))
            }
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Service { port, .. } | Self::Subset { port, .. } => *port,
            Self::Endpoint { address, .. } => address.port(),
        }
    }
}

/// The name by which callers know a service.
pub(super) fn host_of(service: &NamespacedName, cluster_domain: &str) -> String {
    match service.is_host() {
        true => service.name.to_string(),
        false => names::service_host(&service.name, &service.namespace, cluster_domain),
    }
}

fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn undashed(label: &str) -> Option<IpAddr> {
    let v4 = label.replace('-', ".").parse().ok().map(IpAddr::V4);
    v4.or_else(|| label.replace('-', ":").parse().ok().map(IpAddr::V6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_for_services_and_endpoints_of_both_families() {
        let service = NamespacedName::new("shop", "cart");
        for (name, subject) in [
            (
                "outbound|8000||cart.shop.svc.cluster.local",
                Subject::Service {
                    service: service.clone(),
                    port: 8000,
                },
            ),
            (
                "outbound|8000|v1|cart.shop.svc.cluster.local",
                Subject::Subset {
                    service: service.clone(),
                    port: 8000,
                    subset: "v1".to_owned(),
                },
            ),
            (
                "outbound|8080||10-4-0-7.cart.shop.svc.cluster.local",
                Subject::Endpoint {
                    service: service.clone(),
                    address: "10.4.0.7:8080".parse().expect("address"),
                },
            ),
            (
                "outbound|8080||2001-db8--7.cart.shop.svc.cluster.local",
                Subject::Endpoint {
                    service,
                    address: "[2001:db8::7]:8080".parse().expect("address"),
                },
            ),
        ] {
            assert_eq!(Subject::parse(name, "cluster.local"), Some(subject.clone()));
            assert_eq!(subject.name("cluster.local"), name);
        }
        for name in [
            "outbound|0||cart.shop.svc.cluster.local",
            "outbound|80|v1|10-4-0-7.cart.shop.svc.cluster.local",
            "outbound|80||web.cart.shop.svc.cluster.local",
            "outbound|10.4.0.3:8000",
            "inbound|80||",
            "",
        ] {
            assert_eq!(Subject::parse(name, "cluster.local"), None, "{name}");
        }
    }
}
