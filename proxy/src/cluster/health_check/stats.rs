//! Stats of health checks.

use crate::stat_set;

stat_set! {
    /// `cluster.<name>.health_check.*`, with Envoy's names. Written by the control thread.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats#health-check-statistics>
    pub(crate) struct HealthCheckStats {
        /// Checks begun.
        attempt: Counter,
        /// Checks that succeeded.
        success: Counter,
        /// Checks that failed, for whatever reason.
        failure: Counter,
        /// Failures that responses to requests told of. Weir heeds no such responses.
        passive_failure: Counter,
        /// Checks that failed because a host could not be asked, or did not answer in time.
        network_failure: Counter,
        /// Checks that compared the name of the service.
        verify_cluster: Counter,
        /// Hosts whose checks succeed.
        healthy: Gauge,
        /// Hosts that say of themselves that they are degraded.
        degraded: Gauge,
    }
}
