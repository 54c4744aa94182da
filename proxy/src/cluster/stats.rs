//! Stats of a cluster.

use crate::stat_set;

stat_set! {
    /// `cluster.<name>.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats>
    pub struct ClusterStats {
        /// Connections opened.
        upstream_cx_total: Counter,
        /// Connections open now.
        upstream_cx_active: Gauge,
        /// HTTP/1 connections opened.
        upstream_cx_http1_total: Counter,
        /// HTTP/2 connections opened.
        upstream_cx_http2_total: Counter,
        /// Dials that failed. Endpoints refuse, or cannot be reached.
        upstream_cx_connect_fail: Counter,
        /// Dials that took longer than the connect timeout.
        upstream_cx_connect_timeout: Counter,
        /// Time from dial to connected, milliseconds.
        upstream_cx_connect_ms: Histogram,
        /// Time from connected to closed, milliseconds.
        upstream_cx_length_ms: Histogram,
        /// Connections closed.
        upstream_cx_destroy: Counter,
        /// Connections the endpoint closed while a request was in flight.
        upstream_cx_destroy_remote_with_active_rq: Counter,
        /// Connections closed for being idle too long.
        upstream_cx_idle_timeout: Counter,
        /// Connections that took no further request for their age.
        upstream_cx_max_duration_reached: Counter,
        /// Connections that took no further request, because they had carried as many as they may.
        upstream_cx_max_requests: Counter,
        /// Connections refused by the circuit breaker.
        upstream_cx_overflow: Counter,
        /// Connections or requests for which there was no endpoint.
        upstream_cx_none_healthy: Counter,
        /// Requests that said in a header or in metadata where they go, by what is no address.
        original_dst_host_invalid: Counter,
        /// Responses that were not HTTP.
        upstream_cx_protocol_error: Counter,
        /// Bytes received from endpoints.
        upstream_cx_rx_bytes_total: Counter,
        /// Bytes sent to endpoints.
        upstream_cx_tx_bytes_total: Counter,
        /// Requests sent.
        upstream_rq_total: Counter,
        /// Requests in flight now.
        upstream_rq_active: Gauge,
        /// Requests for which no idle connection was there.
        upstream_rq_pending_total: Counter,
        /// Requests that wait for a connection now.
        upstream_rq_pending_active: Gauge,
        /// Requests refused by the circuit breaker.
        upstream_rq_pending_overflow: Counter,
        /// Requests that failed because the connection could not be made.
        upstream_rq_pending_failure_eject: Counter,
        /// Requests cut off by the route's timeout.
        upstream_rq_timeout: Counter,
        /// Requests cut off by the timeout of one attempt.
        upstream_rq_per_try_timeout: Counter,
        /// Requests the endpoint reset.
        upstream_rq_rx_reset: Counter,
        /// Requests we reset.
        upstream_rq_tx_reset: Counter,
        /// Attempts beyond the first.
        upstream_rq_retry: Counter,
        /// Retries that ended well.
        upstream_rq_retry_success: Counter,
        /// Requests that failed after their last retry.
        upstream_rq_retry_limit_exceeded: Counter,
        /// Retries refused by the circuit breaker.
        upstream_rq_retry_overflow: Counter,
        /// Requests that were not to be sent again or copied any more, since their body became larger
        /// than what is kept of one.
        retry_or_shadow_abandoned: Counter,
        /// Responses complete.
        upstream_rq_completed: Counter,
        /// Responses by status.
        upstream_rq: StatusCounters,
        /// Time from the request's end to the response's end, milliseconds.
        upstream_rq_time: Histogram,
        /// HTTP/2 connections by what ended them: endpoints that did not answer PING in time.
        http2: NamedCounters,
        /// Picks while so few endpoints were available that health was taken for an error.
        lb_healthy_panic: Counter,
        /// Picks of an endpoint below the highest priority, because too few there take traffic. Of a
        /// service that is its own address, behind which kube-proxy may know of an endpoint.
        lb_lower_priority: Counter,
    }
}
