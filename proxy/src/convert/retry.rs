//! When and how often a request is tried again.

use std::time::Duration;

use weir_api::xds::envoy::config::route::v3 as pb;

use super::{
    at::{At, take},
    retry_host,
    value::{positive_duration, timeout},
};
use crate::config::route::{RetryOn, RetryPolicy};

/// Envoy's default of `RetryBackOff.base_interval`; the maximum is ten times that.
const BASE_INTERVAL: Duration = Duration::from_millis(25);

pub(super) fn retry_policy(at: &At<'_>, message: pb::RetryPolicy) -> Option<RetryPolicy> {
    take!(at, message => pb::RetryPolicy {
        supported: retry_on, num_retries, per_try_timeout, retriable_status_codes, retry_back_off,
            retry_priority, retry_host_predicate, host_selection_retry_max_attempts;
        refused: per_try_idle_timeout, retry_options_predicates,
            rate_limited_retry_back_off, retriable_headers, retriable_request_headers,
            refresh_cluster_on_retry;
    });
    let at_codes = at.field("retriable_status_codes");
    let retriable_status_codes = retriable_status_codes
        .into_iter()
        .enumerate()
        .filter_map(|(index, code)| {
            let status = u16::try_from(code)
                .ok()
                .filter(|status| (100..600).contains(status));
            if status.is_none() {
                at_codes.index(index).error(format!("{code}: not a status"));
            }
            status
        })
        .collect();
    let (base_interval, max_interval) = back_off(&at.field("retry_back_off"), retry_back_off);
    let hosts = retry_host::selection(
        at,
        (retry_priority, retry_host_predicate),
        host_selection_retry_max_attempts,
    );
    Some(RetryPolicy {
        hosts,
        on: retry_on_of(&at.field("retry_on"), &retry_on),
        num_retries: num_retries.map_or(1, |retries| retries.value),
        per_try_timeout: timeout(&at.field("per_try_timeout"), per_try_timeout, None),
        retriable_status_codes,
        base_interval,
        max_interval,
    })
}

fn back_off(at: &At<'_>, message: Option<pb::retry_policy::RetryBackOff>) -> (Duration, Duration) {
    let Some(message) = message else {
        return (BASE_INTERVAL, BASE_INTERVAL * 10);
    };
    take!(at, message => pb::retry_policy::RetryBackOff {
        supported: base_interval, max_interval;
    });
    let at_base = at.field("base_interval");
    at_base.required(base_interval.as_ref());
    let base = positive_duration(&at_base, base_interval).unwrap_or(BASE_INTERVAL);
    let at_max = at.field("max_interval");
    let max = positive_duration(&at_max, max_interval).unwrap_or_else(|| base.saturating_mul(10));
    if max < base {
        at_max.error("must be at least base_interval");
    }
    (base, max)
}

/// Envoy ignores what it does not know; here it is refused, so that nobody waits for a retry that
/// never comes.
fn retry_on_of(at: &At<'_>, conditions: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for condition in conditions
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let flag = match condition {
            "5xx" => &mut on.server_error,
            "gateway-error" => &mut on.gateway_error,
            "retriable-4xx" => &mut on.retriable_4xx,
            "retriable-status-codes" => &mut on.retriable_status_codes,
            "cancelled" => &mut on.grpc_cancelled,
            "deadline-exceeded" => &mut on.grpc_deadline_exceeded,
            "internal" => &mut on.grpc_internal,
            "resource-exhausted" => &mut on.grpc_resource_exhausted,
            "unavailable" => &mut on.grpc_unavailable,
            "reset" => &mut on.reset,
            "reset-before-request" => &mut on.reset_before_request,
            "connect-failure" => &mut on.connect_failure,
            "refused-stream" => &mut on.refused_stream,
            other => {
                at.unsupported(format!("{other:?}"));
                continue;
            }
        };
        *flag = true;
    }
    on
}
