//! Changes of the snapshot.

use std::{net::SocketAddr, sync::Arc};

use super::{Kind, resource::Resource};
use crate::{
    config::Cluster,
    secrets::Secrets,
    snapshot::{Destination, DestinationListener, Snapshot},
};

/// A change of the snapshot.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// The resource is new, or replaces the one of that name.
    Set(String, Resource),
    /// The hosts of a cluster are to be checked, before it is in force.
    Warm(String, Arc<Cluster>),
    /// The cluster of that name is in force, or gone.
    EndWarming(String),
    /// There is no such resource any more.
    Remove(Kind, String),
    /// What is known of an original destination.
    Destination(SocketAddr, Destination),
    /// Nothing is known of it any more.
    Forget(SocketAddr),
}

// === impl Change ===

impl Change {
    pub(super) fn apply(self, snapshot: &mut Snapshot, secrets: &Secrets) {
        match self {
            Self::Set(name, Resource::Cluster(cluster)) => {
                snapshot.clusters.insert(name, cluster);
            }
            Self::Set(name, Resource::Endpoint(assignment)) => {
                snapshot.endpoints.insert(name, assignment);
            }
            Self::Set(name, Resource::Listener(bound)) => {
                snapshot.listeners.insert(name, bound);
            }
            Self::Set(_, Resource::Destination(listener)) => {
                let (address, listener) = (listener.address, DestinationListener::new(listener));
                let present = Destination::Present(Arc::new(listener));
                snapshot.destinations.insert(address, present);
            }
            Self::Set(name, Resource::Route(routes)) => {
                snapshot.routes.insert(name, routes);
            }
            Self::Warm(name, cluster) => drop(snapshot.warming.insert(name, cluster)),
            Self::EndWarming(name) => drop(snapshot.warming.remove(&name)),
            Self::Remove(Kind::Cluster, name) => drop(snapshot.clusters.remove(&name)),
            Self::Remove(Kind::Endpoint, name) => drop(snapshot.endpoints.remove(&name)),
            Self::Remove(Kind::Listener, name) => drop(snapshot.listeners.remove(&name)),
            Self::Remove(Kind::Route, name) => drop(snapshot.routes.remove(&name)),
            Self::Set(name, Resource::Secret(secret)) => secrets.set_ads(&name, Some(&secret)),
            Self::Remove(Kind::Secret, name) => secrets.set_ads(&name, None),
            Self::Destination(address, destination) => {
                snapshot.destinations.insert(address, destination);
            }
            Self::Forget(address) => drop(snapshot.destinations.remove(&address)),
        }
    }
}
