//! How much is sent again, and how new endpoints come to their part, as rules say it of a cluster.

use weir_api::xds::envoy::{
    config::{
        cluster::v3::{
            Cluster,
            circuit_breakers::thresholds::RetryBudget as Budget,
            cluster::{
                LbConfig, LbPolicy, LeastRequestLbConfig, RoundRobinLbConfig, SlowStartConfig,
            },
        },
        core::v3::RuntimeDouble,
    },
    r#type::v3::Percent,
};

use super::{duration, wrapped};
use crate::model::{RetryBudget, Warmup};

/// Under which Envoy looks for another aggression while it runs; nobody sets it.
const RUNTIME_KEY: &str = "weir.warmup.aggression";

/// As many are sent again as the budget has room for, rather than a number.
pub(super) fn budget(message: &mut Cluster, said: RetryBudget) {
    let thresholds = message.circuit_breakers.iter_mut();
    for thresholds in thresholds.flat_map(|it| &mut it.thresholds) {
        thresholds.max_retries = None;
        thresholds.retry_budget = Some(Budget {
            budget_percent: Some(percent(said.percent)),
            min_retry_concurrency: said.least.map(wrapped),
            ..Budget::default()
        });
    }
}

/// New endpoints come to their part by and by, where endpoints have parts.
pub(super) fn warm_up(message: &mut Cluster, said: Warmup) {
    let slowly = SlowStartConfig {
        slow_start_window: Some(duration(said.duration)),
        aggression: Some(RuntimeDouble {
            default_value: decimal(said.aggression),
            runtime_key: RUNTIME_KEY.to_owned(),
        }),
        min_weight_percent: Some(percent(said.least)),
    };
    match message.lb_policy() {
        LbPolicy::RoundRobin => {
            message.lb_config = Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                slow_start_config: Some(slowly),
            }));
        }
        LbPolicy::LeastRequest => {
            message.lb_config = Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                slow_start_config: Some(slowly),
                ..LeastRequestLbConfig::default()
            }));
        }
        _ => {}
    }
}

fn percent(millionths: u32) -> Percent {
    Percent {
        value: decimal(millionths),
    }
}

fn decimal(millionths: u32) -> f64 {
    f64::from(millionths) / 1_000_000.0
}
