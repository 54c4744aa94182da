//! Namespaces in which a pod was reviewed. A review may come from anybody, so all that it does is have
//! somebody look at what pods there are.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::namespaces::Namespaces;

/// Namespaces to look at, in the order in which they were named first.
#[derive(Debug, Default)]
pub(crate) struct Reviewed {
    /// No more than there are in the cluster.
    waiting: Mutex<VecDeque<String>>,
    news: Notify,
}

// === impl Reviewed ===

impl Reviewed {
    /// A pod of this namespace was reviewed. Never waits; nothing is kept of one that is not known.
    pub(crate) fn tell(&self, namespace: &str, known: &Namespaces) {
        if known.get(namespace).is_none() {
            return;
        }
        let mut waiting = self.lock();
        if !waiting.iter().any(|name| name == namespace) {
            waiting.push_back(namespace.to_owned());
            self.news.notify_one();
        }
    }

    /// The next one, once there is one.
    pub(crate) async fn next(&self) -> String {
        loop {
            let first = self.lock().pop_front();
            if let Some(first) = first {
                return first;
            }
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
