//! Health of hosts: one state for each, which all workers read without a lock, whoever learnt it.

mod clusters;
mod flags;
mod interval;
mod membership;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::outlier::{Change, Consecutive, Detector, Monitor, Rates};
use crate::config::{self, LoadAssignment};

pub(crate) use clusters::{Healths, endpoints_of};
pub(crate) use flags::{Health, HealthFlags};
pub(crate) use interval::run;
use membership::{Stats, changed_priorities};

/// What was learnt of one host, beside what discovery says.
#[derive(Debug, Default)]
pub(crate) struct HostHealth {
    flags: AtomicU64,
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
    hosts: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    /// Of the snapshot that said last who they are.
    generation: u64,
    assignment: Option<Arc<LoadAssignment>>,
    /// Of those that something can be learnt of.
    states: HashMap<SocketAddr, Arc<HostHealth>>,
    detector: Option<Detector>,
    /// Another configuration is in force, whose gauges count.
    is_superseded: bool,
}

// === impl HostHealth ===

impl HostHealth {
    pub(crate) fn flags(&self) -> HealthFlags {
        HealthFlags::from_bits(self.flags.load(Ordering::Acquire))
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
            hosts: Mutex::new(hosts),
        }
    }

    /// Whether anything is learnt of hosts beside what discovery says.
    pub(crate) fn is_learnt(&self) -> bool {
        self.config.outlier_detection.is_some()
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
        let known = hosts.assignment.as_ref();
        let is_old = hosts.generation > generation;
        if known.is_some_and(|known| is_old || Arc::ptr_eq(known, endpoints)) {
            return;
        }
        let changes = changed_priorities(known.map(|known| &**known), endpoints);
        hosts.generation = generation;
        hosts.assignment = Some(Arc::clone(endpoints));
        if self.is_learnt() {
            let mut before = std::mem::take(&mut hosts.states);
            let Hosts {
                detector, states, ..
            } = &mut *hosts;
            for address in endpoints.endpoints().map(|endpoint| endpoint.address) {
                let state = || before.remove(&address).unwrap_or_default();
                states.entry(address).or_insert_with(state);
            }
            if let Some(detector) = detector {
                detector.set_hosts(states);
            }
        }
        if !hosts.is_superseded {
            self.stats.membership.membership_change.add(changes);
        }
        self.tell(&hosts);
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
    }

    /// Another configuration is in force, which learns anew.
    fn supersede(&self) {
        let mut hosts = self.lock();
        hosts.is_superseded = true;
        hosts.detector = None;
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
