//! One stream of one client, without the stream: what it subscribed to, what it was told, what it
//! has to be told next. No I/O and no clock but the time stamps of events.

mod delta;
mod subscription;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

pub(super) use delta::DeltaSession;
pub(super) use subscription::{Told, TypeState};

use super::{
    Kind,
    status::{ClientStatus, Reports},
};

/// A session that the hub can ask how it stands while a task drives it.
#[derive(Debug)]
pub(super) struct Shared {
    connected: Instant,
    protocol: &'static str,
    inner: Mutex<Progress>,
}

/// What both variants of the protocol keep of a client.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) node: String,
    pub(super) types: BTreeMap<Kind, TypeState>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(protocol: &'static str) -> Arc<Self> {
        Arc::new(Self {
            connected: Instant::now(),
            protocol,
            inner: Mutex::default(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reports for Shared {
    fn report(&self) -> ClientStatus {
        let progress = self.lock();
        let types = progress.types.iter();
        ClientStatus {
            node: progress.node.clone(),
            protocol: self.protocol,
            connected_s: self.connected.elapsed().as_secs(),
            types: types.map(|(kind, state)| state.report(*kind)).collect(),
        }
    }
}
