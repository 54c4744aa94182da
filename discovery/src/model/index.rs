//! The objects registries spoke of, and the snapshots made of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    AddressChange, Changes, Claim, ClaimKind, EndpointSlice, Event, NamespacedName, Object,
    ObjectKey, Pod, ResolvedService, Service, ServiceChange, Snapshot,
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
    pods: HashMap<NamespacedName, Arc<Pod>>,
    /// The pods that say they have an address: one, or two for a moment.
    pod_addresses: HashMap<IpAddr, BTreeSet<NamespacedName>>,
    /// The services that have a pod among their endpoints, and by how many entries.
    pod_services: HashMap<NamespacedName, BTreeMap<NamespacedName, usize>>,
    /// Services to resolve again.
    dirty: BTreeSet<NamespacedName>,
    /// Whether addresses of pods changed since the last commit.
    pods_changed: bool,
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
            Event::Deleted(ObjectKey::Service(name)) => {
                self.services.remove(&name);
                self.dirty.insert(name);
            }
            Event::Deleted(ObjectKey::EndpointSlice(name)) => self.remove_slice(&name),
            Event::Deleted(ObjectKey::Pod(name)) => self.remove_pod(&name),
        }
    }

    /// Makes what was applied visible: the new snapshot, and how it differs from the one before.
    /// `None` if it does not.
    pub fn commit(&mut self) -> Option<(Arc<Snapshot>, Changes)> {
        let mut changes = Changes::default();
        for name in std::mem::take(&mut self.dirty) {
            self.resolve(name, &mut changes);
        }
        changes
            .addresses
            .retain(|_, change| change.old.is_some() || change.new.is_some());
        let changed = std::mem::take(&mut self.pods_changed) || !changes.services.is_empty();
        if !changed {
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
        let slices = self.slices.get(&slice.service);
        if slices
            .and_then(|slices| slices.get(&slice.name))
            .map(|old| &**old)
            == Some(&slice)
        {
            return;
        }
        self.remove_slice(&slice.name);
        for pod in slice
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.pod.as_ref())
        {
            let services = self.pod_services.entry(pod.clone()).or_default();
            *services.entry(slice.service.clone()).or_default() += 1;
        }
        self.dirty.insert(slice.service.clone());
        self.slice_services
            .insert(slice.name.clone(), slice.service.clone());
        let slices = self.slices.entry(slice.service.clone()).or_default();
        slices.insert(slice.name.clone(), Arc::new(slice));
    }

    fn remove_slice(&mut self, name: &NamespacedName) {
        let Some(service) = self.slice_services.remove(name) else {
            return;
        };
        let Some(slices) = self.slices.get_mut(&service) else {
            return;
        };
        let Some(slice) = slices.remove(name) else {
            return;
        };
        if slices.is_empty() {
            self.slices.remove(&service);
        }
        for pod in slice
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.pod.as_ref())
        {
            self.forget_pod_service(pod, &service);
        }
        self.dirty.insert(service);
    }

    fn forget_pod_service(&mut self, pod: &NamespacedName, service: &NamespacedName) {
        let Some(services) = self.pod_services.get_mut(pod) else {
            return;
        };
        if let Some(count) = services.get_mut(service) {
            *count -= 1;
            if *count == 0 {
                services.remove(service);
            }
        }
        if services.is_empty() {
            self.pod_services.remove(pod);
        }
    }

    fn apply_pod(&mut self, pod: Pod) {
        if self.pods.get(&pod.name).map(|old| &**old) == Some(&pod) {
            return;
        }
        self.remove_pod(&pod.name);
        self.touch_services_of(&pod.name);
        self.pods_changed = true;
        let pod = Arc::new(pod);
        self.pods.insert(pod.name.clone(), pod.clone());
        for address in own_addresses(&pod) {
            let holders = self.pod_addresses.entry(address).or_default();
            holders.insert(pod.name.clone());
            self.settle_pod_address(address);
        }
    }

    fn remove_pod(&mut self, name: &NamespacedName) {
        let Some(pod) = self.pods.remove(name) else {
            return;
        };
        self.touch_services_of(name);
        self.pods_changed = true;
        for address in own_addresses(&pod) {
            if let Some(holders) = self.pod_addresses.get_mut(&address) {
                holders.remove(name);
            }
            self.settle_pod_address(address);
        }
    }

    /// A new pod may have an address before the old one was seen to go: one of them has it.
    fn settle_pod_address(&mut self, address: IpAddr) {
        let holder = self.pod_addresses.get(&address).and_then(BTreeSet::last);
        match holder.and_then(|holder| self.pods.get(holder)) {
            Some(pod) => {
                self.current.pods.insert(address, pod.clone());
            }
            None => {
                self.pod_addresses.remove(&address);
                self.current.pods.remove(&address);
            }
        }
    }

    fn touch_services_of(&mut self, pod: &NamespacedName) {
        if let Some(services) = self.pod_services.get(pod) {
            self.dirty.extend(services.keys().cloned());
        }
    }

    fn resolve(&mut self, name: NamespacedName, changes: &mut Changes) {
        let new = self.services.get(&name).map(|service| {
            let slices = self.slices.get(&name);
            let slices = slices.into_iter().flat_map(|slices| slices.values());
            let pod = |pod: &NamespacedName| self.pods.get(pod).cloned();
            let slices = slices.map(|slice| &**slice);
            Arc::new(ResolvedService::new(service.clone(), &slices, pod))
        });
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

    /// Replaces the claims of the old state by those of the new one. Destinations whose claim stays
    /// the same count as changed if the service or that endpoint changed.
    fn move_claims(&mut self, change: &ServiceChange, changes: &mut Changes) {
        let claims = |service: &Option<Arc<ResolvedService>>| -> BTreeSet<(SocketAddr, Claim)> {
            let claims = service.iter().flat_map(|service| service.claims());
            claims.collect()
        };
        let (old, new) = (claims(&change.old), claims(&change.new));
        let redeclared = change.declaration_changed();
        for (address, claim) in &old {
            let stays = new.contains(&(*address, claim.clone()));
            if !stays || redeclared || endpoint_changed(change, *address, claim) {
                self.note(*address, changes);
            }
            if !stays {
                self.remove_claim(*address, claim);
            }
        }
        for (address, claim) in new.difference(&old) {
            self.note(*address, changes);
            self.add_claim(*address, claim.clone());
        }
        for address in old.iter().chain(&new).map(|(address, _)| address) {
            if let Some(change) = changes.addresses.get_mut(address) {
                change.new = self.current.claim(*address).cloned();
            }
        }
    }

    /// Remembers who had a destination before this commit changed anything about it.
    fn note(&self, address: SocketAddr, changes: &mut Changes) {
        let old = || self.current.claim(address).cloned();
        let entry = changes.addresses.entry(address);
        entry.or_insert_with(|| AddressChange {
            old: old(),
            new: None,
        });
    }

    fn add_claim(&mut self, address: SocketAddr, claim: Claim) {
        let claims = self.current.addresses.get(&address);
        let mut claims = claims.map(|claims| claims.to_vec()).unwrap_or_default();
        if let Err(place) = claims.binary_search(&claim) {
            claims.insert(place, claim);
        }
        warn_of_conflict(address, &claims);
        self.current.addresses.insert(address, claims.into());
    }

    fn remove_claim(&mut self, address: SocketAddr, claim: &Claim) {
        let Some(claims) = self.current.addresses.get(&address) else {
            return;
        };
        let left: Vec<_> = claims
            .iter()
            .filter(|held| *held != claim)
            .cloned()
            .collect();
        if left.is_empty() {
            self.current.addresses.remove(&address);
        } else {
            self.current.addresses.insert(address, left.into());
        }
    }
}

/// A pod on the host's network shares the addresses of its node.
fn own_addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let addresses = pod.addresses.iter().copied();
    addresses.filter(|_| !pod.host_network)
}

fn endpoint_changed(change: &ServiceChange, address: SocketAddr, claim: &Claim) -> bool {
    if claim.kind == ClaimKind::Service {
        return false;
    }
    let endpoint = |service: &Option<Arc<ResolvedService>>| {
        let (_, endpoints) = service.as_ref()?.port(claim.port)?;
        let found = endpoints.binary_search_by_key(&address, |endpoint| endpoint.address);
        found.ok().map(|found| endpoints[found].clone())
    };
    endpoint(&change.old) != endpoint(&change.new)
}

/// Two services that give themselves one address, which only external addresses can do.
fn warn_of_conflict(address: SocketAddr, claims: &[Claim]) {
    if let [first, second, ..] = claims
        && second.kind == ClaimKind::Service
        && first.service != second.service
    {
        tracing::warn!(
            destination = %address, service = %first.service, ignored = %second.service,
            "two services claim one address; the older one has it"
        );
    }
}
