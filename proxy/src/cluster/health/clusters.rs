//! The health of all clusters in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{ClusterHealth, Stats};
use crate::{
    config::{self, LoadAssignment, cluster::ClusterDiscovery},
    snapshot::Snapshot,
    stats::Registry,
};

/// The health of clusters by their name. It goes with the last that uses the cluster.
#[derive(Debug)]
pub(crate) struct Healths {
    registry: Arc<Registry>,
    clusters: Mutex<HashMap<Box<str>, Vec<Known>>>,
}

/// One configuration of a cluster. Workers take over a new one in their own time, and requests
/// of the old one may still be under way.
#[derive(Debug)]
struct Known {
    /// Of the snapshot that it was asked for with.
    generation: u64,
    health: Weak<ClusterHealth>,
}

// === impl Healths ===

impl Healths {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        Self {
            registry: Arc::clone(registry),
            clusters: Mutex::default(),
        }
    }

    /// Of a cluster as a snapshot has it, with the hosts that this knows.
    pub(crate) fn get(
        &self,
        config: &Arc<config::Cluster>,
        snapshot: &Snapshot,
    ) -> Arc<ClusterHealth> {
        let health = self.get_at(config, snapshot.generation);
        if let Some(endpoints) = endpoints_of(config, snapshot) {
            health.assign(snapshot.generation, endpoints);
        }
        health
    }

    fn get_at(&self, config: &Arc<config::Cluster>, generation: u64) -> Arc<ClusterHealth> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clusters
            .get(&*config.name)
            .and_then(|all| find(all, config))
        {
            return known;
        }
        clusters.retain(|_, all| {
            all.retain(|known| known.health.strong_count() > 0);
            !all.is_empty()
        });
        let all = clusters.entry(config.name.as_str().into()).or_default();
        let others: Vec<_> = all
            .iter()
            .filter_map(|known| Some((known.generation, known.health.upgrade()?)))
            .collect();
        // One may ask late for what others have left behind.
        let is_superseded = others.iter().any(|(other, _)| *other > generation);
        let stats = others.first().map(|(_, other)| other.stats.clone());
        let stats = stats
            .filter(|_| {
                others
                    .iter()
                    .all(|(_, other)| other.config.stat_name == config.stat_name)
            })
            .unwrap_or_else(|| Stats::register(config, &self.registry));
        let stats = stats.completed(config, &self.registry);
        if !is_superseded {
            others.iter().for_each(|(_, other)| other.supersede());
        }
        let health = Arc::new(ClusterHealth::new(config, stats, is_superseded));
        all.push(Known {
            generation,
            health: Arc::downgrade(&health),
        });
        health
    }

    /// Of a cluster that somebody uses.
    pub(crate) fn known(&self, config: &Arc<config::Cluster>) -> Option<Arc<ClusterHealth>> {
        let clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        find(clusters.get(&*config.name)?, config)
    }
}

fn find(all: &[Known], config: &Arc<config::Cluster>) -> Option<Arc<ClusterHealth>> {
    let mut all = all.iter().filter_map(|known| known.health.upgrade());
    all.find(|known| Arc::ptr_eq(&known.config, config))
}

/// The endpoints that a snapshot has for a cluster.
pub(crate) fn endpoints_of<'s>(
    config: &'s config::Cluster,
    snapshot: &'s Snapshot,
) -> Option<&'s Arc<LoadAssignment>> {
    match &config.discovery {
        ClusterDiscovery::Static(endpoints) => Some(endpoints),
        ClusterDiscovery::Eds(name) => snapshot.endpoints.get(name),
        ClusterDiscovery::Dns(dns) => {
            let mut all = snapshot.resolved.get(&config.name)?.iter();
            let resolved = all.find(|it| Arc::ptr_eq(&it.of, dns) || it.of == *dns)?;
            Some(&resolved.endpoints)
        }
        ClusterDiscovery::Aggregate(_) | ClusterDiscovery::OriginalDst => None,
    }
}
