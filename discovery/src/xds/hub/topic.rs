//! One name that somebody subscribed to, and the resources it stands for.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::ClientId;
use crate::xds::{Resource, Version, View};

/// A name somebody subscribed to. Clients of equal views share a resource, and no resource is kept
/// that nobody sees.
#[derive(Debug, Default)]
pub(super) struct Topic {
    subscribers: HashMap<ClientId, View>,
    resources: HashMap<View, Option<Arc<Resource>>>,
}

/// A topic built anew.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The views of the clients it was built for.
    pub(super) views: HashMap<ClientId, View>,
    /// What each of these views sees.
    pub(super) resources: HashMap<View, Option<Arc<Resource>>>,
}

// === impl Topic ===

impl Topic {
    pub(super) fn add(
        &mut self,
        client: ClientId,
        view: View,
        build: impl FnOnce() -> Option<Arc<Resource>>,
    ) {
        self.resources.entry(view.clone()).or_insert_with(build);
        self.subscribers.insert(client, view);
    }

    pub(super) fn remove(&mut self, client: ClientId) {
        let view = self.subscribers.remove(&client);
        let Some(view) = view else { return };
        if !self.subscribers.values().any(|other| *other == view) {
            self.resources.remove(&view);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(super) fn subscribers(&self) -> impl Iterator<Item = ClientId> {
        self.subscribers.keys().copied()
    }

    /// The view of a client that subscribed.
    pub(super) fn view(&self, client: ClientId) -> Option<&View> {
        self.subscribers.get(&client)
    }

    /// What a view sees, if somebody has it.
    pub(super) fn resource(&self, view: &View) -> Option<Option<Arc<Resource>>> {
        self.resources.get(view).cloned()
    }

    /// Takes in what was built, and says which subscribers see something else now.
    pub(super) fn renew(&mut self, built: Built) -> HashSet<ClientId> {
        let mut changed = HashSet::new();
        for (client, view) in &mut self.subscribers {
            let before = version(self.resources.get(view));
            if let Some(new) = built.views.get(client) {
                new.clone_into(view);
            }
            let after = built.resources.get(view).or(self.resources.get(view));
            if before != version(after) {
                changed.insert(*client);
            }
        }
        self.resources.extend(built.resources);
        let used: HashSet<&View> = self.subscribers.values().collect();
        self.resources.retain(|view, _| used.contains(view));
        changed
    }
}

fn version(resource: Option<&Option<Arc<Resource>>>) -> Option<Version> {
    resource.and_then(|resource| resource.as_ref().map(|resource| resource.version))
}
