//! Gauges of circuit breakers: `cluster.<name>.circuit_breakers.<priority>.*`.
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats#circuit-breakers-statistics>

use std::sync::Arc;

use super::{Resource, SharedLimits};
use crate::stats::{Reading, StatSet, Value};

/// The gauges of one priority, made when they are read.
#[derive(Debug)]
pub(super) struct LimitGauges(pub(super) Arc<SharedLimits>);

/// A resource, the gauge that says whether it is used up, and the one that says what is left.
type Gauges = (Resource, [(&'static str, &'static str); 2]);

const GAUGES: [Gauges; Resource::COUNT] = [
    (
        Resource::Connections,
        [
            (
                "cx_open",
                "Whether there are as many connections as may be.",
            ),
            ("remaining_cx", "Connections that may still be made."),
        ],
    ),
    (
        Resource::PendingRequests,
        [
            (
                "rq_pending_open",
                "Whether as many requests wait for a connection as may.",
            ),
            (
                "remaining_pending",
                "Requests that may still wait for a connection.",
            ),
        ],
    ),
    (
        Resource::Requests,
        [
            (
                "rq_open",
                "Whether as many requests are in flight as may be.",
            ),
            ("remaining_rq", "Requests that may still be sent."),
        ],
    ),
    (
        Resource::Retries,
        [
            (
                "rq_retry_open",
                "Whether as many retries are in flight as may be.",
            ),
            ("remaining_retries", "Retries that may still be made."),
        ],
    ),
];

// === impl LimitGauges ===

impl StatSet for LimitGauges {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        let limits = &self.0;
        for (resource, [open, remaining]) in GAUGES {
            let (in_use, max) = (limits.in_use(resource), limits.threshold(resource));
            let mut show = |(name, help): (&'static str, &'static str), value: u64| {
                visit(Value {
                    name: name.into(),
                    help,
                    label: None,
                    reading: Reading::Gauge(value.try_into().unwrap_or(i64::MAX)),
                });
            };
            show(open, (in_use >= max).into());
            if limits.thresholds().track_remaining {
                // As Envoy: what a budget leaves is not said.
                let is_budgeted = limits.thresholds().retry_budget.is_some();
                let is_said = resource != Resource::Retries || !is_budgeted;
                show(
                    remaining,
                    if is_said {
                        max.saturating_sub(in_use)
                    } else {
                        0
                    },
                );
            }
        }
    }
}
