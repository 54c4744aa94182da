//! Listeners and filter chains as a worker serves them.

use std::{rc::Rc, sync::Arc};

use super::{
    ListenerStats,
    filter_chain::{ConnectionFacts, choose},
    transport_socket::DownstreamTls,
};
use crate::{
    config::{self, Listener, listener::FilterChain},
    factory_context::FactoryContext,
    filter::{
        listener::ListenerFilter,
        network::{NetworkFilter, TerminalFilter},
    },
    info::Drain,
    stats::Scope,
};

/// A listener in one worker.
pub(crate) struct ActiveListener {
    pub(crate) config: Arc<Listener>,
    pub(crate) stats: Arc<ListenerStats>,
    /// Run in order before a filter chain is chosen.
    pub(crate) filters: Vec<ListenerFilter>,
    /// How many of them may change the original destination: those behind only look at what the
    /// client says.
    pub(crate) settles_destination: usize,
    chains: Vec<Rc<ActiveChain>>,
    default_chain: Option<Rc<ActiveChain>>,
}

/// A filter chain in one worker.
pub(crate) struct ActiveChain {
    pub(crate) config: Arc<FilterChain>,
    /// Those before the last, in order.
    pub(crate) filters: Vec<NetworkFilter>,
    /// The last, which serves the connection.
    pub(crate) filter: TerminalFilter,
    /// Whether it drains.
    pub(crate) drain: Drain,
    /// TLS, if that is how bytes arrive.
    pub(super) tls: Option<DownstreamTls>,
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
            kept.or_else(|| ActiveChain::new(chain, config, context).map(Rc::new))
        };
        let filters = config.listener_filters.iter().enumerate();
        let filters = filters.map(|(place, filter)| {
            let owner = format!("{:?} {place}", config.name);
            ListenerFilter::new(filter, &config.stat_prefix, &owner, context)
        });
        let inspectors = config.listener_filters.iter().rev();
        let inspectors = inspectors
            .take_while(|filter| filter.is_inspector())
            .count();
        let stats = previous.filter(|p| p.config.stat_prefix == config.stat_prefix);
        let listener = Self {
            config: Arc::clone(config),
            stats: match stats {
                Some(previous) => Arc::clone(&previous.stats),
                None => context
                    .registry
                    .register(Scope::listener(&config.stat_prefix)),
            },
            filters: filters.collect(),
            settles_destination: config.listener_filters.len() - inspectors,
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

    /// Whether a filter looks at what the client says.
    pub(crate) fn has_inspectors(&self) -> bool {
        self.config
            .listener_filters
            .iter()
            .any(config::listener::ListenerFilter::is_inspector)
    }

    /// Whether a chain takes TLS.
    pub(crate) fn serves_tls(&self) -> bool {
        self.chains.iter().any(|chain| chain.tls.is_some())
    }

    fn all_chains(&self) -> Vec<&Rc<ActiveChain>> {
        self.chains.iter().chain(&self.default_chain).collect()
    }
}

// === impl ActiveChain ===

impl ActiveChain {
    /// None if the chain has no filters: what it matches is closed.
    fn new(
        config: &Arc<FilterChain>,
        listener: &Listener,
        context: &Rc<FactoryContext>,
    ) -> Option<Self> {
        let (last, others) = config.filters.split_last()?;
        let others = others.iter().enumerate();
        let others = others.filter_map(|(place, filter)| {
            let owner = format!("{:?} {:x} {place}", listener.name, config.fingerprint);
            NetworkFilter::new(filter, &owner, context)
        });
        Some(Self {
            config: Arc::clone(config),
            filters: others.collect(),
            filter: TerminalFilter::new(last, context)?,
            drain: Drain::of_chain(),
            tls: DownstreamTls::new(config, &listener.stat_prefix, context),
        })
    }
}
