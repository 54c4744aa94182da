//! Health of hosts: one state for each, which all workers read without a lock, whoever learnt it.

mod checks;
mod clusters;
mod flags;
mod interval;
mod membership;
mod staying;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::Notify;

use super::ClusterStats;
use super::outlier::{Change, Consecutive, Detector, Monitor, Rates};
use crate::config::{self, LoadAssignment};

pub(crate) use checks::CheckTarget;
pub(crate) use clusters::{Healths, endpoints_of};
pub(crate) use flags::{Health, HealthFlags};
pub(crate) use interval::run;
use membership::{Stats, changed_priorities, has_other_names};

/// What was learnt of one host, beside what discovery says.
#[derive(Debug, Default)]
pub(crate) struct HostHealth {
    flags: AtomicU64,
    /// How often it has become unhealthy.
    failures: AtomicU32,
    /// How often its checks have begun to succeed again.
    recoveries: AtomicU32,
    /// Its first health check has ended.
    is_checked: AtomicBool,
    /// It has become unhealthy. Who has connections that go then listens.
    failing: Notify,
    /// How its attempts ended.
    pub(super) monitor: Monitor,
}

/// The health of the hosts of a cluster. One a cluster and process.
#[derive(Debug)]
pub(crate) struct ClusterHealth {
    config: Arc<config::Cluster>,
    stats: Stats,
    /// Moves whenever the flags of a host do.
    version: AtomicU64,
    /// Whose hosts are to be checked has changed, or what checks say of them.
    pub(super) changed: Notify,
    /// The first checks of all hosts have ended.
    is_warm: AtomicBool,
    hosts: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    /// Of the snapshot that said last who they are.
    generation: u64,
    /// As discovery has it.
    said: Option<Arc<LoadAssignment>>,
    /// The same, with hosts that are gone and stay while their checks succeed.
    assignment: Option<Arc<LoadAssignment>>,
    /// Of those that something can be learnt of.
    states: HashMap<SocketAddr, Arc<HostHealth>>,
    detector: Option<Detector>,
    /// The counts of workers, which say whether there is traffic.
    workers: Vec<Weak<ClusterStats>>,
    /// Another configuration is in force, whose gauges count.
    is_superseded: bool,
}

// === impl HostHealth ===

impl HostHealth {
    pub(crate) fn flags(&self) -> HealthFlags {
        HealthFlags::from_bits(self.flags.load(Ordering::Acquire))
    }

    /// Tells who has connections that it is unhealthy from now on.
    pub(super) fn fail(&self) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        self.failing.notify_waiters();
    }

    /// How often it has become unhealthy.
    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Acquire)
    }

    /// How often its checks have begun to succeed again.
    pub(super) fn recoveries(&self) -> u32 {
        self.recoveries.load(Ordering::Acquire)
    }

    /// Ready when it becomes unhealthy.
    pub(crate) async fn fails(&self) {
        self.failing.notified().await;
    }

    pub(super) fn set(&self, flag: HealthFlags) {
        self.flags.fetch_or(flag.bits(), Ordering::AcqRel);
    }

    pub(super) fn clear(&self, flag: HealthFlags) {
        self.flags.fetch_and(!flag.bits(), Ordering::AcqRel);
    }
}

// === impl ClusterHealth ===

impl ClusterHealth {
    fn new(config: &Arc<config::Cluster>, stats: Stats, is_superseded: bool) -> Self {
        let settings = config.outlier_detection.as_ref();
        // One that is late has no say in who is ejected.
        let detector = settings
            .zip(stats.outlier.as_ref())
            .filter(|_| !is_superseded);
        let hosts = Hosts {
            detector: detector.map(|(settings, stats)| Detector::new(settings, stats)),
            is_superseded,
            ..Hosts::default()
        };
        Self {
            config: Arc::clone(config),
            stats,
            version: AtomicU64::new(0),
            changed: Notify::new(),
            is_warm: AtomicBool::new(false),
            hosts: Mutex::new(hosts),
        }
    }

    /// Whether anything is learnt of hosts beside what discovery says.
    pub(crate) fn is_learnt(&self) -> bool {
        self.config.outlier_detection.is_some() || self.config.health_check.is_some()
    }

    /// The hosts there are where they are checked: those of discovery, and those that stay for their
    /// health.
    pub(crate) fn checked_endpoints(&self) -> Option<Arc<LoadAssignment>> {
        self.config.health_check.as_ref()?;
        self.lock().assignment.clone()
    }

    /// The hosts there are where the snapshot does not say, because they are checked or because
    /// requests bring them.
    pub(crate) fn shown_endpoints(&self) -> Option<Arc<LoadAssignment>> {
        let is_brought = self.config.forward_proxy().is_some();
        match is_brought {
            true => self.lock().assignment.clone(),
            false => self.checked_endpoints(),
        }
    }

    /// Whether it is that of this configuration.
    pub(super) fn is_of(&self, config: &Arc<config::Cluster>) -> bool {
        Arc::ptr_eq(&self.config, config)
    }

