//! Names that requests bring: looked up when somebody first asks, then again and again while they are
//! used. Workers ask, the control thread looks up ([`follow`]).
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_proxy>

mod caches;
mod follow;
mod key;
mod stats;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::stats::{BreakerStats, DnsCacheStats};
use crate::{
    config::dns_cache::DnsCacheConfig,
    stats::{Registry, Scope, Within},
};

pub(crate) use caches::DnsCaches;
pub(crate) use follow::Surroundings;
pub(crate) use key::Key;

/// The names of one cache. All workers share it.
#[derive(Debug)]
pub(crate) struct DnsCache {
    pub(crate) config: Arc<DnsCacheConfig>,
    stats: Arc<DnsCacheStats>,
    breaker: Arc<Within<BreakerStats>>,
    state: Mutex<State>,
    /// There is a name to look up for the first time.
    asked: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    hosts: HashMap<Key, Entry>,
    /// To be looked up for the first time. They are among the hosts, which are bounded.
    asked: Vec<Key>,
    /// Requests that wait for a name.
    pending: u32,
}

/// What is known of a name.
#[derive(Debug)]
struct Entry {
    /// As it was found last; none if it never was.
    addresses: Option<Addresses>,
    /// What those who wait are told; none before the first answer.
    told: watch::Sender<Option<Answer>>,
    /// It failed, and somebody asks for it again.
    again: Arc<Notify>,
    last_used: Instant,
}

/// The addresses of a name, with its port.
pub(crate) type Addresses = Arc<[SocketAddr]>;

/// What is known of a name once it was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Where it is.
    Addresses(Addresses),
    /// Why nobody knows where it is.
    Failed(Arc<str>),
}

/// What asking for a name leads to.
#[derive(Debug)]
pub(crate) enum Load {
    /// It is known, or known not to be found.
    Known(Answer),
    /// It is looked up.
    Loading(Loading),
    /// As many names are known as may be.
    HostOverflow,
    /// As many requests wait as may.
    PendingOverflow,
}

/// Who asks for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A filter: as in Envoy, it asks nothing while as many requests wait as may.
    Filter,
    /// A cluster, which asks where the name is not known.
    Cluster,
}

/// A name that is looked up for the first time. It counts among those that wait while this lives.
#[derive(Debug)]
pub(crate) struct Loading {
    told: watch::Receiver<Option<Answer>>,
    cache: Arc<DnsCache>,
}

// === impl DnsCache ===

impl DnsCache {
    fn new(config: &Arc<DnsCacheConfig>, registry: &Registry, asked: &Arc<Notify>) -> Self {
        let scope = || Scope::dns_cache(&config.name);
        let breaker = BreakerStats::default();
        let cache = Self {
            config: Arc::clone(config),
            stats: registry.register(scope()),
            breaker: registry.register_within(scope(), "circuit_breakers.", breaker),
            state: Mutex::default(),
            asked: Arc::clone(asked),
        };
        let mut state = cache.lock();
        cache.show_pending(&state);
        for (name, port) in &config.preresolve {
            cache.add(&mut state, Key::new(name, *port));
        }
        drop(state);
        cache
    }

    /// What is known of a name, which is looked up if it is new.
    pub(crate) fn load(self: &Arc<Self>, key: &Key, asker: Asker) -> Load {
        let mut state = self.lock();
        let is_full = state.pending >= self.config.max_pending_requests;
        if asker == Asker::Filter && is_full {
            self.stats.dns_rq_pending_overflow.inc_shared();
            return Load::PendingOverflow;
        }
        if !key.is_askable() {
            return Load::Known(Answer::Failed("not_a_name".into()));
        }
        let known = state.hosts.get(key).map(|entry| entry.told.subscribe());
        let answer = known.as_ref().and_then(|told| told.borrow().clone());
        let is_asked_again =
            self.config.forgets_failures && matches!(answer, Some(Answer::Failed(_)));
        if let Some(answer) = answer.filter(|_| !is_asked_again) {
            return Load::Known(answer);
        }
        if is_full {
            self.stats.dns_rq_pending_overflow.inc_shared();
            return Load::PendingOverflow;
        }
        if is_asked_again && let Some(entry) = state.hosts.get(key) {
            entry.told.send_replace(None);
            entry.again.notify_one();
            // As Envoy, which makes another entry for it.
            self.stats.host_removed.inc_shared();
            self.stats.host_added.inc_shared();
        }
        let told = match known {
            Some(told) => told,
            None if state.hosts.len() >= self.most_hosts() => {
                self.stats.host_overflow.inc_shared();
                return Load::HostOverflow;
            }
            None => self.add(&mut state, key.clone()),
        };
        state.pending += 1;
        self.show_pending(&state);
        drop(state);
        Load::Loading(Loading {
            told,
            cache: Arc::clone(self),
        })
    }

    /// The addresses of a name that is to be used now.
    pub(crate) fn used(&self, key: &Key) -> Option<Addresses> {
        let mut state = self.lock();
        let entry = state.hosts.get_mut(key)?;
        entry.last_used = Instant::now();
        entry.addresses.clone()
    }

    /// Whether a name is known.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.lock().hosts.contains_key(key)
    }

    /// All names that were found.
    pub(crate) fn hosts(&self) -> Vec<(Key, Addresses)> {
        let state = self.lock();
        let found = state
            .hosts
            .iter()
            .filter_map(|(key, entry)| Some((key.clone(), entry.addresses.clone()?)));
        let mut found: Vec<_> = found.collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    pub(crate) fn most_hosts(&self) -> usize {
        usize::try_from(self.config.max_hosts).unwrap_or(usize::MAX)
    }

    fn add(&self, state: &mut State, key: Key) -> watch::Receiver<Option<Answer>> {
        let (told, hears) = watch::channel(None);
        let entry = Entry {
            addresses: None,
            told,
            again: Arc::default(),
            last_used: Instant::now(),
        };
        if state.hosts.insert(key.clone(), entry).is_none() {
            self.stats.host_added.inc_shared();
            self.show_hosts(state);
            state.asked.push(key);
            self.asked.notify_one();
        }
        hears
    }

    fn show_hosts(&self, state: &State) {
        self.stats.num_hosts.set(to_gauge(state.hosts.len()));
    }

    fn show_pending(&self, state: &State) {
        let left = self
            .config
            .max_pending_requests
            .saturating_sub(state.pending);
        self.breaker.rq_pending_open.set(i64::from(left == 0));
        self.breaker.rq_pending_remaining.set(left.into());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

// === impl Loading ===

impl Loading {
    /// The answer, once it is there.
    pub(crate) async fn answer(mut self) -> Answer {
        let told = self.told.wait_for(Option::is_some).await;
        let answer = told.ok().and_then(|told| told.clone());
        answer.unwrap_or_else(|| Answer::Failed("forgotten".into()))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        state.pending = state.pending.saturating_sub(1);
        self.cache.show_pending(&state);
    }
}
