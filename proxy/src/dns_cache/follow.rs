//! The control thread's side: names are looked up, again and again while they are used.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

use super::{Addresses, Answer, DnsCache, DnsCaches, Key, to_gauge};
use crate::{
    boundary::Boundary,
    config::dns::{DnsRefresh, DnsResolver},
    dns::{LookupError, Refresh, Resolved, Resolver},
};

/// Lookups at a time: each has a socket. Silent servers of one name must not hold up all others,
/// so they are many.
const AT_A_TIME: usize = 256;

/// What looking names up needs.
#[derive(Clone)]
pub(crate) struct Surroundings {
    caches: Arc<DnsCaches>,
    /// As the bootstrap says.
    resolver: Arc<Resolver>,
    lookups: Arc<Semaphore>,
    boundary: Boundary,
    /// Called when a cache has found a name elsewhere than before, or has forgotten one, before anybody who
    /// waits for the name is told.
    changed: Changed,
}

/// What is called when a cache knows something else than before.
type Changed = Arc<dyn Fn(&Arc<DnsCache>) + Send + Sync>;

/// A name of a cache. The cache goes when nobody uses it, and this with it.
struct Followed {
    cache: Weak<DnsCache>,
    key: Key,
    resolver: Arc<Resolver>,
    refresh: Refresh,
}

/// What comes after a lookup.
enum Next {
    /// Another, after this time.
    Again(Duration),
    /// Another once somebody asks for it, or nothing if nobody does for so long.
    WhenAsked(Duration),
}

// === impl Surroundings ===

impl Surroundings {
    pub(crate) fn new(
        caches: Arc<DnsCaches>,
        resolver: &Arc<DnsResolver>,
        boundary: Boundary,
        changed: Changed,
    ) -> Self {
        Self {
            caches,
            resolver: Arc::new(Resolver::new(resolver)),
            lookups: Arc::new(Semaphore::new(AT_A_TIME)),
            boundary,
            changed,
        }
    }

    /// Looks up what is asked for, for as long as it runs.
    pub(crate) async fn run(self) {
        loop {
            for cache in self.caches.all() {
                let asked = std::mem::take(&mut cache.lock().asked);
                for key in asked {
                    self.follow(&cache, key);
                }
            }
            self.caches.asked.notified().await;
        }
    }

    fn follow(&self, cache: &Arc<DnsCache>, key: Key) {
        let config = &cache.config;
        let followed = Followed {
            cache: Arc::downgrade(cache),
            key,
            resolver: match &config.resolver {
                Some(config) => Arc::new(Resolver::new(config)),
                None => Arc::clone(&self.resolver),
            },
            refresh: Refresh::new(DnsRefresh {
                rate: config.refresh_rate,
                failure: config.failure,
                ..DnsRefresh::default()
            }),
        };
        let (cache, key) = (Weak::clone(&followed.cache), followed.key.clone());
        let (surroundings, boundary) = (self.clone(), self.boundary.clone());
        tokio::spawn(async move {
            let done = boundary.contain(followed.run(surroundings)).await;
            // What nobody looks up any more is asked for anew.
            if let (None, Some(cache)) = (done, cache.upgrade()) {
                cache.forget(&key);
            }
        });
    }
}

// === impl Followed ===

impl Followed {
    async fn run(mut self, surroundings: Surroundings) {
        loop {
            let Some(found) = self.lookup(&surroundings.lookups).await else {
                return;
            };
            let Some(cache) = self.cache.upgrade() else {
                return;
            };
            let next = self.take(&cache, found, &surroundings);
            let again = cache.again(&self.key);
            drop(cache);
            match (next, again) {
                (Next::Again(wait), _) => sleep(wait).await,
                (Next::WhenAsked(most), Some(again)) => {
                    if timeout(most, again.notified()).await.is_ok() {
                        continue;
                    }
                }
                (Next::WhenAsked(_), None) => return,
            }
            let Some(cache) = self.cache.upgrade() else {
                return;
            };
            if cache.forget_unused(&self.key) {
                (surroundings.changed)(&cache);
                return;
            }
        }
    }

    /// None: nobody uses the cache any more.
    async fn lookup(&self, lookups: &Semaphore) -> Option<Result<Resolved, LookupError>> {
        let permit = lookups.acquire().await.ok()?;
        let cache = self.cache.upgrade()?;
        cache.stats.dns_query_attempt.inc_shared();
        let (config, stats) = (Arc::clone(&cache.config), Arc::clone(&cache.stats));
        drop(cache);
        let asked = self.resolver.lookup(self.key.name(), config.family);
        let found = match config.query_timeout {
            None => asked.await,
            Some(limit) => timeout(limit, asked).await.unwrap_or_else(|_| {
                stats.dns_query_timeout.inc_shared();
                Err(LookupError::Timeout)
            }),
        };
        drop(permit);
        Some(found)
    }

