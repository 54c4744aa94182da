//! One stream of one client, without the stream: what it subscribed to, what it was told, what it
//! has to be told next. No I/O and no clock but the time stamps of events.

mod delta;
mod sotw;
mod subscription;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

pub(super) use delta::DeltaSession;
pub(super) use sotw::SotwSession;
use subscription::TypeState;
use tonic::Status;
use weir_api::xds::envoy::config::core::v3::Node;

use super::{
    Identity, Kind, Resource,
    hub::{ClientId, Hub},
    mailbox::{Mailbox, News},
    metrics::Fault,
    status::{ClientStatus, Detail, FaultStatus, Reports},
};
use crate::model::NamespacedName;

/// The name that stands for all names.
const WILDCARD: &str = "*";

/// A variant of the protocol.
pub(super) trait Session: Send {
    /// What the client says.
    type Request: Send;
    /// What it is told.
    type Response: Send;

    /// A new stream.
    fn new(hub: &Hub, origin: Origin) -> Self;

    /// What all variants keep.
    fn seat(&self) -> &Seat;

    /// Who a request says it is from, which the first one of a stream does.
    fn node(request: &Self::Request) -> Option<&Node>;

    /// How many names the client would have subscribed to with this request, at most.
    fn names(&self, request: &Self::Request) -> usize;

    /// Takes in a request.
    fn request(&mut self, request: Self::Request, hub: &Hub);

    /// The next thing to say, if there is any and the client still listens.
    fn next(&mut self, hub: &Hub) -> Option<Self::Response>;
}

/// Where a stream comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// The other end of the connection.
    pub(super) peer: Option<SocketAddr>,
    /// Who opened it, where that is asked for.
    pub(super) identity: Option<Identity>,
}

/// A client's place at the hub.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    client: ClientId,
    mailbox: Arc<Mailbox>,
    last_nonce: u64,
}

/// A session that the hub can ask how it stands while a task drives it.
#[derive(Debug)]
struct Shared {
    connected: Instant,
    protocol: &'static str,
    origin: Origin,
    progress: Mutex<Progress>,
}

/// What a client subscribed to and was told.
#[derive(Debug, Default)]
struct Progress {
    node: String,
    types: BTreeMap<Kind, TypeState>,
    faults: BTreeMap<Fault, FaultStatus>,
}

// === impl Seat ===

impl Seat {
    fn take(hub: &Hub, protocol: &'static str, origin: Origin) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let shared = Arc::new(Shared {
            connected: Instant::now(),
            protocol,
            origin,
            progress: Mutex::default(),
        });
        Self {
            client: hub.register(mailbox.clone(), shared.clone()),
            shared,
            mailbox,
            last_nonce: 0,
        }
    }

    /// Where the hub puts what changed.
    pub(super) fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }

    /// Takes in what the hub has put into the mailbox.
    pub(super) fn news(&self) {
        let News {
            names,
            urgent,
            since,
        } = self.mailbox.take();
        let mut progress = self.shared.lock();
        for (kind, names) in names {
            let state = progress.types.entry(kind).or_default();
            state.since = state.since.or(since);
            if kind == Kind::Endpoint {
                state.urgent.extend(urgent.iter().cloned());
            }
            state.due.extend(names);
        }
    }

    /// Whether the client is who it says it is. It has to say so before anything else if that
    /// matters.
    pub(super) fn check(&self, node: Option<&Node>, hub: &Hub) -> Result<(), Status> {
        let account_of = |pod: &NamespacedName| {
            let snapshot = hub.snapshot()?;
            Some(snapshot.pod_named(pod)?.service_account.clone())
        };
        match (&self.shared.origin.identity, node) {
            (None, _) => Ok(()),
            (Some(identity), Some(node)) => identity.may_be(node, account_of),
            (Some(_), None) if !self.shared.lock().node.is_empty() => Ok(()),
            (Some(_), None) => Err(Status::invalid_argument(
                "node: is missing in the first request of the stream",
            )),
        }
    }

    /// Notes that the client did what it should not.
    pub(super) fn fault(&self, fault: Fault, detail: &str, hub: &Hub) {
        self.shared.lock().fault(fault, detail, hub);
    }

    /// Names the client subscribed to, but for those of one type.
    fn names_besides(&self, besides: Option<Kind>) -> usize {
        let progress = self.shared.lock();
        let types = progress
            .types
            .iter()
            .filter(|(kind, _)| Some(**kind) != besides);
        types.map(|(_, state)| state.subscribed.len()).sum()
    }

    /// Leaves.
    pub(super) fn leave(&self, hub: &Hub) {
        let progress = self.shared.lock();
        let types = progress.types.iter();
        let names =
            types.flat_map(|(kind, state)| state.subscribed.iter().map(|name| (*kind, name)));
        hub.deregister(self.client, names);
    }

    fn nonce(&mut self) -> u64 {
        self.last_nonce += 1;
        self.last_nonce
    }
}

