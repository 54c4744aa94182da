//! Circuit breakers of a cluster.

use weir_api::xds::envoy::config::{cluster::v3 as pb, core::v3 as core};

use super::{
    at::{At, take},
    common_lb::percent,
    value::{duration, enumeration},
};
use crate::config::circuit_breakers::{CircuitBreakers, RetryBudget, RoutingPriority, Thresholds};

pub(super) fn circuit_breakers(
    at: &At<'_>,
    message: Option<pb::CircuitBreakers>,
) -> CircuitBreakers {
    let Some(message) = message else {
        return CircuitBreakers::default();
    };
    take!(at, message => pb::CircuitBreakers {
        supported: thresholds, per_host_thresholds;
    });
    let [mut default, mut high] =
        first_of_each(&at.field("thresholds"), thresholds, self::thresholds)
            .map(Option::unwrap_or_default);
    let at_host = at.field("per_host_thresholds");
    let [of_default, of_high] = first_of_each(&at_host, per_host_thresholds, max_per_host);
    default.max_connections_per_host = of_default.flatten();
    high.max_connections_per_host = of_high.flatten();
    CircuitBreakers { default, high }
}

/// `RoutingPriority`
pub(super) fn routing_priority(at: &At<'_>, value: i32) -> RoutingPriority {
    match enumeration(at, value) {
        Some(core::RoutingPriority::High) => RoutingPriority::High,
        Some(core::RoutingPriority::Default) | None => RoutingPriority::Default,
    }
}

/// The first of either priority, as Envoy takes them; all are looked at.
fn first_of_each<T>(
    at: &At<'_>,
    messages: Vec<pb::circuit_breakers::Thresholds>,
    convert: impl Fn(&At<'_>, pb::circuit_breakers::Thresholds) -> T,
) -> [Option<T>; 2] {
    let mut found = [None, None];
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        let priority = routing_priority(&at.field("priority"), message.priority);
        let converted = convert(&at, message);
        found[priority as usize].get_or_insert(converted);
    }
    found
}

fn thresholds(at: &At<'_>, message: pb::circuit_breakers::Thresholds) -> Thresholds {
    take!(at, message => pb::circuit_breakers::Thresholds {
        supported: priority, max_connections, max_pending_requests, max_requests, max_retries,
            retry_budget, track_remaining;
        refused: max_connection_pools;
    });
    let _ = priority;
    let default = Thresholds::default();
    Thresholds {
        max_connections: max_connections.map_or(default.max_connections, |max| max.value),
        max_pending_requests: max_pending_requests
            .map_or(default.max_pending_requests, |max| max.value),
        max_requests: max_requests.map_or(default.max_requests, |max| max.value),
        max_retries: max_retries.map_or(default.max_retries, |max| max.value),
        retry_budget: retry_budget
            .map(|message| retry_budget_of(&at.field("retry_budget"), message)),
        track_remaining,
        max_connections_per_host: None,
    }
}

fn retry_budget_of(
    at: &At<'_>,
    message: pb::circuit_breakers::thresholds::RetryBudget,
) -> RetryBudget {
    take!(at, message => pb::circuit_breakers::thresholds::RetryBudget {
        supported: budget_percent, min_retry_concurrency, budget_interval;
    });
    let interval = duration(&at.field("budget_interval"), budget_interval);
    let default = RetryBudget::default();
    RetryBudget {
        budget_percent: budget_percent.map_or(default.budget_percent, |share| {
            percent(&at.field("budget_percent"), share.value)
        }),
        min_retry_concurrency: min_retry_concurrency
            .map_or(default.min_retry_concurrency, |least| least.value),
        interval: interval.filter(|interval| !interval.is_zero()),
    }
}

/// Of one host, Envoy bounds connections alone.
fn max_per_host(at: &At<'_>, message: pb::circuit_breakers::Thresholds) -> Option<u32> {
    let pb::circuit_breakers::Thresholds {
        priority: _,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = message;
    at.field("max_pending_requests")
        .refuse(&max_pending_requests);
    at.field("max_requests").refuse(&max_requests);
    at.field("max_retries").refuse(&max_retries);
    at.field("retry_budget").refuse(&retry_budget);
    at.field("track_remaining").refuse(&track_remaining);
    at.field("max_connection_pools")
        .refuse(&max_connection_pools);
    max_connections.map(|max| max.value)
}
