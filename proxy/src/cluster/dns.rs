//! Clusters whose endpoints are names: the control thread looks them up, and publishes what it finds.

mod followable;
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

use self::{
    followable::{Followable, is_same, names_of},
    target::Target,
};
use super::Healths;
use crate::{
    boundary::Boundary,
    config::{
        self,
        dns::{DnsCluster, DnsResolver},
    },
    dns::{Resolved, Resolver},
    snapshot::{Publisher, ResolvedNames, Snapshot},
    stats::{Registry, Scope},
};

/// Lookups at a time: each has a socket, and a server of names sees them all at once.
const AT_A_TIME: usize = 64;
/// How long whatever waits for the first answer waits: Envoy's `initial_fetch_timeout`. Envoy itself
/// waits for as long as servers of names say nothing.
const PATIENCE: Duration = Duration::from_secs(15);

/// The names of all clusters in force, and of those that are to be once their names are known.
#[derive(Debug)]
pub(crate) struct Names {
    publisher: Publisher,
    registry: Arc<Registry>,
    healths: Arc<Healths>,
    boundary: Boundary,
    /// As the bootstrap says.
    resolver: Arc<Resolver>,
    lookups: Arc<Semaphore>,
    /// A cluster has its first answer, or others are to be followed.
    changed: Arc<Notify>,
    /// A cluster that is to come into force has its first answer, or is waited for no longer.
    ready: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By name: of two while a cluster is to be replaced by one with other names.
    clusters: HashMap<String, Vec<Followed>>,
    /// Clusters that come into force once their names are known.
    warming: Vec<Arc<config::Cluster>>,
}

/// A cluster whose names are looked up. Dropping it ends that.
#[derive(Debug)]
struct Followed {
    cluster: Arc<Followable>,
    tasks: Vec<AbortHandle>,
    /// From when on nobody waits for it.
    patience: Instant,
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
            changed: Arc::default(),
            ready: Notify::new(),
            state: Mutex::default(),
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
                () = self.changed.notified() => {}
                () = late => {}
            }
        }
    }

    /// Looks names of clusters up, too, that are to come into force: these, and no others.
    pub(crate) fn set_warming(&self, clusters: Vec<Arc<config::Cluster>>) {
        let mut state = self.lock();
        let is_same = |(one, other): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(one, other);
        let is_known = state.warming.len() == clusters.len()
            && state.warming.iter().zip(&clusters).all(is_same);
        if !is_known {
            state.warming = clusters;
            self.changed.notify_one();
        }
    }

    /// Whether the names of a cluster are known, or have been waited for long enough.
    pub(crate) fn is_ready(&self, config: &config::Cluster) -> bool {
        let Some(dns) = names_of(config) else {
            return true;
        };
        let state = self.lock();
        let followed = state.clusters.get(&config.name).into_iter().flatten();
        let mut of_these = followed.filter(|followed| is_same(&followed.cluster.dns, dns));
        of_these.any(|followed| followed.is_ready(Instant::now()))
    }

    /// Waits until [`Self::is_ready`] may say otherwise.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Starts with what is new, and ends with what is gone.
    fn follow(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        let State { clusters, warming } = &mut *state;
        let wanted: Vec<_> = snapshot.clusters.values().chain(&*warming).collect();
        for config in &wanted {
            if let Some(dns) = names_of(config) {
                let all = clusters.entry(config.name.clone()).or_default();
                if !all.iter().any(|known| is_same(&known.cluster.dns, dns)) {
                    let before = all.first().map(|known| &*known.cluster);
                    let followed = self.start(config, dns, before);
                    all.push(followed);
                }
            }
        }
        let is_wanted = |name: &String, followed: &Followed| {
            let mut of_name = wanted.iter().filter(|config| config.name == *name);
            of_name.any(|config| {
                names_of(config).is_some_and(|dns| is_same(dns, &followed.cluster.dns))
            })
        };
        clusters.retain(|name, all| {
            all.retain(|followed| is_wanted(name, followed));
            !all.is_empty()
        });
        for (name, all) in &*clusters {
            for followed in all {
                followed.cluster.keep_health(&self.healths, name, snapshot);
            }
        }
        self.forget(clusters, snapshot);
    }

    /// Takes out of the snapshot what nobody looks up any more.
    fn forget(&self, clusters: &HashMap<String, Vec<Followed>>, snapshot: &Snapshot) {
        let stays = |name: &String, resolved: &ResolvedNames| {
            let mut all = clusters.get(name).into_iter().flatten();
            all.any(|followed| Arc::ptr_eq(&followed.cluster.dns, &resolved.of))
        };
        let mut all = snapshot.resolved.iter();
        if all.all(|(name, all)| all.iter().all(|it| stays(name, it))) {
            return;
        }
        self.publisher.modify(|snapshot| {
            snapshot.resolved.retain(|name, all| {
                all.retain(|resolved| stays(name, resolved));
                !all.is_empty()
            });
        });
    }

    /// `before` is one of the same name, whose counts go on.
    fn start(
        &self,
        config: &config::Cluster,
        dns: &Arc<DnsCluster>,
        before: Option<&Followable>,
    ) -> Followed {
        let scope = Scope::cluster(&config.stat_name);
        let known = before.filter(|before| before.scope == scope);
        let stats = known.map(|before| Arc::clone(&before.stats));
        let cluster = Arc::new(Followable {
            name: config.name.clone(),
            dns: Arc::clone(dns),
            publisher: self.publisher.clone(),
            stats: stats.unwrap_or_else(|| self.registry.register(scope.clone())),
            scope,
            health: Mutex::default(),
            changed: Arc::clone(&self.changed),
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

    /// Lets listeners of the bootstrap begin once each cluster has its first answer. When somebody
    /// stops waiting for one, if somebody waits.
    fn first_answers(&self, snapshot: &Snapshot) -> Option<Instant> {
        let now = Instant::now();
        let state = self.lock();
        let all = state.clusters.values().flatten();
        let waits = all.filter(|followed| !followed.is_ready(now));
        let deadline = waits.map(|followed| followed.patience).min();
        if !state.warming.is_empty() {
            self.ready.notify_one();
        }
        drop(state);
        if snapshot.awaits_names && deadline.is_none() {
            self.publisher
                .modify(|snapshot| snapshot.awaits_names = false);
        }
        deadline
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
