//! Limits of connections, and token buckets.

use std::time::Duration;

use weir_api::xds::envoy::{
    config::core::v3::RuntimeFeatureFlag,
    extensions::filters::{
        listener::local_ratelimit::v3 as listener_v3,
        network::{connection_limit::v3 as connection_limit_v3, local_ratelimit::v3 as network_v3},
    },
    r#type::v3 as type_v3,
};

use super::{
    at::{At, take},
    value::{duration, non_empty, number, positive_duration},
};
use crate::config::{
    feature_flag::FeatureFlag,
    network_filter::ConnectionLimit,
    token_bucket::{LocalRateLimit, TokenBucket},
};

/// As in Envoy, which would fill more often than its timers run.
const MIN_FILL_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn of_listener(
    at: &At<'_>,
    message: listener_v3::LocalRateLimit,
) -> Option<LocalRateLimit> {
    take!(at, message => listener_v3::LocalRateLimit {
        supported: stat_prefix, token_bucket, runtime_enabled;
    });
    local_rate_limit(at, stat_prefix, token_bucket, runtime_enabled)
}

pub(super) fn of_network(
    at: &At<'_>,
    message: network_v3::LocalRateLimit,
) -> Option<LocalRateLimit> {
    take!(at, message => network_v3::LocalRateLimit {
        supported: stat_prefix, token_bucket, runtime_enabled, share_key;
    });
    let limit = local_rate_limit(at, stat_prefix, token_bucket, runtime_enabled)?;
    Some(LocalRateLimit { share_key, ..limit })
}

fn local_rate_limit(
    at: &At<'_>,
    stat_prefix: String,
    token_bucket: Option<type_v3::TokenBucket>,
    runtime_enabled: Option<RuntimeFeatureFlag>,
) -> Option<LocalRateLimit> {
    let enabled = feature_flag(&at.field("runtime_enabled"), runtime_enabled);
    let stat_prefix = non_empty(&at.field("stat_prefix"), stat_prefix);
    let at = at.field("token_bucket");
    Some(LocalRateLimit {
        stat_prefix,
        bucket: self::token_bucket(&at, at.required(token_bucket)?)?,
        share_key: String::new(),
        enabled,
    })
}

pub(super) fn connection_limit(
    at: &At<'_>,
    message: connection_limit_v3::ConnectionLimit,
) -> Option<ConnectionLimit> {
    take!(at, message => connection_limit_v3::ConnectionLimit {
        supported: stat_prefix, max_connections, delay, runtime_enabled;
    });
    let enabled = feature_flag(&at.field("runtime_enabled"), runtime_enabled);
    let stat_prefix = non_empty(&at.field("stat_prefix"), stat_prefix);
    let delay = duration(&at.field("delay"), delay).filter(|delay| !delay.is_zero());
    let at = at.field("max_connections");
    let max_connections = at.required(max_connections)?.value;
    if max_connections == 0 {
        at.error("0: must be at least 1");
    }
    Some(ConnectionLimit {
        stat_prefix,
        max_connections,
        delay,
        enabled,
    })
}

fn token_bucket(at: &At<'_>, message: type_v3::TokenBucket) -> Option<TokenBucket> {
    take!(at, message => type_v3::TokenBucket {
        supported: max_tokens, tokens_per_fill, fill_interval;
    });
    let at_fill = at.field("tokens_per_fill");
    let at = at.field("fill_interval");
    let interval = positive_duration(&at, Some(at.required(fill_interval)?))?;
    if interval < MIN_FILL_INTERVAL {
        at.error(format!(
            "{interval:?}: must be at least {MIN_FILL_INTERVAL:?}"
        ));
    }
    Some(TokenBucket {
        max_tokens,
        tokens_per_fill: number(&at_fill, tokens_per_fill, 1..=u32::MAX).unwrap_or(1),
        fill_interval: interval,
    })
}

/// On unless it says otherwise.
fn feature_flag(at: &At<'_>, message: Option<RuntimeFeatureFlag>) -> FeatureFlag {
    message.map_or_else(FeatureFlag::on, |message| runtime_flag(at, message))
}

/// A flag that is set, and the key that overrides it.
pub(super) fn runtime_flag(at: &At<'_>, message: RuntimeFeatureFlag) -> FeatureFlag {
    take!(at, message => RuntimeFeatureFlag { supported: default_value, runtime_key; });
    let value = at.field("default_value").required(default_value);
    FeatureFlag {
        default: value.is_none_or(|value| value.value),
        key: non_empty(&at.field("runtime_key"), runtime_key),
    }
}
