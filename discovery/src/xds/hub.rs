//! Who subscribed to what, and the resources they share.

mod topic;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use self::topic::{Built, Topic};
use super::{
    Client, Generator, Kind, MeshConfig, Resource, Scope, View,
    mailbox::Mailbox,
    metrics::Metrics,
    secrets::Secrets,
    status::{ClientDump, Detail, HubSizes, HubStatus, Reports},
};
use crate::model::{Changes, Snapshot};

/// Tells the clients of one hub apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientId(u64);

/// Where snapshots meet subscriptions. A resource somebody subscribed to by name is built once per
/// change, for all its subscribers; nobody pays for what nobody asked for.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    /// Held while resources are built outside the state's lock, so that older ones never replace
    /// newer ones.
    publishing: Mutex<()>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    maker: Maker,
    /// `None` until the registry has said all it has to say at first: before that nobody may be
    /// told that something does not exist.
    snapshot: Option<Arc<Snapshot>>,
    topics: BTreeMap<Kind, HashMap<Arc<str>, Topic>>,
    wildcards: BTreeMap<Kind, BTreeSet<ClientId>>,
    clients: BTreeMap<ClientId, Registered>,
    last_client: u64,
}

/// Makes resources: of the model, and those that are not of it.
#[derive(Debug, Clone, Default)]
struct Maker {
    generator: Arc<Generator>,
    secrets: Arc<Secrets>,
}

#[derive(Debug)]
struct Registered {
    /// Who it is, once it has said so.
    client: Arc<Client>,
    mailbox: Arc<Mailbox>,
    reports: Arc<dyn Reports>,
}

