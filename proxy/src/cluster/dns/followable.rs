//! What is known of the names of one cluster.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use super::super::{ClusterHealth, Healths};
use crate::{
    config::{
        self, LoadAssignment,
        cluster::ClusterDiscovery,
        dns::{DnsCluster, DnsEndpoints},
    },
    dns::Resolved,
    snapshot::{Publisher, ResolvedNames, Snapshot},
    stat_set,
    stats::Scope,
};

stat_set! {
    /// `cluster.<name>.update_*` of a cluster whose endpoints are names, with Envoy's names.
    pub(super) struct UpdateStats {
        /// Lookups begun.
        update_attempt: Counter,
        /// Lookups that were answered.
        update_success: Counter,
        /// Lookups that were not answered. The last addresses stay.
        update_failure: Counter,
        /// Answers without an address. Of names, they count as answers.
        update_empty: Counter,
        /// Answers that changed nothing.
        update_no_rebuild: Counter,
    }
}

/// What the lookups of a cluster share.
#[derive(Debug)]
pub(super) struct Followable {
    pub(super) name: String,
    pub(super) dns: Arc<DnsCluster>,
    pub(super) publisher: Publisher,
    pub(super) scope: Scope,
    pub(super) stats: Arc<UpdateStats>,
    /// Of the configuration in force; none before that.
    pub(super) health: Mutex<Option<Arc<ClusterHealth>>>,
    pub(super) changed: Arc<Notify>,
    /// An answer, or a failure, has come.
    pub(super) is_answered: AtomicBool,
    /// Of each target what is known last.
    pub(super) found: Mutex<Vec<Resolved>>,
}

/// The names of a cluster; none for one of another type.
pub(super) fn names_of(config: &config::Cluster) -> Option<&Arc<DnsCluster>> {
    match &config.discovery {
        ClusterDiscovery::Dns(dns) => Some(dns),
        _ => None,
    }
}

/// Whether both are looked up alike, so that what was found for one is true of the other.
pub(super) fn is_same(one: &Arc<DnsCluster>, other: &Arc<DnsCluster>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

// === impl Followable ===

impl Followable {
    /// Holds the health of the configuration in force, whose gauges are then there before the cluster
    /// is used.
    pub(super) fn keep_health(&self, healths: &Healths, name: &str, snapshot: &Snapshot) {
        let Some(config) = snapshot.clusters.get(name) else {
            return;
        };
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |health: &ClusterHealth| health.is_of(config);
        if names_of(config).is_some_and(|dns| is_same(dns, &self.dns))
            && !health.as_deref().is_some_and(is_of)
        {
            *health = Some(healths.get(config, snapshot));
        }
    }

    /// What is known of a target now. False if that is nothing new.
    pub(super) fn found(&self, index: usize, new: Resolved) -> bool {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = found.get_mut(index) else {
            return false;
        };
        let is_new = self.differs(known, &new);
        *known = new;
        if !is_new {
            return false;
        }
        let endpoints = Arc::new(self.assignment(&found));
        drop(found);
        let new = ResolvedNames {
            of: Arc::clone(&self.dns),
            endpoints: Arc::clone(&endpoints),
        };
        self.publisher.modify(|snapshot| {
            let all = snapshot.resolved.entry(self.name.clone()).or_default();
            all.retain(|known| !Arc::ptr_eq(&known.of, &new.of));
            all.push(new);
        });
        let generation = self.publisher.current().generation;
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = &*health {
            health.assign(generation, &endpoints);
        }
        true
    }

    fn differs(&self, known: &Resolved, new: &Resolved) -> bool {
        match self.dns.endpoints {
            // The order means nothing.
            DnsEndpoints::Each => {
                known.addresses.len() != new.addresses.len()
                    || new.addresses.iter().any(|it| !known.addresses.contains(it))
            }
            DnsEndpoints::Single => known.addresses != new.addresses,
        }
    }

    fn assignment(&self, found: &[Resolved]) -> LoadAssignment {
        let mut assignment = self.dns.localities.clone();
        for (target, found) in self.dns.targets.iter().zip(found) {
            let Some(locality) = assignment.localities.get_mut(target.locality) else {
                continue;
            };
            let endpoints = &mut locality.endpoints;
            match self.dns.endpoints {
                DnsEndpoints::Each => {
                    endpoints.extend(target.each(&found.addresses).map(Arc::new));
                }
                DnsEndpoints::Single => {
                    endpoints.extend(target.single(&found.addresses).map(Arc::new));
                }
            }
        }
        assignment
    }

    /// The first answer, or failure, is what others wait for.
    pub(super) fn note_answer(&self) {
        if !self.is_answered.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }
}
