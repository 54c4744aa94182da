//! The cluster manager of a worker: clusters by name, made when they are first used.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    Cluster, ClusterStats, Healths, Parts, Upstream,
    balancer::{Balancer, LocalCluster},
    endpoints_of, forward_proxy,
    limits::Limits,
    transport_socket::UpstreamSockets,
};
use crate::{
    boundary::Boundary,
    config::{self, cluster::LbPolicy},
    dns_cache::DnsCaches,
    secrets::Secrets,
    singletons::Singletons,
    snapshot::Snapshot,
    stats::{Registry, Scope},
};

/// How often pools are looked through, while there is anything in them.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// The clusters of a worker.
pub struct Clusters {
    clusters: RefCell<HashMap<Box<str>, Rc<Cluster>>>,
    snapshot: RefCell<Arc<Snapshot>>,
    registry: Arc<Registry>,
    singletons: Arc<Singletons>,
    pub(crate) dns_caches: Arc<DnsCaches>,
    health: Arc<Healths>,
    secrets: Arc<Secrets>,
    /// The cluster of the proxies, where the bootstrap names one.
    local: Option<(Box<str>, Rc<LocalCluster>)>,
    pub(super) boundary: Boundary,
    reaping: Cell<bool>,
}

// === impl Clusters ===

impl Clusters {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        registry: Arc<Registry>,
        singletons: Arc<Singletons>,
        health: Arc<Healths>,
        secrets: Arc<Secrets>,
        boundary: Boundary,
    ) -> Self {
        let local = snapshot.local_cluster.as_ref().map(|local| {
            let own = local.locality.clone();
            let cluster = RefCell::default();
            let name = local.name.as_str().into();
            (name, Rc::new(LocalCluster { own, cluster }))
        });
        Self {
            clusters: RefCell::default(),
            local,
            snapshot: RefCell::new(snapshot),
            registry,
            dns_caches: singletons.get(DnsCaches::NAME, DnsCaches::default),
            singletons,
            health,
            secrets,
            boundary,
            reaping: Cell::new(false),
        }
    }

    /// The cluster named `name`, if there is one.
    pub(crate) fn get(&self, name: &str) -> Option<Rc<Cluster>> {
        if let Some(cluster) = self.clusters.borrow().get(name) {
            return Some(Rc::clone(cluster));
        }
        let snapshot = Arc::clone(&self.snapshot.borrow());
        let config = snapshot.clusters.get(name)?;
        if self
            .local
            .as_ref()
            .is_some_and(|(local, _)| **local != *name)
        {
            self.know_local();
        }
        let stats = self.registry.register(Scope::cluster(&config.stat_name));
        let balancer = self.balancer(config, &snapshot, None);
        let cluster = Rc::new(self.make((config, stats), &snapshot, balancer));
        self.clusters
            .borrow_mut()
            .insert(name.into(), Rc::clone(&cluster));
        Some(cluster)
    }

    fn make(
        &self,
        (config, stats): (&Arc<config::Cluster>, Arc<ClusterStats>),
        snapshot: &Snapshot,
        balancer: Balancer,
    ) -> Cluster {
        let health = self.health.get(config, snapshot);
        let endpoints = endpoints_of(config, snapshot);
        let sockets = UpstreamSockets::new(config, &self.registry, &self.singletons, &self.secrets);
        let parts = Parts {
            sockets,
            limits: Limits::new(config, &stats, &self.registry, &self.singletons),
            balancer,
            forward_proxy: forward_proxy::Hosts::of(config, &self.dns_caches, &self.registry),
        };
        Cluster::with_parts(config, stats, (endpoints, health), parts)
    }

    /// What picks hosts, in place of that of the same cluster before.
    fn balancer(
        &self,
        config: &config::Cluster,
        snapshot: &Snapshot,
        before: Option<&Balancer>,
    ) -> Balancer {
        let scope = || Scope::cluster(&config.stat_name);
        let (settings, policy) = (&config.load_balancing, config.lb_policy);
        let subsets = settings.subsets.as_ref().map(|_| {
            let known = before.and_then(|before| before.subsets.clone());
            known.unwrap_or_else(|| self.registry.register(scope()))
        });
        let is_spread = !policy.goes_by_hash() && policy != LbPolicy::ClusterProvided;
        let local = self.local.as_ref();
        let local = local.filter(|(name, _)| **name != *config.name && is_spread);
        let zones = local.map(|(_, local)| {
            let known = before.and_then(|before| before.zones.as_ref());
            let stats = known.map(|(_, stats)| Arc::clone(stats));
            let stats = stats.unwrap_or_else(|| self.registry.register(scope()));
            (Rc::clone(local), stats)
        });
        let balancer = Balancer {
            subsets,
            zones,
            has_keys: !settings.active_request_bias_key.is_empty()
                || !settings.aggression_key.is_empty(),
            ..Balancer::default()
        };
        balancer.runtime.replace(Arc::clone(&snapshot.runtime));
        balancer
    }

    /// Looks for the local cluster, which others go by.
    fn know_local(&self) {
        let Some((name, local)) = &self.local else {
            return;
        };
        let known = local.cluster.borrow().is_some();
        if !known {
            let cluster = self.get(name);
            local.cluster.replace(cluster);
        }
    }

    /// The port of names that requests to this cluster bring without one; none where its hosts are no
    /// such names.
    pub(crate) fn forwards_by_name(&self, cluster: &str) -> Option<u16> {
        let snapshot = self.snapshot.borrow();
        let config = snapshot.clusters.get(cluster)?;
        config.forward_proxy().map(|_| config.default_port())
    }

    /// Brings the clusters in line with a new snapshot.
    pub(crate) fn apply(&self, snapshot: &Arc<Snapshot>) {
        let old = self.snapshot.replace(Arc::clone(snapshot));
        let other_runtime = !Arc::ptr_eq(&old.runtime, &snapshot.runtime);
        self.clusters.borrow_mut().retain(|name, cluster| {
            let Some(config) = snapshot.clusters.get(&**name) else {
                cluster.retire();
                return false;
            };
            if !Arc::ptr_eq(config, &cluster.config) {
                let stats = Arc::clone(&cluster.stats);
                cluster.retire();
                let balancer = self.balancer(config, snapshot, Some(&cluster.balancer));
                *cluster = Rc::new(self.make((config, stats), snapshot, balancer));
                return true;
            }
            let before = endpoints_of(config, &old);
            let endpoints = endpoints_of(config, snapshot);
            if before.map(Arc::as_ptr) != endpoints.map(Arc::as_ptr) {
                let endpoints = endpoints.cloned().unwrap_or_default();
                cluster.health.assign(snapshot.generation, &endpoints);
                cluster.set_endpoints(&endpoints);
            } else if other_runtime && cluster.balancer.follow(&snapshot.runtime) {
                cluster.regroup();
            }
            true
        });
        if let Some((_, local)) = &self.local {
            local.cluster.take();
            self.know_local();
        }
    }

    /// Closes pooled connections, now and as they come back: nobody will ask again.
    pub(crate) fn retire(&self) {
        self.clusters
            .borrow()
            .values()
            .for_each(|cluster| cluster.retire());
    }

    /// Puts a connection back into its pool, and sees to it that it is closed in time.
    pub(crate) fn put_back(self: &Rc<Self>, upstream: Upstream) {
        upstream.put_back();
        self.watch_pools();
    }

    /// As [`Self::put_back`], for a connection that was dialled ahead of detection.
    pub(crate) fn put_back_spare(self: &Rc<Self>, upstream: Upstream) {
        upstream.put_back_spare();
        self.watch_pools();
    }

    /// Sees to it that pooled connections are closed in time.
    pub(super) fn watch_pools(self: &Rc<Self>) {
        if !self.reaping.replace(true) {
            let clusters = Rc::clone(self);
            tokio::task::spawn_local(async move {
                let reaped = clusters.boundary.contain(Rc::clone(&clusters).reap());
                if reaped.await.is_none() {
                    clusters.reaping.set(false);
                }
            });
        }
    }

    /// Runs while pools hold connections, so that an idle worker has no timer.
    async fn reap(self: Rc<Self>) {
        loop {
            sleep(REAP_INTERVAL).await;
            let now = Instant::now();
            let clusters: Vec<_> = self.clusters.borrow().values().cloned().collect();
            let left: usize = clusters.iter().map(|cluster| cluster.reap(now)).sum();
            if left == 0 {
                self.reaping.set(false);
                return;
            }
        }
    }
}
