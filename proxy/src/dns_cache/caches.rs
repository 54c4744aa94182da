//! The caches of the process, by their names.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::DnsCache;
use crate::{config::dns_cache::DnsCacheConfig, stats::Registry};

/// The caches of the process. One goes with the last that uses it.
#[derive(Debug, Default)]
pub(crate) struct DnsCaches {
    caches: Mutex<HashMap<Box<str>, Vec<Weak<DnsCache>>>>,
    pub(super) asked: Arc<Notify>,
}

// === impl DnsCaches ===

impl DnsCaches {
    /// By which [`crate::singletons::Singletons`] has them.
    pub(crate) const NAME: &'static str = "dns caches";

    /// The cache of these settings. Those who say different things of one name, which a bootstrap may
    /// not, share nothing but its stats.
    pub(crate) fn get(&self, config: &Arc<DnsCacheConfig>, registry: &Registry) -> Arc<DnsCache> {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|_, all| {
            all.retain(|known| known.strong_count() > 0);
            !all.is_empty()
        });
        let all = caches.entry(config.name.as_str().into()).or_default();
        let mut known = all.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| known.config == *config) {
            return known;
        }
        let cache = Arc::new(DnsCache::new(config, registry, &self.asked));
        all.push(Arc::downgrade(&cache));
        cache
    }

    /// Those that somebody uses.
    pub(super) fn all(&self) -> Vec<Arc<DnsCache>> {
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let all = caches.values().flatten();
        all.filter_map(Weak::upgrade).collect()
    }
}
