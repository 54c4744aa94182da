//! Why a host is ejected, and what counts it.

use super::{Consecutive, OutlierStats};
use crate::{
    config::outlier_detection::{OutlierDetection, Volume},
    stats::Counter,
};

/// Why a host is an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Ejection {
    Consecutive(Consecutive),
    SuccessRate(Origin),
    FailurePercentage(Origin),
}

/// Whose failures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Origin {
    External,
    Local,
}

// === impl Ejection ===

impl Ejection {
    /// How often such a host was found, and how often ejected.
    pub(super) fn counters(self, stats: &OutlierStats) -> (&Counter, &Counter) {
        use Consecutive::{Error, GatewayFailure, LocalOriginFailure};
        use Origin::{External, Local};
        macro_rules! pair {
            ($detected:ident, $enforced:ident) => {
                (&stats.$detected, &stats.$enforced)
            };
        }
        match self {
            Self::Consecutive(Error) => pair!(
                ejections_detected_consecutive_5xx,
                ejections_enforced_consecutive_5xx
            ),
            Self::Consecutive(GatewayFailure) => pair!(
                ejections_detected_consecutive_gateway_failure,
                ejections_enforced_consecutive_gateway_failure
            ),
            Self::Consecutive(LocalOriginFailure) => pair!(
                ejections_detected_consecutive_local_origin_failure,
                ejections_enforced_consecutive_local_origin_failure
            ),
            Self::SuccessRate(External) => pair!(
                ejections_detected_success_rate,
                ejections_enforced_success_rate
            ),
            Self::SuccessRate(Local) => pair!(
                ejections_detected_local_origin_success_rate,
                ejections_enforced_local_origin_success_rate
            ),
            Self::FailurePercentage(External) => pair!(
                ejections_detected_failure_percentage,
                ejections_enforced_failure_percentage
            ),
            Self::FailurePercentage(Local) => pair!(
                ejections_detected_local_origin_failure_percentage,
                ejections_enforced_local_origin_failure_percentage
            ),
        }
    }

    /// How often it is enforced, percent.
    pub(super) fn enforcing(self, settings: &OutlierDetection) -> u32 {
        let of = |volume: &Volume, origin| match origin {
            Origin::External => volume.enforcing,
            Origin::Local => volume.enforcing_local_origin,
        };
        match self {
            Self::Consecutive(Consecutive::Error) => settings.consecutive_5xx.enforcing,
            Self::Consecutive(Consecutive::GatewayFailure) => {
                settings.consecutive_gateway_failure.enforcing
            }
            Self::Consecutive(Consecutive::LocalOriginFailure) => {
                settings.consecutive_local_origin_failure.enforcing
            }
            Self::SuccessRate(origin) => of(&settings.success_rate.volume, origin),
            Self::FailurePercentage(origin) => of(&settings.failure_percentage.volume, origin),
        }
    }

    /// Whether the oldest of the counters has it.
    pub(super) fn is_in_total(self) -> bool {
        matches!(
            self,
            Self::Consecutive(Consecutive::Error) | Self::SuccessRate(Origin::External)
        )
    }
}
