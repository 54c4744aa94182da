//! What a worker holds.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use super::{Phase, Shared, listeners::Listeners};
use crate::{connection_log::ConnectionLog, snapshot::Snapshot};

/// The state of one worker. Lives on its thread alone.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Shared,
    pub(crate) log: Arc<ConnectionLog>,
    snapshot: RefCell<Arc<Snapshot>>,
    listeners: Listeners,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(index: usize, shared: Shared, log: Arc<ConnectionLog>) -> Self {
        let snapshot = RefCell::new(Arc::clone(&shared.snapshot.borrow()));
        Self {
            index,
            shared,
            log,
            snapshot,
            listeners: Listeners::default(),
        }
    }

    /// Follows the snapshot until the process stops.
    pub(super) async fn run(self: Rc<Self>) {
        let (mut snapshots, mut phase) = (self.shared.snapshot.clone(), self.shared.phase.clone());
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.listeners.apply(&self, &snapshot);
            *self.snapshot.borrow_mut() = snapshot;
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                _ = phase.wait_for(|phase| *phase == Phase::Stopped) => return,
            }
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }
}
