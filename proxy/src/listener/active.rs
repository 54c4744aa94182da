//! Listeners and filter chains as a worker serves them.

use std::{rc::Rc, sync::Arc};

use super::{
    ListenerStats,
    filter_chain::{ConnectionFacts, choose},
};
use crate::{
    config::{
        Listener,
        listener::{FilterChain, ListenerFilter, NetworkFilter},
    },
    exchange::ConnectionManager,
    factory_context::FactoryContext,
    filter::network::tcp_proxy::TcpProxy,
    info::Drain,
    stats::Scope,
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
    /// Whether it drains.
    pub(crate) drain: Drain,
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
        context: &Rc<FactoryContext>,
        previous: Option<&Self>,
    ) -> Self {
        let known: Vec<&Rc<ActiveChain>> = previous.map(Self::all_chains).unwrap_or_default();
        let activate = |chain: &Arc<FilterChain>| {
            let same = |known: &&&Rc<ActiveChain>| known.config.fingerprint == chain.fingerprint;
            let kept = known.iter().find(same).map(|kept| Rc::clone(kept));
            kept.or_else(|| ActiveChain::new(chain, context).map(Rc::new))
        };
        let stats = previous.filter(|p| p.config.stat_prefix == config.stat_prefix);
        let listener = Self {
            config: Arc::clone(config),
            stats: match stats {
                Some(previous) => Arc::clone(&previous.stats),
                None => context
                    .registry
                    .register(Scope::listener(&config.stat_prefix)),
            },
            chains: config.filter_chains.iter().filter_map(activate).collect(),
            default_chain: config.default_filter_chain.as_ref().and_then(activate),
        };
        let now = listener.all_chains();
        let stays = |known: &&&Rc<ActiveChain>| now.iter().any(|chain| Rc::ptr_eq(chain, known));
        known
            .iter()
            .filter(|known| !stays(known))
            .for_each(|chain| chain.drain.begin());
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
        self.all_chains()
            .iter()
            .for_each(|chain| chain.drain.begin());
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
    fn new(config: &Arc<FilterChain>, context: &Rc<FactoryContext>) -> Option<Self> {
        let filter = match config.filters.last()? {
            NetworkFilter::TcpProxy(config) => {
                ActiveFilter::Tcp(Rc::new(TcpProxy::new(config, context)))
            }
            NetworkFilter::HttpConnectionManager(config) => {
                ActiveFilter::Http(Rc::new(ConnectionManager::new(config, context)))
            }
        };
        let config = Arc::clone(config);
        Some(Self {
            config,
            filter,
            drain: Drain::of_chain(),
        })
    }
}
