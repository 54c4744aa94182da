//! What a hub holds: who subscribed to what, and what makes it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use weir_api::names;

use super::{
    ClientId,
    topic::{Built, Topic},
};
use crate::{
    model::Snapshot,
    xds::{
        Client, Generator, Kind, Resource, Scope, View, mailbox::Mailbox, secrets::Secrets,
        status::Reports,
    },
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) maker: Maker,
    /// `None` until the registry has said all it has to say at first: before that nobody may be
    /// told that something does not exist.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) topics: BTreeMap<Kind, HashMap<Arc<str>, Topic>>,
    pub(super) wildcards: BTreeMap<Kind, BTreeSet<ClientId>>,
    pub(super) clients: BTreeMap<ClientId, Registered>,
    pub(super) last_client: u64,
}

/// Makes resources: of the model, and those that are not of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Maker {
    pub(super) generator: Arc<Generator>,
    pub(super) secrets: Arc<Secrets>,
}

#[derive(Debug)]
pub(super) struct Registered {
    /// Who it is, once it has said so.
    pub(super) client: Arc<Client>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) reports: Arc<dyn Reports>,
}

/// A resource to build anew.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
    pub(super) scope: Scope,
    /// The subscribers it is built for.
    pub(super) clients: Vec<(ClientId, Arc<Client>)>,
}

// === impl Maker ===

impl Maker {
    pub(super) fn make(
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
    pub(super) fn everything(&self) -> BTreeMap<(Kind, String), Scope> {
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

    /// Notes what somebody subscribed to of addresses that are nobody's, on these ports.
    pub(super) fn note_outside(
        &self,
        snapshot: &Snapshot,
        ports: &BTreeSet<u16>,
        affected: &mut BTreeMap<(Kind, String), Scope>,
    ) {
        if ports.is_empty() {
            return;
        }
        let any = |port: &u16| {
            let any = names::outbound_listener(SocketAddr::from(([0, 0, 0, 0], *port)));
            [(Kind::Listener, any), (Kind::Route, port.to_string())]
        };
        affected.extend(ports.iter().flat_map(any).map(|name| (name, Scope::All)));
        let topics = self.topics.get(&Kind::Listener);
        let asked = topics.into_iter().flat_map(HashMap::keys);
        let outside = asked.filter(|name| {
            let destination = names::outbound_listener_destination(name);
            destination.is_some_and(|it| {
                let claim = snapshot.claim(it);
                ports.contains(&it.port()) && claim.is_none_or(|it| it.service.is_host())
            })
        });
        let outside = outside.map(|name| (Kind::Listener, name.to_string()));
        affected.extend(outside.map(|name| (name, Scope::All)));
    }

    /// What of the affected names is wanted, and by whom.
    pub(super) fn plan(&self, affected: BTreeMap<(Kind, String), Scope>) -> Vec<Work> {
        let affected = affected.into_iter();
        let affected = affected.filter(|((kind, name), _)| self.is_wanted(*kind, name));
        let nothing = Arc::default();
        let snapshot = self.snapshot.as_ref().unwrap_or(&nothing);
        affected
            .map(|((kind, name), scope)| {
                let topic = self.topics.get(&kind).and_then(|topics| topics.get(&*name));
                let subscribers = topic.into_iter().flat_map(Topic::subscribers);
                let clients = subscribers.map(|id| (id, self.client(id)));
                Work {
                    kind,
                    name: name.into(),
                    clients: clients
                        .filter(|(_, client)| scope.covers(snapshot, client))
                        .collect(),
                    scope,
                }
            })
            .collect()
    }

    pub(super) fn client(&self, id: ClientId) -> Arc<Client> {
        let registered = self.clients.get(&id);
        registered
            .map(|registered| registered.client.clone())
            .unwrap_or_default()
    }

    pub(super) fn wake_all(&self) {
        self.clients
            .values()
            .for_each(|client| client.mailbox.wake());
    }

    pub(super) fn is_wanted(&self, kind: Kind, name: &str) -> bool {
        let topics = self.topics.get(&kind);
        topics.is_some_and(|topics| topics.contains_key(name))
            || self
                .wildcards
                .get(&kind)
                .is_some_and(|clients| !clients.is_empty())
    }

    pub(super) fn announce(&mut self, work: &Work, built: Built, urgent: bool, since: Instant) {
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

    pub(super) fn unsubscribe(&mut self, client: ClientId, kind: Kind, name: &Arc<str>) {
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
