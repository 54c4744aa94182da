//! What one worker counts with.

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::IpAddr,
    sync::Arc,
};

use hashbrown::HashMap;

use super::{
    End, Key, Kind, MAX_SERIES, Security, Side,
    key::Kept,
    peers::{Peers, Who},
    series::{Event, Series},
    shard::Shard,
};
use crate::{
    config::listener::TrafficDirection,
    demand::DemandSender,
    info::{ConnectionInfo, Outcome, UpstreamPeer},
    net::tls::TlsInfo,
    snapshot::Snapshot,
};

/// Ticks after which a series that nothing has counted is forgotten: an hour.
const IDLE: i64 = 360;
/// Events that wait until it is known whose they are.
const MAX_WAITING: usize = 1024;

/// What one worker counts with.
pub(crate) struct Reporter {
    shard: Arc<Shard>,
    known: RefCell<HashMap<Arc<Kept>, Arc<Series>>>,
    peers: Peers,
    waiting: RefCell<Vec<Waiting>>,
    /// Grows every ten seconds.
    tick: Cell<i64>,
    /// The SPIFFE identity of this process, which certificates that follow each other share.
    own_principal: OnceCell<Box<str>>,
}

/// An event of a peer of which the control plane was asked who it is.
struct Waiting {
    address: IpAddr,
    key: Kept,
    event: Event,
}

// === impl Reporter ===

impl Reporter {
    pub(super) fn new(shard: Arc<Shard>, snapshot: &Arc<Snapshot>, demands: DemandSender) -> Self {
        Self {
            shard,
            known: RefCell::default(),
            peers: Peers::new(snapshot, demands),
            waiting: RefCell::default(),
            tick: Cell::new(0),
            own_principal: OnceCell::new(),
        }
    }

    /// Counts a request that has ended; how long it took in microseconds.
    pub(crate) fn request(
        &self,
        connection: &ConnectionInfo,
        outcome: &Outcome,
        is_grpc: bool,
        duration_us: u64,
    ) {
        let event = Event::Request {
            duration_us,
            request_bytes: outcome.bytes_received,
            response_bytes: outcome.bytes_sent,
        };
        let kind = Kind::request(outcome, is_grpc);
        self.report(connection, outcome, kind, event);
    }

    /// Counts what becomes of a connection that carries no requests.
    pub(crate) fn connection(&self, connection: &ConnectionInfo, event: Event) {
        let outcome = &connection.outcome;
        self.report(connection, outcome, Kind::connection(outcome), event);
    }

    /// Counts nothing for what is neither a client's side nor a server's.
    fn report(&self, connection: &ConnectionInfo, outcome: &Outcome, kind: Kind, event: Event) {
        match connection.listener.direction {
            TrafficDirection::Outbound => {
                self.count(&outbound(outcome, kind), event);
            }
            TrafficDirection::Inbound => {
                let address = connection.direct_remote().ip();
                let key = inbound(connection, self.principals(connection), kind);
                self.of_peer(address, &key, event);
            }
            TrafficDirection::Unspecified => {}
        }
    }

    /// Counts an event of whoever is behind an address, now or once that is known.
    pub(super) fn of_peer(&self, address: IpAddr, key: &Key<'_>, event: Event) {
        match self.peers.who(address, self.tick.get()) {
            Who::Known(peer) => {
                let workload = Some(&*peer);
                let peer = End {
                    workload,
                    ..key.peer
                };
                self.count(&Key { peer, ..*key }, event);
            }
            Who::Nobody => self.count(key, event),
            Who::Asked => self.wait(address, key, event),
        }
    }

    /// The identities that both ends have shown, if both have: ours, and the peer's.
    fn principals<'a>(&'a self, connection: &'a ConnectionInfo) -> Principals<'a> {
        let tls = connection
            .tls
            .as_deref()
            .filter(|tls| !tls.peer.is_empty())?;
        let peer = tls.peer_names().and_then(|names| names.uris.first());
        Some((self.own_principal(tls), peer.map(String::as_str)))
    }

