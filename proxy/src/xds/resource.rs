//! Resources as the client holds them, and what they refer to.

use std::sync::Arc;

use weir_api::xds::{codec, google::protobuf::Any};

use super::Kind;
use crate::{
    config::{
        Cluster, Listener, LoadAssignment, RouteConfiguration,
        cluster::ClusterDiscovery,
        http::RouteSource,
        listener::{FilterChain, NetworkFilter},
        route::{ForwardTarget, RouteAction},
        tls::{LoadedSecret, SecretRef, TransportSocket},
    },
    convert,
    net::BoundListener,
};

/// A resource in its runtime type.
#[derive(Debug, Clone)]
pub(super) enum Resource {
    Cluster(Arc<Cluster>),
    Endpoint(Arc<LoadAssignment>),
    /// A listener without sockets.
    Destination(Arc<Listener>),
    /// A listener with sockets.
    Listener(Arc<BoundListener>),
    Route(Arc<RouteConfiguration>),
    Secret(Arc<LoadedSecret>),
}

/// Name of a resource of some kind.
pub(super) type Reference = (Kind, String);

/// A message, converted. A listener has no sockets yet.
pub(super) enum Converted {
    Ready(Resource),
    Unbound(Arc<Listener>),
}

/// Turns the message into its runtime type, or says what is wrong with it.
pub(super) fn convert(kind: Kind, name: &str, any: &Any) -> Result<Converted, String> {
    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let (own_name, converted) = match kind {
        Kind::Cluster => {
            let message = codec::unpack_cluster(any).map_err(text)?;
            let cluster = convert::cluster(message).map_err(text)?;
            let cluster = Arc::new(cluster);
            (
                cluster.name.clone(),
                Converted::Ready(Resource::Cluster(cluster)),
            )
        }
        Kind::Endpoint => {
            let message = codec::unpack_cluster_load_assignment(any).map_err(text)?;
            let assignment = convert::load_assignment(message).map_err(text)?;
            let own_name = assignment.cluster_name.clone();
            (
                own_name,
                Converted::Ready(Resource::Endpoint(Arc::new(assignment))),
            )
        }
        Kind::Listener => {
            let message = codec::unpack_listener(any).map_err(text)?;
            let listener = Arc::new(convert::listener(message).map_err(text)?);
            let own_name = listener.name.clone();
            if listener.bind_to_port {
                (own_name, Converted::Unbound(listener))
            } else {
                (own_name, Converted::Ready(Resource::Destination(listener)))
            }
        }
        Kind::Route => {
            let message = codec::unpack_route_configuration(any).map_err(text)?;
            let routes = Arc::new(convert::route_configuration(message).map_err(text)?);
            (
                routes.name.clone(),
                Converted::Ready(Resource::Route(routes)),
            )
        }
        Kind::Secret => {
            let message = codec::unpack_secret(any).map_err(text)?;
            let secret = Arc::new(convert::secret(message).map_err(text)?);
            (
                secret.secret.name.clone(),
                Converted::Ready(Resource::Secret(secret)),
            )
        }
    };
    if own_name != name {
        return Err(format!("name: {own_name:?} inside, {name:?} outside"));
    }
    Ok(converted)
}

/// The name that a message has inside. What cannot be read has none, and is refused for that.
pub(super) fn name_of(kind: Kind, any: &Any) -> String {
    let name = match kind {
        Kind::Cluster => codec::unpack_cluster(any).map(|it| it.name),
        Kind::Endpoint => codec::unpack_cluster_load_assignment(any).map(|it| it.cluster_name),
        Kind::Listener => codec::unpack_listener(any).map(|it| it.name),
        Kind::Route => codec::unpack_route_configuration(any).map(|it| it.name),
        Kind::Secret => codec::unpack_secret(any).map(|it| it.name),
    };
    name.unwrap_or_default()
}

// === impl Resource ===