    fn take(
        &mut self,
        cache: &Arc<DnsCache>,
        found: Result<Resolved, LookupError>,
        surroundings: &Surroundings,
    ) -> Next {
        let found = found.map(|resolved| cache.without_filtered(resolved));
        if cache.found(&self.key, &found) {
            (surroundings.changed)(cache);
        }
        let reason = match &found {
            Ok(resolved) if !resolved.addresses.is_empty() => None,
            Ok(_) => Some("no_address".into()),
            Err(error) => Some(code(error)),
        };
        cache.tell(&self.key, reason);
        match found {
            Ok(resolved) if resolved.addresses.is_empty() => {
                self.refresh.after_answer(&resolved);
                Next::Again(cache.config.refresh_rate)
            }
            Ok(resolved) => {
                self.refresh.after_answer(&resolved);
                Next::Again(resolved.ttl.max(cache.config.min_refresh_rate))
            }
            Err(error) => {
                tracing::debug!(
                    cache = cache.config.name, name = %self.key, %error,
                    "a name that a request brought cannot be looked up",
                );
                if cache.config.forgets_failures && !cache.is_known(&self.key) {
                    return Next::WhenAsked(cache.config.host_ttl);
                }
                Next::Again(self.refresh.after_failure())
            }
        }
    }
}

/// What logs say of a failure: bounded, since what a server says is not ours.
fn code(error: &LookupError) -> Arc<str> {
    match error {
        LookupError::Name(_) => "not_a_name",
        LookupError::Timeout => "resolve_timeout",
        LookupError::Unreachable => "no_server_reached",
        LookupError::Failed(_) => "server_failure",
    }
    .into()
}

// === impl DnsCache ===

impl DnsCache {
    /// Without addresses that count as none.
    fn without_filtered(&self, mut resolved: Resolved) -> Resolved {
        if let Some(filter) = &self.config.filter {
            resolved.addresses.retain(|address| {
                let counts_as_none = filter.matches(*address);
                if counts_as_none {
                    self.stats.dns_address_filter_out.inc_shared();
                }
                !counts_as_none
            });
        }
        resolved
    }

    /// What tells that somebody asks again for a name that failed.
    fn again(&self, key: &Key) -> Option<Arc<Notify>> {
        let state = self.lock();
        state.hosts.get(key).map(|entry| Arc::clone(&entry.again))
    }

    /// Whether a name was found at some time.
    fn is_known(&self, key: &Key) -> bool {
        let state = self.lock();
        state
            .hosts
            .get(key)
            .is_some_and(|entry| entry.addresses.is_some())
    }

    /// Takes in what was found of a name. Whether it is elsewhere than before.
    fn found(&self, key: &Key, found: &Result<Resolved, LookupError>) -> bool {
        let stats = &self.stats;
        let resolved = match found {
            Ok(resolved) => {
                stats.dns_query_success.inc_shared();
                resolved
            }
            Err(_) => {
                stats.dns_query_failure.inc_shared();
                return false;
            }
        };
        let with_port = |address| SocketAddr::new(address, key.port());
        let each = resolved.addresses.iter().copied().map(with_port);
        let addresses: Addresses = each.collect();
        let mut state = self.lock();
        let Some(entry) = state.hosts.get_mut(key) else {
            return false;
        };
        // As Envoy: a name that is gone does not take its last addresses with it.
        if addresses.is_empty() || entry.addresses.as_ref() == Some(&addresses) {
            return false;
        }
        entry.addresses = Some(addresses);
        stats.host_address_changed.inc_shared();
        true
    }

    /// Tells those who wait for a name; `reason` is why nothing was found just now.
    fn tell(&self, key: &Key, reason: Option<Arc<str>>) {
        let state = self.lock();
        if let Some(entry) = state.hosts.get(key) {
            let answer = match (&entry.addresses, reason) {
                (Some(addresses), _) => Answer::Addresses(Arc::clone(addresses)),
                (None, reason) => Answer::Failed(reason.unwrap_or_else(|| "no_address".into())),
            };
            entry.told.send_replace(Some(answer));
        }
    }

    /// Forgets a name that nobody has used for too long. Whether it did.
    fn forget_unused(&self, key: &Key) -> bool {
        let state = self.lock();
        let entry = state.hosts.get(key);
        let is_used = entry.is_some_and(|it| it.last_used.elapsed() <= self.config.host_ttl);
        drop(state);
        if !is_used {
            self.forget(key);
        }
        !is_used
    }

    fn forget(&self, key: &Key) {
        let mut state = self.lock();
        if state.hosts.remove(key).is_some() {
            self.stats.host_removed.inc_shared();
            self.stats.num_hosts.set(to_gauge(state.hosts.len()));
        }
    }
}
