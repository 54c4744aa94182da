//! The objects registries spoke of, and the snapshots made of them.

mod claims;
mod entries;
mod pods;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Changes, EndpointSlice, Event, NamespacedName, Node, Object, ObjectKey, ResolvedService,
    Service, ServiceChange, Snapshot,
};

/// Keeps every object and knows which services an event touched, so that a new snapshot costs what
/// changed and not what there is.
#[derive(Debug, Default)]
pub struct Index {
    services: HashMap<NamespacedName, Arc<Service>>,
    /// By service, then by name of the slice.
    slices: HashMap<NamespacedName, BTreeMap<NamespacedName, Arc<EndpointSlice>>>,
    /// The service of each slice.
    slice_services: HashMap<NamespacedName, NamespacedName>,
    /// The addresses that two pods or more say they have, which is so for a moment at most.
    contested: HashMap<IpAddr, BTreeSet<NamespacedName>>,
    /// Services to resolve again.
    dirty: BTreeSet<NamespacedName>,
    /// What changed of pods and nodes since the last commit.
    changed_pods: BTreeSet<NamespacedName>,
    changed_addresses: BTreeSet<IpAddr>,
    changed_nodes: BTreeSet<Arc<str>>,
    /// As of what was applied, in part.
    current: Snapshot,
    committed: Arc<Snapshot>,
}

// === impl Index ===

impl Index {
    /// Takes in one event. Nothing of it is seen before the next [`Self::commit`].
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Applied(Object::Service(service)) => self.apply_service(service),
            Event::Applied(Object::EndpointSlice(slice)) => self.apply_slice(slice),
            Event::Applied(Object::Pod(pod)) => self.apply_pod(pod),
            Event::Applied(Object::Node(node)) => self.apply_node(node),
            Event::Applied(Object::Attachment(attachment)) => self.apply_attachment(attachment),
            Event::Deleted(ObjectKey::Service(name)) => {
                if self.services.remove(&name).is_some() {
                    self.dirty.insert(name);
                }
            }
            Event::Deleted(ObjectKey::EndpointSlice(name)) => self.remove_slice(&name),
            Event::Deleted(ObjectKey::Pod(name)) => self.remove_pod(&name),
            Event::Deleted(ObjectKey::Node(name)) => self.remove_node(&name),
            Event::Deleted(ObjectKey::Attachment(rule)) => self.remove_attachment(&rule),
        }
    }

    /// Makes what was applied visible: the new snapshot, and how it differs from the one before.
    /// `None` if it does not.
    pub fn commit(&mut self) -> Option<(Arc<Snapshot>, Changes)> {
        let rules = self.touch_services_of_rules();
        let mut changes = Changes {
            rules,
            pods: std::mem::take(&mut self.changed_pods),
            pod_addresses: std::mem::take(&mut self.changed_addresses),
            nodes: std::mem::take(&mut self.changed_nodes),
            routed: self.services_routed_otherwise(),
            shaped: self.services_shaped_otherwise(),
            ..Changes::default()
        };
        for name in std::mem::take(&mut self.dirty) {
            self.resolve(name, &mut changes);
        }
        self.note_lost_backends(&mut changes);
        changes
            .addresses
            .retain(|_, change| change.old.is_some() || change.new.is_some());
        if changes.is_empty() {
            return None;
        }
        self.committed = Arc::new(self.current.clone());
        Some((self.committed.clone(), changes))
    }

    /// The snapshot of the last commit.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.committed.clone()
    }

    fn apply_service(&mut self, service: Service) {
        let name = service.name.clone();
        let old = self.services.insert(name.clone(), Arc::new(service));
        if old.as_ref() != self.services.get(&name) {
            self.dirty.insert(name);
        }
    }

    fn apply_slice(&mut self, slice: EndpointSlice) {
        let old = self.take_slice(&slice.name);
        let slice = Arc::new(slice);
        if old.as_ref() != Some(&slice) {
            self.dirty.insert(slice.service.clone());
            self.dirty
                .extend(old.as_ref().map(|old| old.service.clone()));
        }
        self.slice_services
            .insert(slice.name.clone(), slice.service.clone());
        let slices = self.slices.entry(slice.service.clone()).or_default();
        slices.insert(slice.name.clone(), slice.clone());
        self.move_pods(old.as_deref(), Some(&slice));
    }

    fn remove_slice(&mut self, name: &NamespacedName) {
        if let Some(old) = self.take_slice(name) {
            self.move_pods(Some(&old), None);
            self.dirty.insert(old.service.clone());
        }
    }

    fn take_slice(&mut self, name: &NamespacedName) -> Option<Arc<EndpointSlice>> {
        let service = self.slice_services.remove(name)?;
        let slices = self.slices.get_mut(&service)?;
        let slice = slices.remove(name);
        if slices.is_empty() {
            self.slices.remove(&service);
        }
        slice
    }

    fn apply_node(&mut self, node: Node) {
        let old = self.current.nodes.get(&node.name);
        if old.map(|old| &**old) == Some(&node) {
            return;
        }
        let name = node.name.clone();
        self.current.nodes.insert(name.clone(), Arc::new(node));
        self.touch_services_on(name);
    }

    fn remove_node(&mut self, name: &Arc<str>) {
        if self.current.nodes.remove(name).is_some() {
            self.touch_services_on(name.clone());
        }
    }

    /// Looks at every slice. Nodes come and move seldom; what they say of themselves every few
    /// seconds is no part of the model.
    fn touch_services_on(&mut self, node: Arc<str>) {
        let on_node = |slice: &Arc<EndpointSlice>| {
            let mut endpoints = slice.endpoints.iter();
            endpoints.any(|endpoint| endpoint.node.as_ref() == Some(&node))
        };
        let touched = self
            .slices
            .iter()
            .filter(|(_, slices)| slices.values().any(on_node));
        self.dirty.extend(touched.map(|(name, _)| name.clone()));
        self.changed_nodes.insert(node);
    }

    fn resolve(&mut self, name: NamespacedName, changes: &mut Changes) {
        let of_cluster = self.services.get(&name).map(|service| {
            let slices = self.slices.get(&name);
            let slices = slices.into_iter().flat_map(|slices| slices.values());
            let pod = |pod: &NamespacedName| self.current.pods_by_name.get(pod).cloned();
            let node = |node: &Arc<str>| self.current.nodes.get(node).cloned();
            let slices = slices.map(|slice| &**slice);
            let service = service.clone();
            let attachments = &self.current.attachments;
            let resolved = ResolvedService::new(service, &slices, pod, attachments, node);
            Arc::new(resolved)
        });
        let new = of_cluster.or_else(|| self.declared(&name).map(Arc::new));
        self.note_host(&name, new.as_deref());
        let old = self.current.services.get(&name).cloned();
        if old == new {
            return;
        }
        match &new {
            Some(new) => self.current.services.insert(name.clone(), new.clone()),
            None => self.current.services.remove(&name),
        };
        let change = ServiceChange { old, new };
        self.move_claims(&change, changes);
        changes.services.insert(name, change);
    }
}
