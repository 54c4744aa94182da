//! What changes of the model change of resources.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weir_api::names;

use super::{Generator, mutual_tls::other_accounts};
use crate::{
    model::{Changes, NamespacedName, Pod, ResolvedService, Snapshot},
    xds::{Kind, Scope, topology},
};

impl Generator {
    /// The names of every resource that may differ after these changes, and for whom. `snapshot` is
    /// the one after them.
    #[must_use]
    pub fn affected(
        &self,
        snapshot: &Snapshot,
        changes: &Changes,
    ) -> BTreeMap<(Kind, String), Scope> {
        let mut affected = BTreeMap::new();
        let mut all = |kind: Kind, name: String| {
            affected.insert((kind, name), Scope::All);
        };
        for (name, change) in &changes.services {
            let kinds: &[Kind] = if change.declaration_changed() {
                &[Kind::Cluster, Kind::Endpoint, Kind::Route]
            } else if self.settings.mutual_tls && other_accounts(change) {
                &[Kind::Cluster, Kind::Endpoint]
            } else {
                &[Kind::Endpoint]
            };
            let services = change.old.iter().chain(&change.new);
            for port in services.flat_map(|service| &service.service.ports) {
                let name = self.service_name(name, port.port);
                kinds.iter().for_each(|kind| all(*kind, name.clone()));
            }
            for service in change.old.iter().chain(&change.new) {
                for name in self.subset_names(snapshot, service) {
                    kinds.iter().for_each(|kind| all(*kind, name.clone()));
                }
            }
        }
        for (service, subsets) in &changes.shaped {
            // What a service had that is gone goes, too.
            let gone = changes.services.get(service).and_then(|it| it.old.as_ref());
            let service = snapshot.service(service).or(gone).into_iter();
            let resources = service.flat_map(|it| self.shaped_resources(snapshot, it, subsets));
            resources.for_each(|(kind, name)| all(kind, name));
        }
        for service in &changes.routed {
            let service = snapshot.service(service).into_iter();
            for (kind, name) in service.flat_map(|service| self.routed_resources(service)) {
                all(kind, name);
            }
        }
        for address in &changes.pod_addresses {
            all(Kind::Endpoint, names::workload(*address));
        }
        for (address, change) in &changes.addresses {
            all(Kind::Listener, names::outbound_listener(*address));
            for claim in [change.old.as_ref(), change.new.as_ref()] {
                if let Some(name) = self.endpoint_name(*address, claim) {
                    all(Kind::Cluster, name);
                }
            }
        }
        if !changes.nodes.is_empty() {
            // A client on such a node may be somewhere else now.
            let services = snapshot.services();
            for service in services.filter(|service| topology::is_local(service)) {
                for port in &service.service.ports {
                    let name = self.service_name(&service.service.name, port.port);
                    all(Kind::Endpoint, name);
                }
                for name in self.subset_names(snapshot, service) {
                    all(Kind::Endpoint, name);
                }
            }
        }
        self.note_other_callers(snapshot, changes, &mut affected);
        let mut pods = pods_with_other_ports(changes);
        if !changes.nodes.is_empty() {
            // Their kubelets may call from other addresses now.
            let on_them = |pod: &&Arc<Pod>| {
                let node = pod.node.as_ref();
                !pod.probes.is_empty() && node.is_some_and(|node| changes.nodes.contains(node))
            };
            let pods_on_them = snapshot.all_pods().filter(on_them);
            pods.extend(pods_on_them.map(|pod| pod.name.clone()));
        }
        pods.extend(changes.rules.iter().flatten().cloned());
        let unknown = changes.rules.is_some();
        if !pods.is_empty() || unknown {
            let scope = Scope::Pods { pods, unknown };
            for base in [names::VIRTUAL_INBOUND, names::VIRTUAL_OUTBOUND] {
                for suffix in ["", names::V6_SUFFIX] {
                    let name = format!("{base}{suffix}");
                    affected.insert((Kind::Listener, name), scope.clone());
                }
            }
        }
        affected
    }

    /// Pods that have other labels may be under other rules.
    fn note_other_callers(
        &self,
        snapshot: &Snapshot,
        changes: &Changes,
        affected: &mut BTreeMap<(Kind, String), Scope>,
    ) {
        if changes.pods.is_empty() {
            return;
        }
        for service in snapshot.services_of_selecting_rules() {
            let Some(service) = snapshot.service(&service) else {
                continue;
            };
            let subsets = snapshot.attachments().destinations();
            let subsets = subsets.subsets_of(&service.service.name);
            let scope = Scope::Pods {
                pods: changes.pods.clone(),
                unknown: false,
            };
            for resource in self.shaped_resources(snapshot, service, &subsets) {
                affected.entry(resource).or_insert_with(|| scope.clone());
            }
        }
    }

    /// The load assignments that lost an endpoint by these changes: such news go first.
    #[must_use]
    pub fn shrunk(&self, snapshot: &Snapshot, changes: &Changes) -> BTreeSet<String> {
        let services = changes.services.iter();
        let services = services.filter(|(_, change)| change.removes_endpoints());
        services
            .flat_map(|(name, change)| {
                let ports = change.old.iter().flat_map(|service| &service.service.ports);
                let all = ports.map(|port| self.service_name(name, port.port));
                let old = change.old.iter();
                all.chain(old.flat_map(|service| self.subset_names(snapshot, service)))
            })
            .collect()
    }
}

/// The pods whose inbound ports may differ after these changes.
fn pods_with_other_ports(changes: &Changes) -> BTreeSet<NamespacedName> {
    let mut pods = changes.pods.clone();
    for change in changes.services.values() {
        let behind = |service: &Option<Arc<ResolvedService>>| -> BTreeSet<_> {
            let services = service.iter();
            let endpoints = services.flat_map(|service| service.ports().flat_map(|(_, all)| all));
            let pods = endpoints.filter_map(|endpoint| {
                let pod = endpoint.pod.as_ref()?;
                Some((endpoint.address, pod.name.clone()))
            });
            pods.collect()
        };
        let (old, new) = (behind(&change.old), behind(&change.new));
        if change.declaration_changed() {
            pods.extend(old.into_iter().chain(new).map(|(_, pod)| pod));
        } else {
            pods.extend(old.symmetric_difference(&new).map(|(_, pod)| pod.clone()));
        }
    }
    pods
}