impl Resource {
    /// Whether both are the very same object.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster(a), Self::Cluster(b)) => Arc::ptr_eq(a, b),
            (Self::Endpoint(a), Self::Endpoint(b)) => Arc::ptr_eq(a, b),
            (Self::Destination(a), Self::Destination(b)) => Arc::ptr_eq(a, b),
            (Self::Listener(a), Self::Listener(b)) => Arc::ptr_eq(a, b),
            (Self::Route(a), Self::Route(b)) => Arc::ptr_eq(a, b),
            (Self::Secret(a), Self::Secret(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// What must be there before this can be used.
    pub(super) fn references(&self) -> Vec<Reference> {
        match self {
            Self::Cluster(cluster) => of_cluster(cluster),
            Self::Endpoint(_) | Self::Secret(_) => Vec::new(),
            Self::Destination(listener) => of_listener(listener),
            Self::Listener(bound) => of_listener(&bound.listener),
            Self::Route(routes) => of_routes(routes),
        }
    }
}

/// The endpoints of an EDS cluster, and the secrets of one with TLS.
pub(super) fn of_cluster(cluster: &Cluster) -> Vec<Reference> {
    let mut references = Vec::new();
    match &cluster.discovery {
        ClusterDiscovery::Eds(name) => references.push((Kind::Endpoint, name.clone())),
        ClusterDiscovery::Aggregate(names) => {
            references.extend(names.iter().map(|name| (Kind::Cluster, name.clone())));
        }
        _ => {}
    }
    for context in cluster.tls_contexts() {
        references.extend(of_secrets(context.common.secrets()));
    }
    references
}

/// Those that come over the stream.
fn of_secrets<'s>(secrets: impl Iterator<Item = &'s SecretRef>) -> impl Iterator<Item = Reference> {
    let names = secrets.filter_map(SecretRef::over_ads);
    names.map(|name| (Kind::Secret, name.to_owned()))
}

/// The routes, clusters and secrets of a listener.
pub(super) fn of_listener(listener: &Listener) -> Vec<Reference> {
    let mut references = Vec::new();
    let chains = listener.filter_chains.iter();
    for chain in chains.chain(&listener.default_filter_chain) {
        of_chain(chain, &mut references);
    }
    references.sort();
    references.dedup();
    references
}

fn of_chain(chain: &FilterChain, references: &mut Vec<Reference>) {
    if let TransportSocket::Tls(context) = &chain.transport_socket {
        references.extend(of_secrets(context.secrets()));
    }
    for filter in &chain.filters {
        match filter {
            NetworkFilter::TcpProxy(proxy) => {
                let names = proxy.clusters.iter().map(|cluster| cluster.name.clone());
                references.extend(names.map(|name| (Kind::Cluster, name)));
            }
            NetworkFilter::HttpConnectionManager(manager) => {
                let called = manager.filters.iter().flat_map(|it| it.config.clusters());
                references.extend(called.map(|name| (Kind::Cluster, name.to_owned())));
                match &manager.routes {
                    RouteSource::Rds(name) => references.push((Kind::Route, name.clone())),
                    RouteSource::Inline(routes) => references.extend(of_routes(routes)),
                }
            }
            // They lead nowhere, or where the client says.
            NetworkFilter::Echo
            | NetworkFilter::DirectResponse(_)
            | NetworkFilter::ConnectionLimit(_)
            | NetworkFilter::LocalRateLimit(_)
            | NetworkFilter::SniCluster
            | NetworkFilter::SniDynamicForwardProxy(_)
            | NetworkFilter::Rbac(_) => {}
        }
    }
}

fn of_routes(routes: &RouteConfiguration) -> Vec<Reference> {
    let mut names = Vec::new();
    let hosts = routes.virtual_hosts.iter();
    let levels = hosts.flat_map(|host| {
        let routes = host.routes.iter().map(|route| &route.per_filter);
        routes.chain([&host.per_filter])
    });
    let called = levels.chain([&routes.per_filter]);
    names.extend(
        called
            .flat_map(super::super::config::http_filter::PerFilterConfig::clusters)
            .map(str::to_owned),
    );
    for route in routes.virtual_hosts.iter().flat_map(|host| &host.routes) {
        let RouteAction::Forward(forward) = &route.action else {
            continue;
        };
        names.extend(forward.mirrors.iter().map(|mirror| mirror.cluster.clone()));
        match &forward.target {
            ForwardTarget::Cluster(name) => names.push(name.clone()),
            // Known only when a request comes; such clusters are static or come by wildcard.
            ForwardTarget::ClusterHeader(_) => {}
            ForwardTarget::Weighted { clusters, .. } => {
                names.extend(clusters.iter().map(|cluster| cluster.name.clone()));
            }
        }
    }
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| (Kind::Cluster, name))
        .collect()
}
