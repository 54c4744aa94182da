//! Outlier detection: hosts that fail more than others are ejected for a time. Workers count what
//! comes of attempts ([`Monitor`]); whoever sees a threshold reached, and the control thread at
//! intervals, decide ([`Detector`]). Thresholds, order and rounding are Envoy's.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>

mod detector;
mod ejection;
mod monitor;
mod rate;
mod record;
mod stats;

pub(crate) use detector::Rates;
pub(super) use detector::{Change, Detector};
pub(super) use monitor::{Consecutive, Monitor};
pub(super) use stats::OutlierStats;

use super::{Cluster, Host};
use crate::reason::Reason;

/// What came of an attempt at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is a connection. What it is good for shows later.
    Connected,
    /// There is a connection, and nothing more is known of what it carries.
    ConnectedForGood,
    /// A response of this status.
    Answered(u16),
    /// It could not be reached, or the connection or stream ended before the response did.
    Failed,
    /// It did not answer, or was not reached, in time.
    TimedOut,
}

// === impl Outcome ===

impl Outcome {
    /// What a failure says of the host; none: nothing. A circuit breaker is about the whole cluster,
    /// secrets are ours, and the rest is the client's.
    pub(crate) fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::UpstreamTimeout => Some(Self::TimedOut),
            Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::UpstreamTls
            | Reason::UpstreamClosed
            | Reason::UpstreamReset
            | Reason::UpstreamProtocolError => Some(Self::Failed),
            _ => None,
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Notes what came of an attempt at `host`. Where outliers are not detected that is a look at
    /// one field.
    pub(crate) fn report(&self, host: &Host, outcome: Outcome) {
        let (Some(learnt), Some(settings)) = (host.learnt(), &self.config.outlier_detection) else {
            return;
        };
        let suspect = |kind| self.health.suspect(host.address, kind);
        learnt.monitor.note(settings, outcome, suspect);
    }
}

#[cfg(test)]
mod tests;
