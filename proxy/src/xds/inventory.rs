//! What the control plane sent, for `/config_dump`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use weir_api::xds::google::protobuf::Any;

use super::{Kind, state::State};

/// The protocol's state, shared with the admin interface. Both run on the control thread, so the
/// lock is never waited for.
#[derive(Debug)]
pub(crate) struct Inventory(Mutex<State>);

/// A resource as `/config_dump` shows it.
#[derive(Debug, Clone)]
pub(crate) struct InventoryEntry {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) updated: SystemTime,
    /// The last message that was accepted.
    pub(crate) message: Option<Any>,
    /// It waits for what it refers to.
    pub(crate) warming: bool,
    /// Why the message after it was refused.
    pub(crate) rejected: Option<String>,
}

// === impl Inventory ===

impl Inventory {
    pub(super) fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last message of a resource that was accepted.
    pub(crate) fn message(&self, kind: Kind, name: &str) -> Option<Arc<Any>> {
        self.state().message(kind, name)
    }

    /// Everything the control plane sent, by kind and name.
    pub(crate) fn entries(&self) -> Vec<InventoryEntry> {
        self.state().entries()
    }
}
