//! Whose an address is, and which services a pod stands behind.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::Index;
use crate::model::{EndpointSlice, NamespacedName, Pod};

impl Index {
    pub(super) fn apply_pod(&mut self, pod: Pod) {
        if self.current.pods_by_name.get(&pod.name).map(|old| &**old) == Some(&pod) {
            return;
        }
        self.remove_pod(&pod.name);
        self.touch_services_of(&pod.name);
        self.touch_selecting(&pod);
        self.changed_pods.insert(pod.name.clone());
        let pod = Arc::new(pod);
        self.current
            .pods_by_name
            .insert(pod.name.clone(), pod.clone());
        for address in own_addresses(&pod) {
            self.give_address(address, &pod);
        }
    }

    pub(super) fn remove_pod(&mut self, name: &NamespacedName) {
        let Some(pod) = self.current.pods_by_name.remove(name) else {
            return;
        };
        self.touch_services_of(name);
        self.touch_selecting(&pod);
        self.changed_pods.insert(name.clone());
        for address in own_addresses(&pod) {
            self.take_address(address, name);
        }
    }

    /// A new pod may have an address before the old one was seen to go: one of them has it.
    fn give_address(&mut self, address: IpAddr, pod: &Arc<Pod>) {
        self.changed_addresses.insert(address);
        if let Some(holder) = self.current.pods.get(&address) {
            let contenders = self.contested.entry(address).or_default();
            contenders.extend([holder.name.clone(), pod.name.clone()]);
            self.settle_address(address);
        } else {
            self.current.pods.insert(address, pod.clone());
        }
    }

    fn take_address(&mut self, address: IpAddr, name: &NamespacedName) {
        self.changed_addresses.insert(address);
        match self.contested.get_mut(&address) {
            Some(contenders) => {
                contenders.remove(name);
                self.settle_address(address);
            }
            None => {
                self.current.pods.remove(&address);
            }
        }
    }

    fn settle_address(&mut self, address: IpAddr) {
        let contenders = self.contested.get(&address);
        let holder = contenders.and_then(BTreeSet::last);
        if let Some(pod) = holder.and_then(|holder| self.current.pods_by_name.get(holder)) {
            self.current.pods.insert(address, pod.clone());
        }
        if contenders.is_none_or(|contenders| contenders.len() < 2) {
            self.contested.remove(&address);
        }
    }

    pub(super) fn touch_services_of(&mut self, pod: &NamespacedName) {
        self.dirty
            .extend(self.current.services_of(pod).iter().cloned());
    }

    /// Brings the services of pods in line with a slice that changed; the slices are already.
    pub(super) fn move_pods(&mut self, old: Option<&EndpointSlice>, new: Option<&EndpointSlice>) {
        let (before, after) = (pods(old), pods(new));
        // The pods of a slice have the same services as a rule, and then one list of them.
        let mut shared = None;
        for (pod, service) in before.difference(&after) {
            if !self.has_pod(service, pod) {
                let without = |services: &mut Vec<_>| services.retain(|it| it != *service);
                self.change_services(pod, without, &mut shared);
            }
        }
        for (pod, service) in after.difference(&before) {
            let with = |services: &mut Vec<NamespacedName>| {
                if let Err(place) = services.binary_search(service) {
                    services.insert(place, (*service).clone());
                }
            };
            self.change_services(pod, with, &mut shared);
        }
    }

    fn has_pod(&self, service: &NamespacedName, pod: &NamespacedName) -> bool {
        let slices = self.slices.get(service);
        let slices = slices.into_iter().flat_map(|slices| slices.values());
        let mut endpoints = slices.flat_map(|slice| &slice.endpoints);
        endpoints.any(|endpoint| endpoint.pod.as_ref() == Some(pod))
    }

    fn change_services(
        &mut self,
        pod: &NamespacedName,
        change: impl FnOnce(&mut Vec<NamespacedName>),
        shared: &mut Option<Arc<[NamespacedName]>>,
    ) {
        let before = self.current.services_of(pod);
        let mut after = before.to_vec();
        change(&mut after);
        if after == before {
            return;
        }
        self.changed_pods.insert(pod.clone());
        if after.is_empty() {
            self.current.pod_services.remove(pod);
        } else {
            let same = shared.take().filter(|shared| **shared == *after);
            let after = shared.insert(same.unwrap_or_else(|| after.into()));
            self.current.pod_services.insert(pod.clone(), after.clone());
        }
    }
}

/// Pods of a slice, each with the service.
fn pods(slice: Option<&EndpointSlice>) -> BTreeSet<(&NamespacedName, &NamespacedName)> {
    let pods = slice.into_iter().flat_map(|slice| {
        let pods = slice.endpoints.iter();
        pods.filter_map(|endpoint| Some((endpoint.pod.as_ref()?, &slice.service)))
    });
    pods.collect()
}

/// A pod on the host's network shares the addresses of its node.
fn own_addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let addresses = pod.addresses.iter().copied();
    addresses.filter(|_| !pod.host_network)
}
