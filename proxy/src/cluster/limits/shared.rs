//! What all workers have in flight together.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{Resource, recent::Recent};
use crate::config::circuit_breakers::Thresholds;

/// How much of a threshold idles at most, lent to workers that do not use it: a 16th, as each holds
/// twice what it borrows.
const LENT_PART: u64 = 32;

/// The bounds of one priority of a cluster, and what workers have borrowed of them.
#[derive(Debug)]
pub(crate) struct SharedLimits {
    thresholds: Thresholds,
    /// By resource: in use, or lent.
    taken: [AtomicU64; Resource::COUNT],
    workers: Mutex<Vec<Weak<InUse>>>,
    /// Connections by host, where these are bounded.
    hosts: Mutex<HashMap<SocketAddr, Weak<AtomicU64>>>,
}

/// What one worker has in flight, by resource. Written by that worker alone.
#[derive(Debug, Default)]
pub(super) struct InUse {
    counts: [AtomicU64; Resource::COUNT],
    /// Where a retry budget goes by requests that began lately.
    pub(super) recent: Option<Box<Recent>>,
}

// === impl SharedLimits ===

impl SharedLimits {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            taken: Default::default(),
            workers: Mutex::default(),
            hosts: Mutex::default(),
        }
    }

    pub(super) fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Makes the count of another worker.
    pub(super) fn join(&self) -> Arc<InUse> {
        let budget = self.thresholds.retry_budget;
        let interval = budget.and_then(|budget| budget.interval);
        let in_use = Arc::new(InUse {
            counts: Default::default(),
            recent: interval.map(|interval| Box::new(Recent::new(interval))),
        });
        let mut workers = lock(&self.workers);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(&in_use));
        in_use
    }

    /// What all workers have in flight.
    pub(super) fn in_use(&self, resource: Resource) -> u64 {
        let workers = lock(&self.workers);
        let workers = workers.iter().filter_map(Weak::upgrade);
        workers.map(|worker| worker.get(resource)).sum()
    }

    /// Requests that began within the interval of the retry budget.
    fn began_lately(&self) -> u64 {
        let (workers, now) = (lock(&self.workers), Instant::now());
        let workers = workers.iter().filter_map(Weak::upgrade);
        let recent = workers.map(|worker| worker.recent.as_ref().map_or(0, |it| it.count(now)));
        recent.sum()
    }

    /// How much may be in flight. A retry budget goes by the requests that there are.
    pub(super) fn max(&self, resource: Resource) -> u64 {
        match self.thresholds.retry_budget {
            Some(budget) if resource == Resource::Retries => {
                let in_flight =
                    || self.in_use(Resource::Requests) + self.in_use(Resource::PendingRequests);
                let requests = match budget.interval {
                    Some(_) => self.began_lately(),
                    None => in_flight(),
                };
                let share = requests as f64 * budget.budget_percent / 100.0;
                (share as u64).max(budget.min_retry_concurrency.into())
            }
            _ => self.threshold(resource),
        }
    }

    /// What is configured, but for the retry budget.
    pub(super) fn threshold(&self, resource: Resource) -> u64 {
        let thresholds = &self.thresholds;
        let threshold = match resource {
            Resource::Connections => thresholds.max_connections,
            Resource::PendingRequests => thresholds.max_pending_requests,
            Resource::Requests => thresholds.max_requests,
            Resource::Retries => thresholds.max_retries,
        };
        threshold.into()
    }

    /// What a worker borrows at a time beyond what it needs. Nothing of what is scarce.
    pub(super) fn portion(&self, resource: Resource) -> u32 {
        if resource == Resource::Retries {
            return 0;
        }
        let workers = lock(&self.workers).len().max(1) as u64;
        let portion = self.max(resource) / (LENT_PART * workers);
        u32::try_from(portion).unwrap_or(u32::MAX / 4)
    }

    /// Lends what is wanted, or as much of it as there is.
    pub(super) fn lend(&self, resource: Resource, wanted: u32) -> u32 {
        let max = self.max(resource);
        let mut lent = 0;
        let lend = |taken: u64| {
            lent = max.saturating_sub(taken).min(wanted.into());
            (lent > 0).then_some(taken + lent)
        };
        let taken = &self.taken[resource as usize];
        match taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, lend) {
            // It is no more than what was wanted.
            Ok(_) => u32::try_from(lent).unwrap_or(wanted),
            Err(_) => 0,
        }
    }

    /// Takes one more, whether there is one or not.
    pub(super) fn exceed(&self, resource: Resource) {
        self.taken[resource as usize].fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn give_back(&self, resource: Resource, returned: u32) {
        self.taken[resource as usize].fetch_sub(returned.into(), Ordering::AcqRel);
    }

    /// Whether no worker can borrow any more.
    pub(super) fn is_exhausted(&self, resource: Resource) -> bool {
        self.taken[resource as usize].load(Ordering::Acquire) >= self.max(resource)
    }

    /// One more connection to a host, where there may be, or `needed` in any case.
    pub(super) fn connect_to(
        &self,
        host: SocketAddr,
        max: u32,
        needed: bool,
    ) -> Option<Arc<AtomicU64>> {
        let mut hosts = lock(&self.hosts);
        let known = hosts.get(&host).and_then(Weak::upgrade);
        let count = known.unwrap_or_else(|| {
            hosts.retain(|_, count| count.strong_count() > 0);
            let count = Arc::default();
            hosts.insert(host, Arc::downgrade(&count));
            count
        });
        // Nobody else adds to it: the map is locked.
        if !needed && count.load(Ordering::Acquire) >= max.into() {
            return None;
        }
        count.fetch_add(1, Ordering::AcqRel);
        Some(count)
    }
}

// === impl InUse ===

impl InUse {
    pub(super) fn get(&self, resource: Resource) -> u64 {
        self.counts[resource as usize].load(Ordering::Relaxed)
    }

    /// Adds to the count, which may be less than nothing.
    pub(super) fn add(&self, resource: Resource, change: i64) {
        let count = &self.counts[resource as usize];
        let changed = count.load(Ordering::Relaxed).wrapping_add_signed(change);
        count.store(changed, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
