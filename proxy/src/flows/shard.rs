//! The flows of one worker, as others read them.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use super::key::Kept;

/// The flows of one worker. The lock is taken when a flow comes or goes, for what finds no room, and by
/// readers; counting a flow needs none.
#[derive(Debug, Default)]
pub(super) struct Shard(Mutex<Table>);

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) flows: Vec<(Arc<Kept>, Arc<Minutes>)>,
    /// What found no room: let through, and refused.
    pub(super) not_kept: [Minutes; 2],
}

/// Counts of the last minutes, a ring that one worker writes.
#[derive(Debug, Default)]
pub(super) struct Minutes(Box<[AtomicU32]>);

// === impl Shard ===

impl Shard {
    /// Lets `look` look at the flows.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Minutes ===

impl Minutes {
    pub(super) fn new(minutes: usize) -> Self {
        Self((0..minutes).map(|_| AtomicU32::new(0)).collect())
    }

    /// One more in that minute of the ring.
    pub(super) fn count(&self, minute: usize) {
        if let Some(count) = self.0.get(minute) {
            let more = count.load(Ordering::Relaxed).saturating_add(1);
            count.store(more, Ordering::Relaxed);
        }
    }

    /// That minute begins anew.
    pub(super) fn begin(&self, minute: usize) {
        if let Some(count) = self.0.get(minute) {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn sum(&self) -> u64 {
        let counts = self.0.iter();
        counts
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum()
    }

    /// Whether it has room for any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
