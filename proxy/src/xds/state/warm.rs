//! Clusters whose hosts are checked before they are in force.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    FETCH_TIMEOUT, Kind, State,
    entry::{Checking, Entry},
};
use crate::{
    config::{Cluster, cluster::ClusterDiscovery},
    xds::{change::Change, resource::Resource},
};

// === impl State ===

impl State {
    /// Takes note of clusters whose hosts have all had their first check.
    pub(in crate::xds) fn note_checked(&mut self, is_warm: impl Fn(&Arc<Cluster>) -> bool) {
        let entries = self.entries[Kind::Cluster as usize].values_mut();
        for checking in entries.filter_map(|entry| entry.checking.as_mut()) {
            if let Resource::Cluster(cluster) = &checking.resource {
                checking.is_done = checking.is_done || is_warm(cluster);
            }
        }
    }

    /// Whether a resource is a cluster with hosts that are to be checked.
    pub(super) fn needs_checks(&self, resource: &Resource) -> bool {
        let Resource::Cluster(cluster) = resource else {
            return false;
        };
        let has_endpoints = match &cluster.discovery {
            ClusterDiscovery::Eds(name) => {
                let entry = self.entries[Kind::Endpoint as usize].get(name);
                entry.is_some_and(|entry| entry.active.is_some())
            }
            _ => true,
        };
        cluster.health_check.is_some() && has_endpoints
    }

    /// When clusters are in force though their hosts have not all been checked.
    pub(super) fn check_deadlines(&self) -> impl Iterator<Item = Instant> {
        let entries = self.entries[Kind::Cluster as usize].values();
        let checking = entries.filter_map(|entry| entry.checking.as_ref());
        checking.map(Checking::deadline)
    }

    /// What has changed about whose hosts are checked.
    pub(super) fn warming_changes(&mut self) -> Vec<Change> {
        let entries = self.entries[Kind::Cluster as usize].iter();
        let checking = entries.filter_map(|(name, entry)| {
            let checking = entry.checking.as_ref()?;
            Some((name.clone(), checking.resource.clone()))
        });
        let checking: BTreeMap<_, _> = checking.collect();
        let gone = self.published_warming.keys();
        let gone = gone.filter(|name| !checking.contains_key(*name));
        let mut changes: Vec<_> = gone.map(|name| Change::EndWarming(name.clone())).collect();
        for (name, resource) in &checking {
            let known = self.published_warming.get(name);
            if let Resource::Cluster(cluster) = resource
                && !known.is_some_and(|known| known.is(resource))
            {
                changes.push(Change::Warm(name.clone(), Arc::clone(cluster)));
            }
        }
        self.published_warming = checking;
        changes
    }
}

// === impl Entry ===

impl Entry {
    /// Whether the hosts of its latest version have been checked, or are overdue. They are from now
    /// on, if nobody has begun.
    pub(super) fn is_checked(&mut self, latest: &Resource, now: Instant) -> bool {
        let known = self.checking.as_ref();
        if let Some(checking) = known.filter(|checking| checking.resource.is(latest)) {
            return checking.is_done || now >= checking.deadline();
        }
        self.checking = Some(Checking {
            resource: latest.clone(),
            since: now,
            is_done: false,
        });
        false
    }
}

// === impl Checking ===

impl Checking {
    fn deadline(&self) -> Instant {
        self.since + FETCH_TIMEOUT
    }
}
