//! `envoy.filters.listener.local_ratelimit` and `envoy.filters.network.local_ratelimit`: connections
//! beyond a rate are closed, the former unseen.

use std::{rc::Rc, sync::Arc};

use super::token_bucket::TokenBucket;
use crate::{
    config::token_bucket::LocalRateLimit as Config, factory_context::FactoryContext, stat_set,
    stats::Scope,
};

stat_set! {
    /// `local_rate_limit.<stat_prefix>.*` of the network filter, `listener_local_ratelimit.<stat_prefix>.*`
    /// of the listener filter, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/local_rate_limit_filter>
    pub(crate) struct LocalRateLimitStats {
        /// Connections closed because there was no token for them.
        rate_limited: Counter,
    }
}

/// Whose connections are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Listener,
    Network,
}

pub(crate) struct LocalRateLimit {
    config: Arc<Config>,
    context: Rc<FactoryContext>,
    bucket: Arc<TokenBucket>,
    stats: Arc<LocalRateLimitStats>,
}

// === impl LocalRateLimit ===

impl LocalRateLimit {
    /// Filters of one kind that name the same key and bucket share it, all others have one of their
    /// `owner`'s own.
    pub(super) fn new(
        config: &Arc<Config>,
        of: Of,
        owner: &str,
        context: &Rc<FactoryContext>,
    ) -> Self {
        let owner = match config.share_key.as_str() {
            "" => format!("of {owner}"),
            key => format!("shared {key:?}"),
        };
        let name = format!("{of:?} local_ratelimit {owner} {:?}", config.bucket);
        let make = || TokenBucket::new(config.bucket);
        let (kind, label) = match of {
            Of::Listener => (
                "listener_local_ratelimit",
                "envoy_local_listener_ratelimit_prefix",
            ),
            Of::Network => ("local_rate_limit", "envoy_local_network_ratelimit_prefix"),
        };
        Self {
            config: Arc::clone(config),
            context: Rc::clone(context),
            bucket: context.singletons.get(&name, make),
            stats: context.registry.register(Scope {
                kind,
                name: config.stat_prefix.clone(),
                label,
            }),
        }
    }

    /// Whether a new connection is one too many.
    pub(super) fn is_over(&self) -> bool {
        let is_over = self.context.is_set(&self.config.enabled) && !self.bucket.take();
        if is_over {
            self.stats.rate_limited.inc();
        }
        is_over
    }
}
