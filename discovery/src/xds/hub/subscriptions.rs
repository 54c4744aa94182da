//! Clients come, ask and go.

use std::{collections::BTreeSet, sync::Arc};

use super::{ClientId, Current, Hub, state::Registered};
use crate::xds::{Client, Kind, View, mailbox::Mailbox, status::Reports};

impl Hub {
    pub(in crate::xds) fn register(
        &self,
        mailbox: Arc<Mailbox>,
        reports: Arc<dyn Reports>,
    ) -> ClientId {
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
    pub(in crate::xds) fn introduce(&self, id: ClientId, client: Client) {
        if let Some(registered) = self.lock().clients.get_mut(&id) {
            registered.client = Arc::new(client);
        }
    }

    /// Forgets a client that subscribed to these names.
    pub(in crate::xds) fn deregister<'a>(
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

    pub(in crate::xds) fn subscribe(&self, client: ClientId, kind: Kind, name: &Arc<str>) {
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

    pub(in crate::xds) fn unsubscribe(&self, client: ClientId, kind: Kind, name: &Arc<str>) {
        self.lock().unsubscribe(client, kind, name);
    }

    /// Subscribes to everything of a kind, and says what there is now.
    pub(in crate::xds) fn subscribe_all(&self, client: ClientId, kind: Kind) -> BTreeSet<String> {
        let (generator, snapshot) = {
            let mut state = self.lock();
            state.wildcards.entry(kind).or_default().insert(client);
            (state.maker.generator.clone(), state.snapshot.clone())
        };
        let names = snapshot.map(|snapshot| generator.names(&snapshot, kind));
        names.unwrap_or_default()
    }

    pub(in crate::xds) fn unsubscribe_all(&self, client: ClientId, kind: Kind) {
        if let Some(clients) = self.lock().wildcards.get_mut(&kind) {
            clients.remove(&client);
        }
    }

    /// What a client sees of a name. Who gets everything of a kind sees listeners as nobody in
    /// particular, for it was not told of the clusters that listeners of its own refer to.
    pub(in crate::xds) fn current(&self, client: ClientId, kind: Kind, name: &str) -> Current {
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
}