// === impl Progress ===

impl Progress {
    /// Notes that the client did what it should not. Who does it again and again is in the logs at
    /// the first, second, fourth time and so on.
    fn fault(&mut self, fault: Fault, detail: &str, hub: &Hub) {
        hub.metrics().fault(fault);
        let (node, what) = (&self.node, fault.word());
        let status = self.faults.entry(fault).or_insert_with(|| FaultStatus {
            what,
            times: 0,
            last: String::new(),
        });
        status.times += 1;
        detail.clone_into(&mut status.last);
        if status.times.is_power_of_two() {
            let times = status.times;
            tracing::warn!(
                node,
                what,
                detail,
                times,
                "a client does what it should not"
            );
        }
    }

    /// The state of a type that a request is about; `None` if the type is not served.
    fn about(&mut self, type_url: &str, hub: &Hub) -> Option<Kind> {
        let kind = Kind::of(type_url);
        if kind.is_none() {
            self.fault(Fault::UnknownType, type_url, hub);
        }
        kind
    }

    /// Notes an ACK or a NACK where logs and metrics see it.
    fn answer(&mut self, kind: Kind, nonce: &str, error: Option<&str>, hub: &Hub) {
        let state = self.types.entry(kind).or_default();
        let number = nonce.parse().ok();
        let Some((rejected, since)) = number.and_then(|nonce| state.answer(nonce, error)) else {
            let detail = format!("{}: {nonce:?}", kind.word());
            self.fault(Fault::WrongNonce, &detail, hub);
            return;
        };
        let Some(error) = error else {
            hub.metrics().kind(kind, |counts| counts.acks += 1);
            if let Some(since) = since {
                hub.metrics().converged(since.elapsed());
            }
            return;
        };
        let (node, kind_word) = (&self.node, kind.word());
        tracing::warn!(
            node,
            kind = kind_word,
            ?rejected,
            error,
            "client rejected resources"
        );
        hub.metrics().kind(kind, |counts| counts.nacks += 1);
    }

    /// Endpoints of clusters that changed are due again: a client that sets a cluster up anew waits
    /// for them, and does not ask again for a name it has subscribed to all along.
    fn endpoints_again(&mut self, changed: &[Arc<Resource>]) {
        let Some(endpoints) = self.types.get_mut(&Kind::Endpoint) else {
            return;
        };
        for cluster in changed {
            if endpoints.subscribed.contains(&cluster.name) {
                endpoints.told.remove(&cluster.name);
                endpoints.due.insert(cluster.name.clone());
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reports for Shared {
    fn node(&self) -> String {
        self.lock().node.clone()
    }

    fn report(&self, detail: Detail) -> ClientStatus {
        let progress = self.lock();
        let types = progress.types.iter();
        ClientStatus {
            node: progress.node.clone(),
            peer: self.origin.peer,
            identity: self.origin.identity.as_ref().map(ToString::to_string),
            protocol: self.protocol,
            connected_s: self.connected.elapsed().as_secs(),
            types: types
                .map(|(kind, state)| state.report(*kind, detail))
                .collect(),
            faults: progress.faults.values().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
