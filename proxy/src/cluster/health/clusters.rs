//! The health of all clusters in use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Notify;

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
    /// A cluster has become warm.
    pub(in super::super) warmed: Notify,
    clusters: Mutex<HashMap<Box<str>, Vec<Known>>>,
}

/// One configuration of a cluster. Workers take over a new one in their own time, and requests
/// of the old one may still be under way.
#[derive(Debug)]
struct Known {
    /// Of the snapshot that it was asked for with.
    generation: u64,
    /// It is not in force yet: its hosts are checked for the first time.
    is_warming: bool,
    health: Weak<ClusterHealth>,
}

// === impl Healths ===

impl Healths {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        Self {
            registry: Arc::clone(registry),
            warmed: Notify::new(),
            clusters: Mutex::default(),
        }
    }

    /// Of a cluster as a snapshot has it, with the hosts that this knows.
    pub(crate) fn get(
        &self,
        config: &Arc<config::Cluster>,
        snapshot: &Snapshot,
    ) -> Arc<ClusterHealth> {
        self.get_as(config, snapshot, false)
    }

    /// Of a cluster that is not in force yet: its hosts are checked for the first time.
    pub(super) fn warming(
        &self,
        config: &Arc<config::Cluster>,
        snapshot: &Snapshot,
    ) -> Arc<ClusterHealth> {
        self.get_as(config, snapshot, true)
    }

    /// Whether the first checks of the hosts of a cluster that warms have ended.
    pub(crate) fn is_warm(&self, config: &Arc<config::Cluster>) -> bool {
        self.known(config).is_some_and(|health| health.is_warm())
    }

    /// Ready when a cluster has become warm since this was last asked.
    pub(crate) async fn warmed(&self) {
        self.warmed.notified().await;
    }

    fn get_as(
        &self,
        config: &Arc<config::Cluster>,
        snapshot: &Snapshot,
        is_warming: bool,
    ) -> Arc<ClusterHealth> {
        let health = self.get_at(config, snapshot.generation, is_warming);
        if let Some(endpoints) = endpoints_of(config, snapshot) {
            health.assign(snapshot.generation, endpoints);
        }
        health
    }

    fn get_at(
        &self,
        config: &Arc<config::Cluster>,
        generation: u64,
        is_warming: bool,
    ) -> Arc<ClusterHealth> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = clusters.get_mut(&*config.name)
            && let Some(known) = find(all, config)
        {
            enforce(all, &known, (generation, is_warming));
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
        let is_superseded = is_warming || others.iter().any(|(other, _)| *other > generation);
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
            is_warming,
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

/// What was warming is in force once somebody asks for it as that.
fn enforce(all: &mut [Known], wanted: &Arc<ClusterHealth>, (generation, is_warming): (u64, bool)) {
    let is_it = |known: &Known| std::ptr::eq(known.health.as_ptr(), Arc::as_ptr(wanted));
    let waits = |known: &&mut Known| is_it(known) && known.is_warming && !is_warming;
    let Some(known) = all.iter_mut().find(waits) else {
        return;
    };
    known.is_warming = false;
    known.generation = generation;
    let others = all
        .iter()
        .filter(|known| !is_it(known) && !known.is_warming);
    let others = others.filter_map(|known| known.health.upgrade());
    others.for_each(|other| other.supersede());
    wanted.enforce();
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
        ClusterDiscovery::Aggregate(_)
        | ClusterDiscovery::ForwardProxy(_)
        | ClusterDiscovery::OriginalDst => None,
    }
}