/// A resource to build anew.
#[derive(Debug)]
struct Work {
    kind: Kind,
    name: Arc<str>,
    scope: Scope,
    /// The subscribers it is built for.
    clients: Vec<(ClientId, Arc<Client>)>,
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
        let maker = Maker {
            generator: Arc::new(generator),
            ..Maker::default()
        };
        let state = State {
            maker,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            publishing: Mutex::default(),
            metrics: Metrics::default(),
        }
    }

    /// Makes a snapshot the current one and wakes those whose resources changed. `since` is when
    /// the first event of these changes was seen.
    pub fn publish(&self, snapshot: &Arc<Snapshot>, changes: &Changes, since: Instant) {
        let _publishing = self.publishing();
        let began = Instant::now();
        let generator = self.generator();
        let known = self.is_synced();
        let affected = known.then(|| generator.affected(snapshot, changes));
        let shrunk = generator.shrunk(changes);
        let (maker, work) = {
            let mut state = self.lock();
            state.snapshot = Some(snapshot.clone());
            let affected = affected.unwrap_or_else(|| state.everything());
            (state.maker.clone(), state.plan(affected))
        };
        self.build(&maker, snapshot, &work, &shrunk, since);
        if !known {
            self.lock().wake_all();
        }
        let took = began.elapsed();
        self.metrics
            .update(|counts| counts.publish_time.observe(took));
    }

    /// Changes the settings of the whole mesh, and wakes those whose resources changed.
    pub fn set_mesh_config(&self, mesh: MeshConfig) {
        self.remake(|maker| {
            let changed = *maker.generator.mesh() != mesh;
            maker.generator = Arc::new(maker.generator.with_mesh(mesh));
            changed
        });
    }

    /// Sets what SDS serves: trusted certificates, PEM, by name ([`super::ROOT_CA`]). Wakes those
    /// who asked for what changed.
    pub fn set_trusted(&self, trusted: BTreeMap<String, Vec<u8>>) {
        self.remake(|maker| {
            let secrets = Secrets::new(trusted);
            let changed = *maker.secrets != secrets;
            maker.secrets = Arc::new(secrets);
            changed
        });
    }

    /// Builds everything anew after a change that is not one of the model.
    fn remake(&self, change: impl FnOnce(&mut Maker) -> bool) {
        let _publishing = self.publishing();
        let (maker, snapshot, work) = {
            let mut state = self.lock();
            if !change(&mut state.maker) {
                return;
            }
            let Some(snapshot) = state.snapshot.clone() else {
                return;
            };
            let everything = state.everything();
            (state.maker.clone(), snapshot, state.plan(everything))
        };
        let shrunk = BTreeSet::new();
        self.build(&maker, &snapshot, &work, &shrunk, Instant::now());
    }

    /// Builds outside the lock, for this takes time. A subscriber that comes meanwhile gets the old
    /// resource, and the new one with everybody else.
    fn build(
        &self,
        maker: &Maker,
        snapshot: &Snapshot,
        work: &[Work],
        shrunk: &BTreeSet<String>,
        since: Instant,
    ) {
        let build = |work: &Work| {
            let mut built = Built::default();
            for (id, client) in &work.clients {
                let view = maker
                    .generator
                    .view(snapshot, work.kind, &work.name, client);
                let resource = || maker.make(snapshot, work.kind, &work.name, &view);
                built.resources.entry(view.clone()).or_insert_with(resource);
                built.views.insert(*id, view);
            }
            built
        };
        let built: Vec<_> = work.iter().map(build).collect();
        let mut state = self.lock();
        for (work, built) in work.iter().zip(built) {
            let urgent = work.kind == Kind::Endpoint && shrunk.contains(&*work.name);
            state.announce(work, built, urgent, since);
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
    pub fn generator(&self) -> Arc<Generator> {
        self.lock().maker.generator.clone()
    }

    /// What happened so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many clients and names there are.
    #[must_use]
    pub fn sizes(&self) -> HubSizes {
        let state = self.lock();
        HubSizes {
            clients: state.clients.len(),
            topics: state.topics.values().map(HashMap::len).sum(),
        }
    }

    /// Every client, and how it stands with each resource.
    #[must_use]
    pub fn status(&self) -> HubStatus {
        self.report(Detail::Resources)
    }

    /// Every client, and how it stands with each type.
    #[must_use]
    pub fn summary(&self) -> HubStatus {
        self.report(Detail::Types)
    }

    fn report(&self, detail: Detail) -> HubStatus {
        let reports = self.reports().into_iter();
        HubStatus {
            topics: self.sizes().topics,
            clients: reports.map(|(_, reports)| reports.report(detail)).collect(),
        }
    }

    /// The clients whose node id fits, what they were told, and of that what is still the latest.
    #[must_use]
    pub fn dump(&self, fits: impl Fn(&str) -> bool) -> Vec<ClientDump> {
        let mut reports = self.reports();
        reports.retain(|(_, reports)| fits(&reports.node()));
        let dump = |(id, reports): (ClientId, Arc<dyn Reports>)| {
            let client = reports.report(Detail::Resources);
            let latest = |kind: Kind| {
                let types = client.types.iter().filter(move |it| it.kind == kind.word());
                let states = types.flat_map(|it| &it.resources);
                let states =
                    states.filter_map(move |state| match self.current(id, kind, &state.name) {
                        Current::Present(resource)
                            if Some(resource.version.to_string()) == state.version =>
                        {
                            Some((kind, resource))
                        }
                        _ => None,
                    });
                states.collect::<Vec<_>>()
            };
            ClientDump {
                latest: Kind::ALL.into_iter().flat_map(latest).collect(),
                client,
            }
        };
        reports.into_iter().map(dump).collect()
    }

    /// Sessions take the hub's lock while they hold their own, so they are asked without it.
    fn reports(&self) -> Vec<(ClientId, Arc<dyn Reports>)> {
        let state = self.lock();
        let clients = state.clients.iter();
        clients
            .map(|(id, client)| (*id, client.reports.clone()))
            .collect()
    }

    pub(super) fn register(&self, mailbox: Arc<Mailbox>, reports: Arc<dyn Reports>) -> ClientId {
        let mut state = self.lock();
        state.last_client += 1;
        let id = ClientId(state.last_client);
        let registered = Registered {
            client: Arc::default(),
            mailbox,
            reports,
        };
        state.clients.insert(id, registered);
        id
    }

    /// A client says who it is, before it asks for anything.
    pub(super) fn introduce(&self, id: ClientId, client: Client) {
        if let Some(registered) = self.lock().clients.get_mut(&id) {
            registered.client = Arc::new(client);
        }
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
        let (maker, snapshot) = (state.maker.clone(), state.snapshot.clone());
        let snapshot = snapshot.as_deref();
        let who = state.client(client);
        let view = snapshot.map(|snapshot| maker.generator.view(snapshot, kind, name, &who));
        let view = view.unwrap_or_default();
        let build = || maker.make(snapshot?, kind, name, &view);
        let topics = state.topics.entry(kind).or_default();
        let topic = topics.entry(name.clone()).or_default();
        topic.add(client, view.clone(), build);
    }

    pub(super) fn unsubscribe(&self, client: ClientId, kind: Kind, name: &Arc<str>) {
        self.lock().unsubscribe(client, kind, name);
    }

    /// Subscribes to everything of a kind, and says what there is now.
    pub(super) fn subscribe_all(&self, client: ClientId, kind: Kind) -> BTreeSet<String> {
        let (generator, snapshot) = {
            let mut state = self.lock();
            state.wildcards.entry(kind).or_default().insert(client);
            (state.maker.generator.clone(), state.snapshot.clone())
        };
        let names = snapshot.map(|snapshot| generator.names(&snapshot, kind));
        names.unwrap_or_default()
    }

    pub(super) fn unsubscribe_all(&self, client: ClientId, kind: Kind) {
        if let Some(clients) = self.lock().wildcards.get_mut(&kind) {
            clients.remove(&client);
        }
    }

    /// What a client sees of a name. Who gets everything of a kind sees listeners as nobody in
    /// particular, for it was not told of the clusters that listeners of its own refer to.
    pub(super) fn current(&self, client: ClientId, kind: Kind, name: &str) -> Current {
        let state = self.lock();
        let Some(snapshot) = state.snapshot.clone() else {
            return Current::Unknown;
        };
        let maker = state.maker.clone();
        let topic = state.topics.get(&kind).and_then(|topics| topics.get(name));
        let view = match topic.and_then(|topic| topic.view(client)) {
            Some(view) => view.clone(),
            None if kind == Kind::Listener => View::Everyone,
            None => {
                let client = state.client(client);
                maker.generator.view(&snapshot, kind, name, &client)
            }
        };
        let known = topic.and_then(|topic| topic.resource(&view));
        drop(state);
        known
            .unwrap_or_else(|| maker.make(&snapshot, kind, name, &view))
            .map_or(Current::Absent, Current::Present)
    }

    fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Maker ===

impl Maker {
    fn make(
        &self,
        snapshot: &Snapshot,
        kind: Kind,
        name: &str,
        view: &View,
    ) -> Option<Arc<Resource>> {
        if kind == Kind::Secret {
            return self.secrets.get(name);
        }
        let resource = self.generator.resource_for(snapshot, kind, name, view);
        resource.map(Arc::new)
    }
}

// === impl State ===

impl State {
    /// Every name that somebody subscribed to, or gets with all others.
    fn everything(&self) -> BTreeMap<(Kind, String), Scope> {
        let topics = self.topics.iter();
        let names =
            topics.flat_map(|(kind, topics)| topics.keys().map(|name| (*kind, name.to_string())));
        let mut all: BTreeMap<_, _> = names.map(|name| (name, Scope::All)).collect();
        if let Some(snapshot) = &self.snapshot {
            for kind in self.wildcards.keys() {
                let names = self.maker.generator.names(snapshot, *kind).into_iter();
                all.extend(names.map(|name| ((*kind, name), Scope::All)));
            }
        }
        all
    }

    /// What of the affected names is wanted, and by whom.
    fn plan(&self, affected: BTreeMap<(Kind, String), Scope>) -> Vec<Work> {
        let affected = affected.into_iter();
        let affected = affected.filter(|((kind, name), _)| self.is_wanted(*kind, name));
        affected
            .map(|((kind, name), scope)| {
                let topic = self.topics.get(&kind).and_then(|topics| topics.get(&*name));
                let subscribers = topic.into_iter().flat_map(Topic::subscribers);
                let clients = subscribers.map(|id| (id, self.client(id)));
                Work {
                    kind,
                    name: name.into(),
                    clients: clients.filter(|(_, client)| scope.covers(client)).collect(),
                    scope,
                }
            })
            .collect()
    }

    fn client(&self, id: ClientId) -> Arc<Client> {
        let registered = self.clients.get(&id);
        registered
            .map(|registered| registered.client.clone())
            .unwrap_or_default()
    }

    fn wake_all(&self) {
        self.clients
            .values()
            .for_each(|client| client.mailbox.wake());
    }

    fn is_wanted(&self, kind: Kind, name: &str) -> bool {
        let topics = self.topics.get(&kind);
        topics.is_some_and(|topics| topics.contains_key(name))
            || self
                .wildcards
                .get(&kind)
                .is_some_and(|clients| !clients.is_empty())
    }

    fn announce(&mut self, work: &Work, built: Built, urgent: bool, since: Instant) {
        let topics = self.topics.get_mut(&work.kind);
        let topic = topics.and_then(|topics| topics.get_mut(&work.name));
        let mut clients = topic.map(|topic| topic.renew(built)).unwrap_or_default();
        if work.scope == Scope::All {
            clients.extend(self.wildcards.get(&work.kind).into_iter().flatten());
        }
        for client in clients {
            if let Some(client) = self.clients.get(&client) {
                client.mailbox.put(work.kind, &work.name, urgent, since);
            }
        }
    }

    fn unsubscribe(&mut self, client: ClientId, kind: Kind, name: &Arc<str>) {
        let Some(topics) = self.topics.get_mut(&kind) else {
            return;
        };
        if let Some(topic) = topics.get_mut(name) {
            topic.remove(client);
            if topic.is_empty() {
                topics.remove(name);
            }
        }
    }
}
