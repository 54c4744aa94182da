//! Who the hosts of forward proxies are, as gauges and `/clusters` show it, and as outlier detection
//! knows them. On the control thread.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    super::{ClusterHealth, Healths},
    endpoint,
};
use crate::{
    boundary::Boundary,
    config::{self, LoadAssignment, dns::DnsResolver, endpoint::LocalityEndpoints},
    dns_cache::{DnsCache, DnsCaches, Surroundings},
    snapshot::{Publisher, Snapshot},
    stats::Registry,
};

/// The forward proxies in force.
pub(crate) struct ForwardProxies {
    publisher: Publisher,
    registry: Arc<Registry>,
    healths: Arc<Healths>,
    caches: Arc<DnsCaches>,
    followed: Mutex<Vec<Followed>>,
}

/// A cluster, and what it holds while it is in force: so its gauges and its cache are there before it
/// is used, and stay.
struct Followed {
    config: Arc<config::Cluster>,
    cache: Arc<DnsCache>,
    health: Arc<ClusterHealth>,
}

// === impl ForwardProxies ===

impl ForwardProxies {
    pub(crate) fn new(
        publisher: Publisher,
        registry: Arc<Registry>,
        healths: Arc<Healths>,
        caches: Arc<DnsCaches>,
    ) -> Arc<Self> {
        Arc::new(Self {
            publisher,
            registry,
            healths,
            caches,
            followed: Mutex::default(),
        })
    }

    /// Follows the clusters in force and looks up the names that they ask for, for as long as it runs.
    pub(crate) async fn run(self: Arc<Self>, resolver: Arc<DnsResolver>, boundary: Boundary) {
        let told = Arc::clone(&self);
        let lookups = Surroundings::new(
            Arc::clone(&self.caches),
            &resolver,
            boundary,
            Arc::new(move |cache: &Arc<DnsCache>| told.show(cache)),
        );
        let mut snapshots = self.publisher.subscribe();
        let follow = async {
            loop {
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                self.follow(&snapshot);
                drop(snapshot);
                if snapshots.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = lookups.run() => {}
        }
    }

    /// Holds what is in force, and nothing else.
    fn follow(&self, snapshot: &Snapshot) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|it| {
            let now = snapshot.clusters.get(&it.config.name);
            now.is_some_and(|now| Arc::ptr_eq(now, &it.config))
        });
        for config in snapshot.clusters.values() {
            let Some(forward_proxy) = config.forward_proxy() else {
                continue;
            };
            if followed.iter().any(|it| Arc::ptr_eq(&it.config, config)) {
                continue;
            }
            let new = Followed {
                cache: self.caches.get(&forward_proxy.cache, &self.registry),
                health: self.healths.get(config, snapshot),
                config: Arc::clone(config),
            };
            new.show(snapshot.generation);
            followed.push(new);
        }
    }

    /// Shows the names of a cache as hosts of the clusters that look them up there.
    fn show(&self, cache: &Arc<DnsCache>) {
        let generation = self.publisher.current().generation;
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let of_cache = followed.iter().filter(|it| Arc::ptr_eq(&it.cache, cache));
        of_cache.for_each(|it| it.show(generation));
    }
}

// === impl Followed ===

impl Followed {
    fn show(&self, generation: u64) {
        let hosts = self.cache.hosts();
        let endpoints = hosts
            .iter()
            .filter_map(|(key, addresses)| endpoint(key, addresses).map(Arc::new));
        let locality = LocalityEndpoints {
            endpoints: endpoints.collect(),
            ..LocalityEndpoints::default()
        };
        let assignment = LoadAssignment {
            cluster_name: self.config.name.clone(),
            localities: vec![locality],
            ..LoadAssignment::default()
        };
        self.health.assign(generation, &Arc::new(assignment));
    }
}
