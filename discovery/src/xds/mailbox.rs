//! What a client should look at again. It holds names and never messages, so a client that does not
//! read costs as much as its subscriptions and holds nobody back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::Kind;

/// Names of which something changed.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    news: Mutex<News>,
    arrived: Notify,
}

/// What a mailbox held.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) names: BTreeMap<Kind, BTreeSet<Arc<str>>>,
    /// Load assignments that lost an endpoint.
    pub(super) urgent: BTreeSet<Arc<str>>,
    /// When the first event behind these news was seen.
    pub(super) since: Option<Instant>,
}

// === impl Mailbox ===

impl Mailbox {
    pub(super) fn put(&self, kind: Kind, name: &Arc<str>, urgent: bool, since: Instant) {
        let mut news = self.lock();
        news.since.get_or_insert(since);
        news.names.entry(kind).or_default().insert(name.clone());
        if urgent {
            news.urgent.insert(name.clone());
        }
        drop(news);
        self.arrived.notify_one();
    }

    /// Lets the client look at what it still waits for.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.lock())
    }

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
