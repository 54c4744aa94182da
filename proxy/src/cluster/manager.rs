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
    Cluster, ClusterStats, Healths, Upstream, endpoints_of, limits::Limits,
    transport_socket::UpstreamSockets,
};
use crate::{
    boundary::Boundary,
    config,
    secrets::Secrets,
    singletons::Singletons,
    snapshot::Snapshot,
    stats::{Registry, Scope},
};

/// How often pools are looked through, while there is anything in them.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// The clusters of a worker.
pub(crate) struct Clusters {
    clusters: RefCell<HashMap<Box<str>, Rc<Cluster>>>,
    snapshot: RefCell<Arc<Snapshot>>,
    registry: Arc<Registry>,
    singletons: Arc<Singletons>,
    health: Arc<Healths>,
    secrets: Arc<Secrets>,
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
        Self {
            clusters: RefCell::default(),
            snapshot: RefCell::new(snapshot),
            registry,
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
        let stats = self.registry.register(Scope::cluster(&config.stat_name));
        let cluster = Rc::new(self.make(config, stats, &snapshot));
        self.clusters
            .borrow_mut()
            .insert(name.into(), Rc::clone(&cluster));
        Some(cluster)
    }

    fn make(
        &self,
        config: &Arc<config::Cluster>,
        stats: Arc<ClusterStats>,
        snapshot: &Snapshot,
    ) -> Cluster {
        let health = self.health.get(config, snapshot);
        let endpoints = endpoints_of(config, snapshot).map(|endpoints| &**endpoints);
        let sockets = UpstreamSockets::new(config, &self.registry, &self.singletons, &self.secrets);
        let limits = Limits::new(config, &stats, &self.registry, &self.singletons);
        Cluster::with_parts(config, stats, (endpoints, health), sockets, limits)
    }

    /// Brings the clusters in line with a new snapshot.
    pub(crate) fn apply(&self, snapshot: &Arc<Snapshot>) {
        let old = self.snapshot.replace(Arc::clone(snapshot));
        self.clusters.borrow_mut().retain(|name, cluster| {
            let Some(config) = snapshot.clusters.get(&**name) else {
                cluster.retire();
                return false;
            };
            if !Arc::ptr_eq(config, &cluster.config) {
                let stats = Arc::clone(&cluster.stats);
                cluster.retire();
                *cluster = Rc::new(self.make(config, stats, snapshot));
                return true;
            }
            let before = endpoints_of(config, &old);
            let endpoints = endpoints_of(config, snapshot);
            if before.map(Arc::as_ptr) != endpoints.map(Arc::as_ptr) {
                let endpoints = endpoints.cloned().unwrap_or_default();
                cluster.health.assign(snapshot.generation, &endpoints);
                cluster.set_endpoints(&endpoints);
            }
            true
        });
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
