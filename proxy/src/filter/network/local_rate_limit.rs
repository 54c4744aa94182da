//! `envoy.filters.network.local_ratelimit`: connections beyond a rate are closed.

use std::{rc::Rc, sync::Arc};

use super::Status;
use crate::{
    config::token_bucket::LocalRateLimit as Config, factory_context::FactoryContext,
    filter::token_bucket::TokenBucket, info::ConnectionInfo, reason::Reason, stat_set,
    stats::Scope,
};

stat_set! {
    /// `local_rate_limit.<stat_prefix>.*`, with Envoy's name.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/local_rate_limit_filter>
    pub(crate) struct NetworkRateLimitStats {
        /// Connections closed because there was no token for them.
        rate_limited: Counter,
    }
}

pub(crate) struct LocalRateLimit {
    config: Arc<Config>,
    context: Rc<FactoryContext>,
    bucket: Arc<TokenBucket>,
    stats: Arc<NetworkRateLimitStats>,
}

// === impl LocalRateLimit ===

impl LocalRateLimit {
    pub(super) fn new(config: &Arc<Config>, owner: &str, context: &Rc<FactoryContext>) -> Self {
        let owner = match config.share_key.as_str() {
            "" => format!("of {owner}"),
            key => format!("shared {key:?}"),
        };
        let name = format!("network local_ratelimit {owner} {:?}", config.bucket);
        let make = || TokenBucket::new(config.bucket);
        Self {
            config: Arc::clone(config),
            context: Rc::clone(context),
            bucket: context.singletons.get(&name, make),
            stats: context.registry.register(Scope {
                kind: "local_rate_limit",
                name: config.stat_prefix.clone(),
                label: "envoy_local_network_ratelimit_prefix",
            }),
        }
    }

    pub(super) fn on_new_connection(&self, connection: &mut ConnectionInfo) -> Status {
        if !self.context.is_set(&self.config.enabled) || self.bucket.take() {
            return Status::Continue;
        }
        self.stats.rate_limited.inc();
        connection.outcome.reason = Some(Reason::ConnectionRateLimited);
        Status::Close(None)
    }
}
