//! The listeners a worker accepts on.

use std::rc::Rc;

use super::Worker;
use crate::snapshot::Snapshot;

/// The listeners a worker accepts on.
#[derive(Debug, Default)]
pub(super) struct Listeners {}

// === impl Listeners ===

impl Listeners {
    /// Starts what is new in `snapshot`, and stops accepting on what is gone.
    pub(super) fn apply(&self, _worker: &Rc<Worker>, _snapshot: &Snapshot) {}
}
