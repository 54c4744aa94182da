//! A control plane: a hub, a server, and what it was told.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
};
use weir_discovery::{
    model::{Event, Index},
    xds::{AdsServer, Generator, Hub, Kind, SyncState, serve_connection},
};

use crate::world::Dice;

/// Dies, with all of its connections, when it is dropped.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    hub: Arc<Hub>,
    index: Index,
    server: AbortHandle,
    _never: watch::Sender<bool>,
}

// === impl Replica ===

impl Replica {
    /// Serves what it is told is there.
    pub(crate) async fn start(events: Vec<Event>) -> Self {
        let hub = Arc::new(Hub::new(Generator::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (never, stopped) = watch::channel(false);
        let ads = AdsServer::new(hub.clone());
        let server = tokio::spawn(async move {
            // Its connections die with the set.
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let (ads, stopped) = (ads.clone().for_peer(peer), stopped.clone());
                connections.spawn(serve_connection(stream, ads, stopped));
            }
        });
        let mut replica = Self {
            address,
            hub,
            index: Index::default(),
            server: server.abort_handle(),
            _never: never,
        };
        events
            .into_iter()
            .for_each(|event| replica.index.apply(event));
        replica.publish();
        replica
    }

    /// Hears of events in an order of its own, in one go or in several.
    pub(crate) fn apply(&mut self, events: &[Event], dice: &mut Dice) {
        let mut events = events.to_vec();
        dice.shuffle(&mut events);
        for event in events {
            self.index.apply(event);
            if dice.roll(2) == 0 {
                self.publish();
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        if let Some((snapshot, changes)) = self.index.commit() {
            self.hub.publish(&snapshot, &changes, Instant::now());
        }
    }

    /// The version of everything there is.
    pub(crate) fn versions(&self) -> BTreeMap<(Kind, String), String> {
        let (snapshot, generator) = (self.index.snapshot(), self.hub.generator());
        let of = |kind: Kind| {
            let names = generator.names(&snapshot, kind).into_iter();
            let versions = names.map(|name| {
                let resource = generator.resource(&snapshot, kind, &name);
                (
                    (kind, name),
                    resource.expect("is named").version.to_string(),
                )
            });
            versions.collect::<Vec<_>>()
        };
        Kind::ALL.into_iter().flat_map(of).collect()
    }

    /// Whether the one client there is has all it was told, and all of it is the latest.
    pub(crate) fn has_one_up_to_date_client(&self) -> bool {
        let clients = self.hub.dump(|_| true);
        let [client] = clients.as_slice() else {
            return false;
        };
        let told = client
            .client
            .types
            .iter()
            .flat_map(|types| &types.resources);
        let told = told.filter(|resource| resource.version.is_some()).count();
        let mut types = client.client.types.iter();
        types.all(|types| matches!(types.state, SyncState::Synced | SyncState::NotSent))
            && told == client.latest.len()
            && told > 0
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.server.abort();
    }
}
