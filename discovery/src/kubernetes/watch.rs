//! Follows the API server: lists each kind once and watches it from there, for ever.
//!
//! Each kind has a task of its own, so that trouble with one holds up no other. A list comes as a
//! stream where the server can do that and in pages where it cannot. A watch that breaks goes on
//! where it was; where the server has forgotten that place, or what it said made no sense, the kind
//! is listed again, and what is no longer there is gone. Nobody waits for ever: a silent server is
//! taken for dead, and attempts are spaced out.

mod backoff;
mod collection;
mod follow;
mod frame;
mod kind;
mod lines;
mod status;
mod stop;

use std::sync::Arc;

use kube::Client;
pub use status::{WatchStatus, Watches};
use tokio::{sync::mpsc, task::JoinSet};

use self::{follow::Follow, kind::Kind};
use super::wire;
use crate::{
    model::{Event, Interner},
    rules::{
        self,
        authorization_policy::AuthorizationPolicy,
        destination_rule::DestinationRule,
        gateway::{GrpcRoute, HttpRoute, ReferenceGrant},
        peer_authentication::PeerAuthentication,
        service_entry::ServiceEntry,
        virtual_service::VirtualService,
        workload_entry::WorkloadEntry,
    },
};

/// Follows every kind of object that the model is made of, and sends what changed.
///
/// `watches` tells how it goes, and when every kind was listed once. Ends when nobody receives any
/// more.
pub async fn watch(
    client: Client,
    rules: rules::Settings,
    events: mpsc::Sender<Vec<Event>>,
    watches: Watches,
) {
    let names = Arc::default();
    let mut kinds = JoinSet::new();
    let with = With {
        client,
        events,
        watches,
        rules,
        names,
    };
    // Nodes and pods first: services are resolved once, at the end, either way.
    kinds.spawn(with.follow::<wire::Node>());
    kinds.spawn(with.follow::<wire::Pod>());
    kinds.spawn(with.follow::<wire::EndpointSlice>());
    kinds.spawn(with.follow::<wire::Service>());
    kinds.spawn(with.follow::<PeerAuthentication>());
    kinds.spawn(with.follow::<AuthorizationPolicy>());
    kinds.spawn(with.follow::<HttpRoute>());
    kinds.spawn(with.follow::<GrpcRoute>());
    kinds.spawn(with.follow::<ReferenceGrant>());
    kinds.spawn(with.follow::<DestinationRule>());
    kinds.spawn(with.follow::<VirtualService>());
    kinds.spawn(with.follow::<ServiceEntry>());
    kinds.spawn(with.follow::<WorkloadEntry>());
    drop(with);
    while let Some(ended) = kinds.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a watch ended; changes of its kind are no longer seen");
        }
    }
}

/// What the tasks of all kinds share.
struct With {
    client: Client,
    events: mpsc::Sender<Vec<Event>>,
    watches: Watches,
    rules: rules::Settings,
    names: Arc<Interner>,
}

// === impl With ===

impl With {
    fn follow<K: Kind>(&self) -> impl Future<Output = ()> + use<K> {
        let follow = Follow::<K>::new(
            self.client.clone(),
            self.events.clone(),
            self.watches.of(K::KIND),
            self.names.clone(),
            self.rules.clone(),
        );
        follow.run()
    }
}