    /// Moves whenever the flags of a host do.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is learnt of the host at `address`; none if nothing is.
    pub(crate) fn host(&self, address: SocketAddr) -> Option<Arc<HostHealth>> {
        match self.is_learnt() {
            true => self.lock().states.get(&address).cloned(),
            false => None,
        }
    }

    /// The success rates of the last interval.
    pub(crate) fn rates(&self) -> Option<Rates> {
        self.lock().detector.as_ref().map(Detector::rates)
    }

    /// The success rates of one host in the last interval, of errors of its own and of failures to
    /// reach it.
    pub(crate) fn success_rates(&self, address: SocketAddr) -> [Option<f64>; 2] {
        let hosts = self.lock();
        let detector = hosts.detector.as_ref();
        detector.map_or([None; 2], |detector| detector.success_rates(address))
    }

    /// Takes over who the hosts are, as the snapshot of this generation has it. What older ones say
    /// is not heard any more.
    pub(crate) fn assign(&self, generation: u64, endpoints: &Arc<LoadAssignment>) {
        let mut hosts = self.lock();
        let is_old = hosts.generation > generation;
        let said = hosts.said.as_ref();
        if said.is_some_and(|said| is_old || Arc::ptr_eq(said, endpoints)) {
            return;
        }
        hosts.generation = generation;
        hosts.said = Some(Arc::clone(endpoints));
        let all = staying::with_staying(&self.config, endpoints, &hosts);
        self.take_over(&mut hosts, &all);
    }

    /// From now on these are the hosts.
    fn take_over(&self, hosts: &mut Hosts, endpoints: &Arc<LoadAssignment>) {
        let known = hosts.assignment.replace(Arc::clone(endpoints));
        let changes = match self.config.forward_proxy() {
            Some(_) => u64::from(has_other_names(known.as_deref(), endpoints)),
            None => changed_priorities(known.as_deref(), endpoints),
        };
        if self.is_learnt() {
            let checked_alike = staying::checked_alike(known.as_deref(), endpoints);
            let mut before = std::mem::take(&mut hosts.states);
            let Hosts {
                detector, states, ..
            } = &mut *hosts;
            for endpoint in endpoints.endpoints() {
                let address = endpoint.address;
                let known = before.remove(&address);
                let known = known.filter(|_| checked_alike(endpoint));
                let state = || known.unwrap_or_else(|| self.unchecked(endpoint));
                states.entry(address).or_insert_with(state);
            }
            if let Some(detector) = detector {
                detector.set_hosts(states);
            }
        }
        if !hosts.is_superseded {
            self.stats.membership.membership_change.add(changes);
        }
        self.tell(hosts);
        self.changed.notify_one();
    }

    /// A host has failed so often in a row that it may be an outlier.
    pub(super) fn suspect(&self, address: SocketAddr, kind: Consecutive) {
        self.detect(|detector| detector.suspect(address, kind, Instant::now()));
    }

    /// Ejects hosts by their rates, and brings those back whose time is over.
    fn sweep(&self) {
        self.detect(|detector| detector.sweep(Instant::now()));
    }

    /// Has the detector do something, and lets everybody know what came of it.
    fn detect(&self, step: impl FnOnce(&mut Detector)) {
        let mut hosts = self.lock();
        let Some(detector) = &mut hosts.detector else {
            return;
        };
        step(detector);
        let changes = detector.take_changes();
        if changes.is_empty() {
            return;
        }
        self.tell(&hosts);
        drop(hosts);
        let cluster = &self.config.name;
        for Change { address, ejected } in changes {
            match ejected {
                Some(why) => {
                    tracing::info!(%cluster, %address, ?why, "an outlier is ejected");
                }
                None => tracing::info!(%cluster, %address, "an ejected host is back"),
            }
        }
    }

    /// Lets workers know, and whoever reads gauges.
    fn tell(&self, hosts: &Hosts) {
        self.version.fetch_add(1, Ordering::AcqRel);
        if hosts.is_superseded {
            return;
        }
        let endpoints = hosts.assignment.iter().flat_map(|all| all.endpoints());
        let flags = endpoints.map(|endpoint| {
            let learnt = hosts.states.get(&endpoint.address);
            HealthFlags::of(endpoint.health).and(learnt.map(|learnt| learnt.flags()))
        });
        self.stats.membership.count(flags);
        self.count_checked(hosts);
    }

    /// Another configuration is in force, which learns anew.
    fn supersede(&self) {
        let mut hosts = self.lock();
        hosts.is_superseded = true;
        hosts.detector = None;
    }

    /// It is in force now, and was not while its hosts were first checked.
    fn enforce(&self) {
        let mut hosts = self.lock();
        hosts.is_superseded = false;
        let settings = self.config.outlier_detection.as_ref();
        let detector = settings.zip(self.stats.outlier.as_ref());
        hosts.detector = detector.map(|(settings, stats)| Detector::new(settings, stats));
        let Hosts {
            detector, states, ..
        } = &mut *hosts;
        if let Some(detector) = detector {
            detector.set_hosts(states);
        }
        self.tell(&hosts);
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
