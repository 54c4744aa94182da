//! The series of one worker, as others read them.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Kind, Protocol,
    key::Kept,
    series::{Event, Series},
};

/// The series of one worker. The lock is taken when a series comes or goes, for what finds no room, and
/// by readers; counting in a series needs none.
#[derive(Debug, Default)]
pub(super) struct Shard(Mutex<Table>);

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) series: Vec<(Arc<Kept>, Arc<Series>)>,
    /// What found no room: requests, and connections.
    pub(super) overflow: [Option<Series>; 2],
    /// Series that were forgotten.
    pub(super) evicted: u64,
    /// Events that found no room.
    pub(super) overflowed: u64,
}

// === impl Shard ===

impl Shard {
    /// Lets `look` look at the series.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what found no room.
    pub(super) fn overflow(&self, kind: Kind, event: Event) {
        self.with(|table| {
            table.overflowed += 1;
            let place = &mut table.overflow[usize::from(kind.protocol == Protocol::Tcp)];
            place
                .get_or_insert_with(|| Series::new(kind))
                .count(event, 0);
        });
    }
}
