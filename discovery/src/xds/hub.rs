//! Who subscribed to what, and the resources they share.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    Generator, Kind, Resource,
    mailbox::Mailbox,
    metrics::Metrics,
    status::{HubStatus, Reports},
};
use crate::model::{Changes, Snapshot};

/// Tells the clients of one hub apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(u64);

/// Where snapshots meet subscriptions. A resource somebody subscribed to by name is built once per
/// change, for all its subscribers; nobody pays for what nobody asked for.
#[derive(Debug)]
pub struct Hub {
    generator: Generator,
    state: Mutex<State>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until the registry has said all it has to say at first: before that nobody may be
    /// told that something does not exist.
    snapshot: Option<Arc<Snapshot>>,
    topics: BTreeMap<Kind, HashMap<Arc<str>, Topic>>,
    wildcards: BTreeMap<Kind, BTreeSet<ClientId>>,
    clients: BTreeMap<ClientId, Registered>,
    last_client: u64,
}

/// A name somebody subscribed to.
#[derive(Debug, Default)]
struct Topic {
    subscribers: HashSet<ClientId>,
    resource: Option<Arc<Resource>>,
}

#[derive(Debug)]
struct Registered {
    mailbox: Arc<Mailbox>,
    reports: Arc<dyn Reports>,
}

/// What a hub knows of a name right now.
#[derive(Debug, Clone)]
pub(super) enum Current {
    /// Nothing yet: the registry has not said all it has to say.
    Unknown,
    /// There is none.
    Absent,
    /// This.
    Present(Arc<Resource>),
}

// === impl Hub ===

impl Hub {
    /// A hub that knows nothing yet.
    #[must_use]
    pub fn new(generator: Generator) -> Self {
        Self {
            generator,
            state: Mutex::default(),
            metrics: Metrics::default(),
        }
    }

    /// Makes a snapshot the current one and wakes those whose resources changed. `since` is when
    /// the first event of these changes was seen.
    pub fn publish(&self, snapshot: &Arc<Snapshot>, changes: &Changes, since: Instant) {
        let mut affected = self.generator.affected(changes);
        let shrunk = self.generator.shrunk(changes);
        let first = {
            let mut state = self.lock();
            let first = state.snapshot.replace(snapshot.clone()).is_none();
            if first {
                affected.extend(state.subscribed());
                for kind in state.wildcards.keys() {
                    let names = self.generator.names(snapshot, *kind).into_iter();
                    affected.extend(names.map(|name| (*kind, name)));
                }
            }
            affected.retain(|(kind, name)| state.is_wanted(*kind, name));
            first
        };
        // Built outside the lock. A subscriber that comes meanwhile gets the old resource, and the
        // new one with everybody else below.
        let built: Vec<_> = affected
            .into_iter()
            .map(|(kind, name)| {
                let resource = self.generator.resource(snapshot, kind, &name);
                (kind, name, resource.map(Arc::new))
            })
            .collect();
        let mut state = self.lock();
        for (kind, name, resource) in built {
            let urgent = kind == Kind::Endpoint && shrunk.contains(&name);
            state.announce(kind, &name.into(), resource, urgent, since);
        }
        if first {
            state
                .clients
                .values()
                .for_each(|client| client.mailbox.wake());
        }
    }

