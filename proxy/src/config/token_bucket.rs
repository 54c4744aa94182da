//! Token buckets, and what connections are limited by.

use std::time::Duration;

use super::feature_flag::FeatureFlag;

/// `envoy.type.v3.TokenBucket`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    /// What it can hold, and holds at first.
    pub max_tokens: u32,
    /// Tokens that come in each interval. At least 1.
    pub tokens_per_fill: u32,
    /// At least 50 ms.
    pub fill_interval: Duration,
}

/// `LocalRateLimit` of `envoy.extensions.filters.{listener,network}.local_ratelimit.v3`
#[derive(Debug)]
pub struct LocalRateLimit {
    /// Part of stat names.
    pub stat_prefix: String,
    /// Each connection takes a token.
    pub bucket: TokenBucket,
    /// Filters with the same key and the same bucket share it; empty: it is this filter's alone.
    pub share_key: String,
    /// Whether there is a limit.
    pub enabled: FeatureFlag,
}
