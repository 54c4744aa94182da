//! What one worker has borrowed of the bounds, and what holds it.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use tokio::sync::Notify;

use super::{
    Resource,
    shared::{InUse, SharedLimits},
};
use crate::cluster::ClusterStats;

/// The bounds of one priority, as one worker keeps to them.
pub(super) struct WorkerLimits {
    pub(super) shared: Arc<SharedLimits>,
    stats: Arc<ClusterStats>,
    in_use: Arc<InUse>,
    /// A connection is gone, so that another may be made.
    freed: Rc<Notify>,
    /// Borrowed and not in use, by resource.
    spare: [Cell<u32>; Resource::COUNT],
    /// How much of that is kept.
    keep: [Cell<u32>; Resource::COUNT],
}

/// Leave to have one of a resource in flight, until it is dropped. Not larger than a pointer, for all
/// that is in flight holds one.
pub(crate) struct Leave<const RESOURCE: usize>(Rc<WorkerLimits>);

// === impl WorkerLimits ===

impl WorkerLimits {
    pub(super) fn new(
        shared: &Arc<SharedLimits>,
        stats: &Arc<ClusterStats>,
        freed: &Rc<Notify>,
    ) -> Self {
        Self {
            in_use: shared.join(),
            shared: Arc::clone(shared),
            stats: Arc::clone(stats),
            freed: Rc::clone(freed),
            spare: Default::default(),
            keep: Default::default(),
        }
    }

    /// Leave for one more, if there is one to be had.
    pub(super) fn leave<const RESOURCE: usize>(self: &Rc<Self>) -> Option<Leave<RESOURCE>> {
        let resource = Resource::ALL[RESOURCE];
        let taken = self.take(resource);
        if resource == Resource::Requests
            && taken
            && let Some(recent) = &self.in_use.recent
        {
            recent.begin(Instant::now());
        }
        taken.then(|| Leave(Rc::clone(self)))
    }

    /// Leave for one more, beyond the bound if need be.
    pub(super) fn leave_in_any_case<const RESOURCE: usize>(self: &Rc<Self>) -> Leave<RESOURCE> {
        let resource = Resource::ALL[RESOURCE];
        if !self.take(resource) {
            self.shared.exceed(resource);
            self.in_use.add(resource, 1);
        }
        Leave(Rc::clone(self))
    }

    /// What this worker has in flight.
    pub(super) fn in_use(&self, resource: Resource) -> u32 {
        u32::try_from(self.in_use.get(resource)).unwrap_or(u32::MAX)
    }

    pub(super) fn take(&self, resource: Resource) -> bool {
        let spare = &self.spare[resource as usize];
        if spare.get() == 0 {
            let portion = self.shared.portion(resource);
            let lent = self.shared.lend(resource, portion.saturating_add(1));
            if lent == 0 {
                return false;
            }
            self.keep[resource as usize].set(2 * portion);
            spare.set(lent);
        }
        spare.set(spare.get() - 1);
        self.in_use.add(resource, 1);
        true
    }

    pub(super) fn give_back(&self, resource: Resource) {
        self.in_use.add(resource, -1);
        let spare = &self.spare[resource as usize];
        let keep = self.keep[resource as usize].get();
        spare.set(spare.get() + 1);
        let surplus = if self.shared.is_exhausted(resource) {
            spare.get()
        } else if spare.get() > keep {
            spare.get() - keep / 2
        } else {
            return;
        };
        spare.set(spare.get() - surplus);
        self.shared.give_back(resource, surplus);
    }
}

impl Drop for WorkerLimits {
    fn drop(&mut self) {
        for resource in Resource::ALL {
            let spare = self.spare[resource as usize].take();
            if spare > 0 {
                self.shared.give_back(resource, spare);
            }
        }
    }
}

// === impl Leave ===

impl<const RESOURCE: usize> Leave<RESOURCE> {
    /// Of the cluster.
    pub(in crate::cluster) fn stats(&self) -> &ClusterStats {
        &self.0.stats
    }
}

impl<const RESOURCE: usize> Drop for Leave<RESOURCE> {
    fn drop(&mut self) {
        let resource = Resource::ALL[RESOURCE];
        self.0.give_back(resource);
        if resource == Resource::Connections {
            self.0.freed.notify_one();
        }
    }
}