    /// Whether a snapshot was published.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.lock().snapshot.is_some()
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lock().snapshot.clone()
    }

    /// The generator, to look at resources without subscribing.
    #[must_use]
    pub fn generator(&self) -> &Generator {
        &self.generator
    }

    /// What happened so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Every client and what it was told.
    #[must_use]
    pub fn status(&self) -> HubStatus {
        let state = self.lock();
        let topics = state.topics.values().map(HashMap::len).sum();
        let reports: Vec<_> = state
            .clients
            .values()
            .map(|client| client.reports.clone())
            .collect();
        // Sessions take the hub's lock while they hold their own.
        drop(state);
        HubStatus {
            topics,
            clients: reports.iter().map(|reports| reports.report()).collect(),
        }
    }

    pub(super) fn register(&self, mailbox: Arc<Mailbox>, reports: Arc<dyn Reports>) -> ClientId {
        let mut state = self.lock();
        state.last_client += 1;
        let id = ClientId(state.last_client);
        state.clients.insert(id, Registered { mailbox, reports });
        id
    }

    /// Forgets a client that subscribed to these names.
    pub(super) fn deregister<'a>(
        &self,
        client: ClientId,
        names: impl Iterator<Item = (Kind, &'a Arc<str>)>,
    ) {
        let mut state = self.lock();
        for (kind, name) in names {
            state.unsubscribe(client, kind, name);
        }
        for clients in state.wildcards.values_mut() {
            clients.remove(&client);
        }
        state.clients.remove(&client);
    }

    pub(super) fn subscribe(&self, client: ClientId, kind: Kind, name: &Arc<str>) {
        let mut state = self.lock();
        let snapshot = state.snapshot.clone();
        let topics = state.topics.entry(kind).or_default();
        let topic = topics.entry(name.clone()).or_insert_with(|| Topic {
            resource: snapshot
                .and_then(|snapshot| self.generator.resource(&snapshot, kind, name))
                .map(Arc::new),
            ..Topic::default()
        });
        topic.subscribers.insert(client);
    }

    pub(super) fn unsubscribe(&self, client: ClientId, kind: Kind, name: &Arc<str>) {
        self.lock().unsubscribe(client, kind, name);
    }

    /// Subscribes to everything of a kind, and says what there is now.
    pub(super) fn subscribe_all(&self, client: ClientId, kind: Kind) -> BTreeSet<String> {
        let snapshot = {
            let mut state = self.lock();
            state.wildcards.entry(kind).or_default().insert(client);
            state.snapshot.clone()
        };
        let names = snapshot.map(|snapshot| self.generator.names(&snapshot, kind));
        names.unwrap_or_default()
    }

    pub(super) fn unsubscribe_all(&self, client: ClientId, kind: Kind) {
        if let Some(clients) = self.lock().wildcards.get_mut(&kind) {
            clients.remove(&client);
        }
    }

    pub(super) fn current(&self, kind: Kind, name: &str) -> Current {
        let (snapshot, topic) = {
            let state = self.lock();
            let topic = state.topics.get(&kind).and_then(|topics| topics.get(name));
            (
                state.snapshot.clone(),
                topic.map(|topic| topic.resource.clone()),
            )
        };
        let Some(snapshot) = snapshot else {
            return Current::Unknown;
        };
        let generate = || self.generator.resource(&snapshot, kind, name).map(Arc::new);
        topic
            .unwrap_or_else(generate)
            .map_or(Current::Absent, Current::Present)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn subscribed(&self) -> impl Iterator<Item = (Kind, String)> {
        let topics = self.topics.iter();
        topics.flat_map(|(kind, topics)| topics.keys().map(|name| (*kind, name.to_string())))
    }

    fn is_wanted(&self, kind: Kind, name: &str) -> bool {
        let topics = self.topics.get(&kind);
        topics.is_some_and(|topics| topics.contains_key(name))
            || self
                .wildcards
                .get(&kind)
                .is_some_and(|clients| !clients.is_empty())
    }

    fn announce(
        &mut self,
        kind: Kind,
        name: &Arc<str>,
        resource: Option<Arc<Resource>>,
        urgent: bool,
        since: Instant,
    ) {
        let mut clients = HashSet::new();
        let version = |resource: &Option<Arc<Resource>>| resource.as_ref().map(|it| it.version);
        if let Some(topic) = self
            .topics
            .get_mut(&kind)
            .and_then(|topics| topics.get_mut(name))
            && version(&topic.resource) != version(&resource)
        {
            topic.resource = resource;
            clients.extend(&topic.subscribers);
        }
        clients.extend(self.wildcards.get(&kind).into_iter().flatten());
        for client in clients {
            if let Some(client) = self.clients.get(&client) {
                client.mailbox.put(kind, name, urgent, since);
            }
        }
    }

    fn unsubscribe(&mut self, client: ClientId, kind: Kind, name: &Arc<str>) {
        let Some(topics) = self.topics.get_mut(&kind) else {
            return;
        };
        if let Some(topic) = topics.get_mut(name) {
            topic.subscribers.remove(&client);
            if topic.subscribers.is_empty() {
                topics.remove(name);
            }
        }
    }
}
