//! Listeners and filter chains as a worker serves them.

use std::{cell::Cell, rc::Rc, sync::Arc};

use tokio::sync::Notify;

use super::{
    ListenerStats,
    filter_chain::{ConnectionFacts, choose},
};
use crate::{
    config::{
        Listener,
        listener::{FilterChain, ListenerFilter, NetworkFilter},
    },
    filter::network::{http_connection_manager::ConnectionManager, tcp_proxy::TcpProxy},
    stats::{Registry, Scope},
};

/// A listener in one worker.
pub(crate) struct ActiveListener {
    pub(crate) config: Arc<Listener>,
    pub(crate) stats: Arc<ListenerStats>,
    chains: Vec<Rc<ActiveChain>>,
    default_chain: Option<Rc<ActiveChain>>,
}

/// A filter chain in one worker.
pub(crate) struct ActiveChain {
    pub(crate) config: Arc<FilterChain>,
    pub(crate) filter: ActiveFilter,
    draining: Cell<bool>,
    drain: Notify,
}

/// The terminal network filter of a chain.
pub(crate) enum ActiveFilter {
    Tcp(Rc<TcpProxy>),
    Http(Rc<ConnectionManager>),
}

// === impl ActiveListener ===

impl ActiveListener {
    /// Chains whose message is the same as in `previous` are taken over, the others drained.
    pub(crate) fn new(
        config: &Arc<Listener>,
        registry: &Registry,
        previous: Option<&Self>,
    ) -> Self {
        let known: Vec<&Rc<ActiveChain>> = previous.map(Self::all_chains).unwrap_or_default();
        let activate = |chain: &Arc<FilterChain>| {
            let same = |known: &&&Rc<ActiveChain>| known.config.fingerprint == chain.fingerprint;
            let kept = known.iter().find(same).map(|kept| Rc::clone(kept));
            kept.or_else(|| ActiveChain::new(chain, registry).map(Rc::new))
        };
        let stats = previous.filter(|p| p.config.stat_prefix == config.stat_prefix);
        let listener = Self {
            config: Arc::clone(config),
            stats: match stats {
                Some(previous) => Arc::clone(&previous.stats),
                None => registry.register(Scope::listener(&config.stat_prefix)),
            },
            chains: config.filter_chains.iter().filter_map(activate).collect(),
            default_chain: config.default_filter_chain.as_ref().and_then(activate),
        };
        let now = listener.all_chains();
        let stays = |known: &&&Rc<ActiveChain>| now.iter().any(|chain| Rc::ptr_eq(chain, known));
        known
            .iter()
            .filter(|known| !stays(known))
            .for_each(|chain| chain.drain());
        listener
    }

    /// The chain that serves a connection.
    pub(crate) fn choose(&self, facts: &ConnectionFacts<'_>) -> Option<&Rc<ActiveChain>> {
        let index = choose(
            self.chains.iter().map(|chain| &chain.config.criteria),
            facts,
        );
        index
            .map(|index| &self.chains[index])
            .or(self.default_chain.as_ref())
    }

    /// Tells clients to go elsewhere.
    pub(crate) fn drain(&self) {
        self.all_chains().iter().for_each(|chain| chain.drain());
    }

    /// Whether a connection's end is to be logged.
    pub(crate) fn writes_logs(&self) -> bool {
        !self.config.access_logs.is_empty()
    }

    pub(crate) fn has(&self, filter: &ListenerFilter) -> bool {
        self.config.listener_filters.contains(filter)
    }

    fn all_chains(&self) -> Vec<&Rc<ActiveChain>> {
        self.chains.iter().chain(&self.default_chain).collect()
    }
}

// === impl ActiveChain ===

impl ActiveChain {
    /// None if the chain has no filters: what it matches is closed.
    fn new(config: &Arc<FilterChain>, registry: &Registry) -> Option<Self> {
        let filter = match config.filters.last()? {
            NetworkFilter::TcpProxy(config) => {
                ActiveFilter::Tcp(Rc::new(TcpProxy::new(config, registry)))
            }
            NetworkFilter::HttpConnectionManager(config) => {
                ActiveFilter::Http(Rc::new(ConnectionManager::new(config, registry)))
            }
        };
        let config = Arc::clone(config);
        Some(Self {
            config,
            filter,
            draining: Cell::new(false),
            drain: Notify::new(),
        })
    }

    fn drain(&self) {
        self.draining.set(true);
        self.drain.notify_waiters();
    }

    /// Whether clients are to go elsewhere after their current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Ends when the chain begins to drain.
    pub(crate) async fn drained(&self) {
        let drain = self.drain.notified();
        if !self.is_draining() {
            drain.await;
        }
    }
}