    fn own_principal(&self, tls: &TlsInfo) -> Option<&str> {
        if let Some(known) = self.own_principal.get() {
            return Some(known);
        }
        let own = tls.local_names()?.uris.first()?;
        Some(self.own_principal.get_or_init(|| own.as_str().into()))
    }

    pub(super) fn count(&self, key: &Key<'_>, event: Event) {
        let mut known = self.known.borrow_mut();
        if let Some(series) = known.get(key) {
            return series.count(event, self.tick.get());
        }
        if known.len() >= MAX_SERIES {
            return self.shard.overflow(key.kind, event);
        }
        let (kept, series) = (Arc::new(key.keep()), Arc::new(Series::new(key.kind)));
        series.count(event, self.tick.get());
        known.insert(Arc::clone(&kept), Arc::clone(&series));
        self.shard.with(|table| table.series.push((kept, series)));
    }

    fn wait(&self, address: IpAddr, key: &Key<'_>, event: Event) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_WAITING {
            return self.count(key, event);
        }
        let key = key.keep();
        waiting.push(Waiting {
            address,
            key,
            event,
        });
    }

    /// Takes in what a new snapshot says of peers.
    pub(crate) fn apply(&self, snapshot: &Arc<Snapshot>) {
        self.peers.apply(snapshot);
        self.settle();
    }

    /// Ten seconds have passed: who is not known by now stays so, and what was idle for long is forgotten.
    pub(crate) fn age(&self) {
        let now = self.tick.get() + 1;
        self.tick.set(now);
        self.settle();
        self.peers.age(now);
        let mut known = self.known.borrow_mut();
        let before = known.len();
        known.retain(|_, series| now - series.used() < IDLE);
        if known.len() < before {
            known.shrink_to_fit();
            let gone = (before - known.len()) as u64;
            self.shard.with(|table| {
                table.evicted += gone;
                table.series.retain(|(kept, _)| known.contains_key(kept));
                table.series.shrink_to_fit();
            });
        }
    }

    /// Counts what has waited and need not wait any more.
    fn settle(&self) {
        let waiting = self.waiting.take();
        for Waiting {
            address,
            key,
            event,
        } in waiting
        {
            self.of_peer(address, &key.key(), event);
        }
    }
}

/// The identities that both ends of a connection have shown: ours, and the peer's. None where they have
/// not.
type Principals<'a> = Option<(Option<&'a str>, Option<&'a str>)>;

fn inbound<'a>(connection: &'a ConnectionInfo, principals: Principals<'a>, kind: Kind) -> Key<'a> {
    let (own_principal, principal) = principals.unwrap_or_default();
    Key {
        side: Side::Destination,
        peer: End {
            workload: None,
            principal,
        },
        own_principal,
        service: service_of_port(connection).unwrap_or_default(),
        security: match principals {
            Some(_) => Security::MutualTls,
            None => Security::None,
        },
        kind,
    }
}

fn outbound(outcome: &Outcome, kind: Kind) -> Key<'_> {
    let cluster = outcome.cluster.as_ref();
    let peer = outcome.peer.as_deref();
    let principals = peer.and_then(UpstreamPeer::principals);
    Key {
        side: Side::Source,
        peer: End {
            workload: peer.map(|peer| &*peer.workload),
            principal: principals.map(|principals| &*principals.peer),
        },
        own_principal: principals.and_then(|principals| principals.own.as_deref()),
        service: cluster.map_or("", |cluster| service_of(&cluster.name)),
        security: Security::Unknown,
        kind,
    }
}

/// The host in the name of a cluster, `outbound|8000||dest-app.ns.svc.cluster.local`; the name itself
/// where there is none.
fn service_of(cluster: &str) -> &str {
    cluster.rsplit('|').next().unwrap_or(cluster)
}

/// The host of the service that leads to the port of a connection.
fn service_of_port(connection: &ConnectionInfo) -> Option<&str> {
    let port = connection.original_destination.0.port();
    let mut services = connection.listener.services.iter();
    let (_, host) = services.find(|(known, _)| *known == port)?;
    Some(host)
}
