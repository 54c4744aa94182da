//! Clusters whose endpoints are names: the control thread looks them up, and publishes what it finds.

mod refresh;
mod target;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use self::target::Target;
use super::{ClusterHealth, Healths};
use crate::{
    boundary::Boundary,
    config::{
        self, LoadAssignment,
        cluster::ClusterDiscovery,
        dns::{DnsCluster, DnsEndpoints, DnsResolver},
    },
    dns::{Resolved, Resolver},
    snapshot::{Publisher, ResolvedNames, Snapshot},
    stat_set,
    stats::{Registry, Scope},
};

/// Lookups at a time: each has a socket, and a server of names sees them all at once.
const AT_A_TIME: usize = 64;
/// How long whatever waits for the first answer waits: Envoy's `initial_fetch_timeout`. Envoy itself
/// waits for as long as servers of names say nothing.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// The names of all clusters in force.
#[derive(Debug)]
pub(crate) struct Names {
    publisher: Publisher,
    registry: Arc<Registry>,
    healths: Arc<Healths>,
    boundary: Boundary,
    /// As the bootstrap says.
    resolver: Arc<Resolver>,
    lookups: Arc<Semaphore>,
    /// A cluster has its first answer.
    answered: Arc<Notify>,
    clusters: Mutex<HashMap<String, Followed>>,
}

/// A cluster whose names are looked up. Dropping it ends that.
#[derive(Debug)]
struct Followed {
    cluster: Arc<Followable>,
    tasks: Vec<AbortHandle>,
    /// From when on nobody waits for it.
    patience: Instant,
}

/// What the lookups of a cluster share.
#[derive(Debug)]
struct Followable {
    name: String,
    dns: Arc<DnsCluster>,
    publisher: Publisher,
    stats: Arc<UpdateStats>,
    health: Mutex<Arc<ClusterHealth>>,
    answered: Arc<Notify>,
    /// An answer, or a failure, has come.
    is_answered: AtomicBool,
    /// Of each target what is known last.
    found: Mutex<Vec<Resolved>>,
}

// === impl Names ===

impl Names {
    pub(crate) fn new(
        publisher: Publisher,
        registry: Arc<Registry>,
        healths: Arc<Healths>,
        boundary: Boundary,
        resolver: &Arc<DnsResolver>,
    ) -> Self {
        Self {
            publisher,
            registry,
            healths,
            boundary,
            resolver: Arc::new(Resolver::new(resolver)),
            lookups: Arc::new(Semaphore::new(AT_A_TIME)),
            answered: Arc::default(),
            clusters: Mutex::default(),
        }
    }

    /// Follows the clusters in force for as long as it runs.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut snapshots = self.publisher.subscribe();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.follow(&snapshot);
            let deadline = self.first_answers(&snapshot);
            drop(snapshot);
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = self.answered.notified() => {}
                () = late => {}
            }
        }
    }

    /// Starts with what is new in a snapshot, and ends with what is gone.
    fn follow(&self, snapshot: &Snapshot) {
        let mut clusters = self.lock();
        clusters.retain(|name, followed| {
            let now = snapshot
                .clusters
                .get(name)
                .and_then(|config| names_of(config));
            now.is_some_and(|dns| is_same(dns, &followed.cluster.dns))
        });
        for (name, config) in &snapshot.clusters {
            let Some(dns) = names_of(config) else {
                continue;
            };
            match clusters.get(name) {
                Some(known) => known.cluster.keep_health(&self.healths, config, snapshot),
                None => {
                    let followed = self.start(config, dns, snapshot);
                    clusters.insert(name.clone(), followed);
                }
            }
        }
        let is_gone = |name: &String| !clusters.contains_key(name);
        if snapshot.resolved.keys().any(is_gone) {
            self.publisher.modify(|snapshot| {
                snapshot
                    .resolved
                    .retain(|name, _| clusters.contains_key(name));
            });
        }
    }

    fn start(
        &self,
        config: &Arc<config::Cluster>,
        dns: &Arc<DnsCluster>,
        snapshot: &Snapshot,
    ) -> Followed {
        let cluster = Arc::new(Followable {
            name: config.name.clone(),
            dns: Arc::clone(dns),
            publisher: self.publisher.clone(),
            stats: self.registry.register(Scope::cluster(&config.stat_name)),
            health: Mutex::new(self.healths.get(config, snapshot)),
            answered: Arc::clone(&self.answered),
            is_answered: AtomicBool::new(dns.targets.is_empty()),
            found: Mutex::new(vec![Resolved::default(); dns.targets.len()]),
        });
        let resolver = match &dns.resolver {
            Some(config) => Arc::new(Resolver::new(config)),
            None => Arc::clone(&self.resolver),
        };
        let tasks = (0..dns.targets.len()).map(|index| {
            let target = Target {
                cluster: Arc::clone(&cluster),
                index,
                resolver: Arc::clone(&resolver),
                lookups: Arc::clone(&self.lookups),
            };
            let follow = self.boundary.clone().keep(move || target.clone().follow());
            tokio::spawn(follow).abort_handle()
        });
        Followed {
            tasks: tasks.collect(),
            cluster,
            patience: Instant::now() + PATIENCE,
        }
    }

    /// Lets listeners of the bootstrap begin once each cluster has its first answer. When nobody
    /// waits for it any more, if somebody does now.
    fn first_answers(&self, snapshot: &Snapshot) -> Option<Instant> {
        if !snapshot.awaits_names {
            return None;
        }
        let now = Instant::now();
        let clusters = self.lock();
        let waits = clusters.values().filter(|followed| !followed.is_ready(now));
        let deadline = waits.map(|followed| followed.patience).min();
        drop(clusters);
        if deadline.is_none() {
            self.publisher
                .modify(|snapshot| snapshot.awaits_names = false);
        }
        deadline
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of a cluster; none for one of another type.
pub(crate) fn names_of(config: &config::Cluster) -> Option<&Arc<DnsCluster>> {
    match &config.discovery {
        ClusterDiscovery::Dns(dns) => Some(dns),
        _ => None,
    }
}

/// Whether both are looked up alike, so that what was found for one is true of the other.
fn is_same(one: &Arc<DnsCluster>, other: &Arc<DnsCluster>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

// === impl Followed ===

impl Followed {
    fn is_ready(&self, now: Instant) -> bool {
        self.cluster.is_answered.load(Ordering::Acquire) || now >= self.patience
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

// === impl Followable ===

impl Followable {
    /// Holds the health of the configuration in force, whose gauges are then there before the cluster
    /// is used.
    fn keep_health(&self, healths: &Healths, config: &Arc<config::Cluster>, snapshot: &Snapshot) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if !health.is_of(config) {
            *health = healths.get(config, snapshot);
        }
    }

    /// What is known of a target now. False if that is nothing new.
    fn found(&self, index: usize, new: Resolved) -> bool {
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
        let (of, name) = (Arc::clone(&self.dns), self.name.clone());
        let now = Arc::clone(&endpoints);
        self.publisher.modify(|snapshot| {
            snapshot
                .resolved
                .insert(name, ResolvedNames { of, endpoints });
        });
        let generation = self.publisher.current().generation;
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.assign(generation, &now);
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
            match self.dns.endpoints {
                DnsEndpoints::Each => locality.endpoints.extend(target.each(&found.addresses)),
                DnsEndpoints::Single => locality.endpoints.extend(target.single(&found.addresses)),
            }
        }
        assignment
    }

    /// The first answer, or failure, is what others wait for.
    fn note_answer(&self) {
        if !self.is_answered.swap(true, Ordering::AcqRel) {
            self.answered.notify_one();
        }
    }
}
