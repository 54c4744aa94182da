//! What the filter keeps in one worker: what it counts, and tokens that it saw lately.

use std::{cell::RefCell, sync::Arc};

use super::cache::TokenCache;
use crate::{
    config::http_filter::jwt_authn::JwtAuthn,
    stat_set,
    stats::{Registry, Scope, Within},
};

stat_set! {
    /// `http.<stat_prefix>.jwt_authn.[<stat_prefix of the filter>.]*`
    pub(super) struct JwtAuthnStats {
        /// Requests that were let through.
        allowed: Counter,
        /// Preflight requests of CORS that were let through without a token.
        cors_preflight_bypassed: Counter,
        /// Requests that were refused: their token is missing or not valid.
        denied: Counter,
        /// Key sets that could not be fetched.
        jwks_fetch_failed: Counter,
        /// Key sets that were fetched.
        jwks_fetch_success: Counter,
        /// Tokens that were known to be valid.
        jwt_cache_hit: Counter,
        /// Tokens that had to be checked.
        jwt_cache_miss: Counter,
    }
}

/// What the filter keeps in one worker.
pub(in super::super) struct JwtWorker {
    pub(super) stats: Arc<Within<JwtAuthnStats>>,
    /// Of each provider, in order.
    caches: Box<[Option<RefCell<TokenCache>>]>,
}

// === impl JwtWorker ===

impl JwtWorker {
    pub(in super::super) fn new(config: &JwtAuthn, registry: &Registry, scope: &Scope) -> Self {
        let prefix = match config.stat_prefix.trim_end_matches('.') {
            "" => "jwt_authn.".to_owned(),
            prefix => format!("jwt_authn.{prefix}."),
        };
        let providers = config.providers.iter();
        let cache = providers.map(|of| of.cache.map(|cache| RefCell::new(TokenCache::new(cache))));
        Self {
            stats: registry.register_within(scope.clone(), prefix, JwtAuthnStats::default()),
            caches: cache.collect(),
        }
    }

    /// The tokens of this provider that were seen lately; none if none is remembered.
    pub(super) fn cache(&self, provider: usize) -> Option<&RefCell<TokenCache>> {
        self.caches.get(provider)?.as_ref()
    }
}
