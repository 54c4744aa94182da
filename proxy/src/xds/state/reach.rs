//! What is wanted: everything the roots refer to, directly or through each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{FETCH_TIMEOUT, Kind, State, entry::Entry};
use crate::{
    config::{Cluster, cluster::ClusterDiscovery},
    xds::resource::{Reference, Resource},
};

impl State {
    /// Starts to want what is newly referred to, and forgets what nothing refers to any more.
    pub(super) fn collect(&mut self) {
        let wanted = self.wanted();
        for (kind, name) in &wanted {
            if !self.is_wildcard(*kind) {
                self.entries[*kind as usize]
                    .entry(name.clone())
                    .or_default();
            }
        }
        for kind in Kind::ALL {
            if !self.is_wildcard(kind) {
                // A set of pairs has no lookup by borrowed parts; the kind's names have.
                let names: BTreeSet<&str> = wanted
                    .iter()
                    .filter(|(wanted, _)| *wanted == kind)
                    .map(|(_, name)| name.as_str())
                    .collect();
                self.entries[kind as usize].retain(|name, _| names.contains(name.as_str()));
            }
        }
    }

    fn wanted(&self) -> BTreeSet<Reference> {
        let mut open: Vec<Reference> = self.settings.references.clone();
        let replaceable = self.settings.replaceable.iter();
        open.extend(replaceable.map(|name| (Kind::Listener, name.clone())));
        open.extend(self.workloads.references());
        if !self.settings.all_listeners {
            let name = |address| weir_api::names::outbound_listener(address);
            let listeners = self
                .demands
                .keys()
                .map(|address| (Kind::Listener, name(*address)));
            open.extend(listeners);
        }
        for kind in Kind::ALL.into_iter().filter(|kind| self.is_wildcard(*kind)) {
            let versions = self.entries[kind as usize]
                .values()
                .flat_map(Entry::versions);
            open.extend(versions.flat_map(Resource::references));
        }
        let mut wanted = BTreeSet::new();
        while let Some(reference) = open.pop() {
            if self.settings.known.contains(&reference) || wanted.contains(&reference) {
                continue;
            }
            let (kind, name) = &reference;
            let entry = self.entries[*kind as usize].get(name);
            let versions = entry.into_iter().flat_map(Entry::versions);
            open.extend(versions.flat_map(Resource::references));
            wanted.insert(reference);
        }
        wanted
    }

    /// Makes active what has all it refers to. Kinds that are referred to come first, so one pass
    /// is enough.
    pub(super) fn promote(&mut self, now: Instant) {
        for kind in [
            Kind::Secret,
            Kind::Endpoint,
            Kind::Cluster,
            Kind::Route,
            Kind::Listener,
        ] {
            let entries = self.entries[kind as usize].iter();
            let warming = entries.filter(|(_, entry)| entry.is_warming());
            let mut ready = Vec::new();
            for (name, entry) in warming {
                let Some((latest, _)) = &entry.latest else {
                    continue;
                };
                let references = latest.references();
                // An aggregate cluster does not wait for its clusters: one that is not there is passed
                // over, and some may lie in each other.
                let mut others = references.iter().filter(|(other, _)| *other != kind);
                if others.all(|reference| self.is_settled(reference, now))
                    && self.names_are_known(latest)
                {
                    ready.push((name.clone(), latest.clone(), self.needs_checks(latest)));
                }
            }
            for (name, latest, needs_checks) in ready {
                if let Some(entry) = self.entries[kind as usize].get_mut(&name)
                    && (!needs_checks || entry.is_checked(&latest, now))
                {
                    entry.active = Some(latest);
                    entry.checking = None;
                }
            }
        }
    }

    /// Whether a cluster's names are known, or have been waited for long enough.
    fn names_are_known(&self, resource: &Resource) -> bool {
        match (resource, &self.names) {
            (Resource::Cluster(cluster), Some(names)) => names.is_ready(cluster),
            _ => true,
        }
    }

    /// Has the names of clusters looked up that wait for them.
    pub(super) fn look_up_names(&self) {
        let Some(names) = &self.names else {
            return;
        };
        let entries = self.entries[Kind::Cluster as usize].values();
        let warming = entries.filter(|entry| entry.is_warming());
        let clusters = warming.filter_map(|entry| match entry.latest.as_ref()? {
            (Resource::Cluster(cluster), _) => Some(Arc::clone(cluster)),
            _ => None,
        });
        names.set_warming(clusters.filter(|it| is_of_names(it)).collect());
    }

    fn is_settled(&self, reference: &Reference, now: Instant) -> bool {
        if self.settings.known.contains(reference) {
            return true;
        }
        let (kind, name) = reference;
        match self.entries[*kind as usize].get(name) {
            Some(entry) => entry.is_settled(now),
            // With a wildcard, what is not there after the first answer is not coming.
            None => self.is_wildcard(*kind) && self.is_initialized(*kind, now),
        }
    }

    /// With a wildcard: whether the first answer came, or is overdue.
    pub(super) fn is_initialized(&self, kind: Kind, now: Instant) -> bool {
        let overdue = || {
            self.stream
                .as_ref()
                .is_some_and(|stream| stream.is_overdue(kind, now))
        };
        self.answered[kind as usize] || overdue()
    }

    /// When something that is waited for becomes overdue.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        let entries = self.entries.iter().flat_map(BTreeMap::values);
        let asked = entries
            .filter(|entry| entry.is_waited_for())
            .filter_map(|entry| entry.asked);
        let deadlines = asked.map(|asked| asked + FETCH_TIMEOUT);
        let of_wildcards = self.stream.iter().flat_map(|stream| {
            let waiting = Kind::ALL
                .into_iter()
                .filter(|kind| self.is_wildcard(*kind) && !self.answered[*kind as usize]);
            waiting.filter_map(|kind| stream.deadline(kind))
        });
        let of_checks = self.check_deadlines();
        let is_ahead = |deadline: &Instant| self.settled_at.is_none_or(|at| *deadline > at);
        let all = deadlines.chain(of_wildcards).chain(of_checks);
        all.filter(is_ahead).min()
    }

    /// How many resources of each kind became overdue since the last call.
    pub(in crate::xds) fn newly_overdue(&mut self, now: Instant) -> [u64; Kind::COUNT] {
        let mut late = [0; Kind::COUNT];
        for (late, entries) in late.iter_mut().zip(&mut self.entries) {
            for entry in entries.values_mut() {
                if entry.is_waited_for() && entry.is_overdue(now) && !entry.is_late {
                    entry.is_late = true;
                    *late += 1;
                }
            }
        }
        late
    }
}

fn is_of_names(cluster: &Cluster) -> bool {
    matches!(cluster.discovery, ClusterDiscovery::Dns(_))
}
