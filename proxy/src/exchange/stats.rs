//! Stats of an HTTP connection manager and its router.

use crate::stat_set;

stat_set! {
    /// `http.<stat_prefix>.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/stats>
    pub(crate) struct HttpStats {
        /// Connections served.
        downstream_cx_total: Counter,
        /// Connections open now.
        downstream_cx_active: Gauge,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// How long connections were open, milliseconds.
        downstream_cx_length_ms: Histogram,
        /// HTTP/1 connections served.
        downstream_cx_http1_total: Counter,
        /// HTTP/1 connections open now.
        downstream_cx_http1_active: Gauge,
        /// HTTP/2 connections served.
        downstream_cx_http2_total: Counter,
        /// HTTP/2 connections open now.
        downstream_cx_http2_active: Gauge,
        /// Bytes received from clients.
        downstream_cx_rx_bytes_total: Counter,
        /// Bytes sent to clients.
        downstream_cx_tx_bytes_total: Counter,
        /// Connections closed for being idle too long.
        downstream_cx_idle_timeout: Counter,
        /// Connections closed because the client did not speak HTTP.
        downstream_cx_protocol_error: Counter,
        /// Connections closed because they were too old.
        downstream_cx_max_duration_reached: Counter,
        /// Connections closed because they had carried as many requests as they may.
        downstream_cx_max_requests_reached: Counter,
        /// Connections closed because the listener was draining.
        downstream_cx_drain_close: Counter,
        /// Connections that became tunnels after an upgrade.
        downstream_cx_upgrades_total: Counter,
        /// Tunnels open now.
        downstream_cx_upgrades_active: Gauge,
        /// Requests received.
        downstream_rq_total: Counter,
        /// HTTP/1 requests received.
        downstream_rq_http1_total: Counter,
        /// HTTP/2 requests received.
        downstream_rq_http2_total: Counter,
        /// Requests in flight now.
        downstream_rq_active: Gauge,
        /// Requests answered.
        downstream_rq_completed: Counter,
        /// Responses by status class.
        downstream_rq: ClassCounters,
        /// Requests whose head, or whose body where a filter buffers it, was too large.
        downstream_rq_too_large: Counter,
        /// Requests the client gave up or reset.
        downstream_rq_rx_reset: Counter,
        /// Connections ended because too many of their requests were reset soon, before they had an answer.
        downstream_rq_too_many_premature_resets: Counter,
        /// Requests answered 503 because memory was short.
        downstream_rq_overload_close: Counter,
        /// Connections that ended with their current requests because memory was short.
        downstream_cx_overload_disable_keepalive: Counter,
        /// Requests whose path has no normal form, or escaped slashes where these are not taken.
        downstream_rq_failed_path_normalization: Counter,
        /// Requests sent to the same path with its escaped slashes as slashes.
        downstream_rq_redirected_with_normalized_path: Counter,
        /// Requests cut off because nothing moved for too long.
        downstream_rq_idle_timeout: Counter,
        /// Requests that did not arrive in time.
        downstream_rq_timeout: Counter,
        /// Requests with an upgrade that is not allowed.
        downstream_rq_ws_on_non_ws_route: Counter,
        /// Time from the request's head to the response's end, milliseconds.
        downstream_rq_time: Histogram,
        /// Requests the router handled.
        rq_total: Counter,
        /// Requests no route matches.
        no_route: Counter,
        /// Requests whose route names a cluster that does not exist.
        no_cluster: Counter,
        /// Requests answered by their route.
        rq_direct_response: Counter,
        /// Requests of which a copy was to be sent and was not: they were too large or not there yet, or too
        /// many copies were on their way.
        rq_mirror_skipped: Counter,
        /// As in Envoy, 0: redirects count as `rq_direct_response`.
        rq_redirect: Counter,
    }
}
