//! `envoy.filters.http.cors`

use crate::{config::matcher::StringMatcher, runtime::RuntimePercent};

/// `envoy.extensions.filters.http.cors.v3.CorsPolicy`, and `envoy.config.route.v3.CorsPolicy`, which
/// has the same fields. What is not set is taken from the next less specific level.
#[derive(Debug)]
pub struct CorsPolicy {
    /// Origins that are let in.
    pub allow_origins: Vec<StringMatcher>,
    /// `access-control-allow-methods`; `*`: what was asked for.
    pub allow_methods: String,
    /// `access-control-allow-headers`; `*`: what was asked for.
    pub allow_headers: String,
    /// `access-control-expose-headers`
    pub expose_headers: String,
    /// `access-control-max-age`
    pub max_age: String,
    /// `access-control-allow-credentials`
    pub allow_credentials: Option<bool>,
    /// Share of requests to which the policy is applied; none: all.
    pub enabled: Option<RuntimePercent>,
    /// Share of requests of which it is only counted whether they would be let in.
    pub shadow_enabled: Option<RuntimePercent>,
    /// `access-control-allow-private-network`
    pub allow_private_network_access: Option<bool>,
    /// Preflight requests of other origins go to the endpoint; they do unless this says otherwise.
    pub forward_not_matching_preflights: Option<bool>,
}
