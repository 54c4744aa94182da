//! Stats of outlier detection.

use crate::stat_set;

stat_set! {
    /// `cluster.<name>.outlier_detection.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats#outlier-detection-statistics>
    pub(crate) struct OutlierStats {
        /// Hosts ejected now. They get no traffic unless too few others are left.
        ejections_active: Gauge,
        /// Hosts ejected.
        ejections_enforced_total: Counter,
        /// Ejections that `max_ejection_percent` did not allow.
        ejections_overflow: Counter,
        /// Hosts ejected for errors in a row.
        ejections_enforced_consecutive_5xx: Counter,
        /// Hosts that had enough errors in a row, ejected or not.
        ejections_detected_consecutive_5xx: Counter,
        /// Hosts ejected for 502, 503 and 504 in a row.
        ejections_enforced_consecutive_gateway_failure: Counter,
        /// Hosts that had enough of these in a row, ejected or not.
        ejections_detected_consecutive_gateway_failure: Counter,
        /// Hosts ejected for failures to reach them in a row.
        ejections_enforced_consecutive_local_origin_failure: Counter,
        /// Hosts that had enough of these in a row, ejected or not.
        ejections_detected_consecutive_local_origin_failure: Counter,
        /// Hosts ejected for a success rate below that of the others.
        ejections_enforced_success_rate: Counter,
        /// Hosts that had such a rate, ejected or not.
        ejections_detected_success_rate: Counter,
        /// Hosts ejected for being reached less often than the others.
        ejections_enforced_local_origin_success_rate: Counter,
        /// Hosts that were, ejected or not.
        ejections_detected_local_origin_success_rate: Counter,
        /// Hosts ejected for failing too often.
        ejections_enforced_failure_percentage: Counter,
        /// Hosts that failed so often, ejected or not.
        ejections_detected_failure_percentage: Counter,
        /// Hosts ejected for not being reached too often.
        ejections_enforced_local_origin_failure_percentage: Counter,
        /// Hosts that were not, ejected or not.
        ejections_detected_local_origin_failure_percentage: Counter,
        /// Ejections by errors in a row and by success rate, enforced or not. Envoy keeps it for old dashboards.
        ejections_total: Counter,
        /// As `ejections_detected_consecutive_5xx`, for old dashboards.
        ejections_consecutive_5xx: Counter,
        /// As `ejections_detected_success_rate`, for old dashboards.
        ejections_success_rate: Counter,
    }
}
