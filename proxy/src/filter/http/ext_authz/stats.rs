//! What the filter counts.

use std::sync::Arc;

use crate::{
    config::http_filter::ExtAuthz,
    stat_set,
    stats::{Registry, Scope, Within},
};

stat_set! {
    /// `http.<stat_prefix>.ext_authz.[<filter's stat_prefix>.]*`
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter#statistics>
    pub(in crate::filter::http) struct ExtAuthzStats {
        /// Requests that the service let through.
        ok: Counter,
        /// Requests that the service did not let through.
        denied: Counter,
        /// Requests that nobody decided on: the service was not reached, did not answer in time, or failed.
        error: Counter,
        /// Requests that were not asked about, by `filter_enabled`.
        disabled: Counter,
        /// Requests that passed although nobody had decided.
        failure_mode_allowed: Counter,
        /// Decisions with a change of headers or query that cannot or may not be made.
        invalid: Counter,
        /// Decisions with dynamic metadata that is not heeded.
        ignored_dynamic_metadata: Counter,
    }
}

// === impl ExtAuthzStats ===

impl ExtAuthzStats {
    pub(in crate::filter::http) fn register(
        config: &ExtAuthz,
        registry: &Registry,
        scope: &Scope,
    ) -> Arc<Within<Self>> {
        let within = format!("ext_authz.{}", config.stat_prefix);
        registry.register_within(scope.clone(), within, Self::default())
    }
}
