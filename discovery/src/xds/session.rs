//! One stream of one client, without the stream: what it subscribed to, what it was told, what it
//! has to be told next. No I/O and no clock but the time stamps of events.

mod delta;
mod sotw;
mod subscription;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

pub(super) use delta::DeltaSession;
pub(super) use sotw::SotwSession;
use subscription::TypeState;

use super::{
    Kind, Resource,
    hub::{ClientId, Hub},
    mailbox::{Mailbox, News},
    status::{ClientStatus, Reports},
};

/// The name that stands for all names.
const WILDCARD: &str = "*";

/// A variant of the protocol.
pub(super) trait Session: Send {
    /// What the client says.
    type Request: Send;
    /// What it is told.
    type Response: Send;

    /// What all variants keep.
    fn seat(&self) -> &Seat;

    /// Takes in a request.
    fn request(&mut self, request: Self::Request, hub: &Hub);

    /// The next thing to say, if there is any and the client still listens.
    fn next(&mut self, hub: &Hub) -> Option<Self::Response>;
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
    progress: Mutex<Progress>,
}

/// What a client subscribed to and was told.
#[derive(Debug, Default)]
struct Progress {
    node: String,
    types: BTreeMap<Kind, TypeState>,
}

// === impl Seat ===

impl Seat {
    fn take(hub: &Hub, protocol: &'static str) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let shared = Arc::new(Shared {
            connected: Instant::now(),
            protocol,
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
    fn report(&self) -> ClientStatus {
        let progress = self.lock();
        let types = progress.types.iter();
        ClientStatus {
            node: progress.node.clone(),
            protocol: self.protocol,
            connected_s: self.connected.elapsed().as_secs(),
            types: types.map(|(kind, state)| state.report(*kind)).collect(),
        }
    }
}

/// Notes an ACK or a NACK where logs and metrics see it.
fn answer(
    state: &mut TypeState,
    kind: Kind,
    node: &str,
    nonce: &str,
    error: Option<&str>,
    hub: &Hub,
) {
    let nonce = nonce.parse().ok();
    let Some((rejected, since)) = nonce.and_then(|nonce| state.answer(nonce, error)) else {
        tracing::debug!(
            node,
            kind = kind.word(),
            "an answer to nothing that was sent"
        );
        return;
    };
    match error {
        Some(error) => {
            tracing::warn!(
                node,
                kind = kind.word(),
                ?rejected,
                error,
                "client rejected resources"
            );
            hub.metrics().kind(kind, |counts| counts.nacks += 1);
        }
        None => {
            hub.metrics().kind(kind, |counts| counts.acks += 1);
            if let Some(since) = since {
                hub.metrics().converged(since.elapsed());
            }
        }
    }
}

#[cfg(test)]
mod tests;
