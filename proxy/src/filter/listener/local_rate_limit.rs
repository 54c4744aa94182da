//! `envoy.filters.listener.local_ratelimit`: connections beyond a rate are closed unseen.

use std::{rc::Rc, sync::Arc};

use super::Status;
use crate::{
    config::token_bucket::LocalRateLimit as Config, factory_context::FactoryContext,
    filter::token_bucket::TokenBucket, stat_set, stats::Scope,
};

stat_set! {
    /// `listener_local_ratelimit.<stat_prefix>.*`, with Envoy's name.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/local_rate_limit_filter>
    pub(crate) struct ListenerRateLimitStats {
        /// Connections closed because there was no token for them.
        rate_limited: Counter,
    }
}

pub(super) struct LocalRateLimit {
    config: Arc<Config>,
    context: Rc<FactoryContext>,
    bucket: Arc<TokenBucket>,
    stats: Arc<ListenerRateLimitStats>,
}

// === impl LocalRateLimit ===

impl LocalRateLimit {
    pub(super) fn new(config: &Arc<Config>, owner: &str, context: &Rc<FactoryContext>) -> Self {
        let name = format!("listener local_ratelimit {owner} {:?}", config.bucket);
        let make = || TokenBucket::new(config.bucket);
        Self {
            config: Arc::clone(config),
            context: Rc::clone(context),
            bucket: context.singletons.get(&name, make),
            stats: context.registry.register(Scope {
                kind: "listener_local_ratelimit",
                name: config.stat_prefix.clone(),
                label: "envoy_local_listener_ratelimit_prefix",
            }),
        }
    }

    pub(super) fn run(&self) -> Status {
        if !self.context.is_set(&self.config.enabled) || self.bucket.take() {
            return Status::Continue;
        }
        self.stats.rate_limited.inc();
        Status::Close
    }
}
