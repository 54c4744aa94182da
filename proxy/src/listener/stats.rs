//! Stats of a listener.

use crate::stat_set;

stat_set! {
    /// `listener.<address>.*`, with Envoy's names where Envoy has them.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/stats>
    pub struct ListenerStats {
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections open now.
        downstream_cx_active: Gauge,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// How long connections were open, milliseconds.
        downstream_cx_length_ms: Histogram,
        /// Connections closed because there were as many over all listeners as there may be.
        downstream_global_cx_overflow: Counter,
        /// Connections closed because memory was short.
        downstream_cx_overload_reject: Counter,
        /// Connections whose client said too little for too long. They are closed, unless the listener
        /// lets them go on with what is known.
        downstream_pre_cx_timeout: Counter,
        /// Connections whose TLS handshake took too long. They are closed.
        downstream_cx_transport_socket_connect_timeout: Counter,
        /// Connections for which no filter chain fits. They are closed.
        no_filter_chain_match: Counter,
        /// Connections of our own to the application that came back to us. They are refused.
        loop_refused: Counter,
        /// Connections the client opened with HTTP/1.
        detected_http1: Counter,
        /// Connections the client opened with HTTP/2.
        detected_h2c: Counter,
        /// Connections the client opened with TLS.
        detected_tls: Counter,
        /// Connections the client opened with something else.
        detected_other: Counter,
        /// Connections on which the server spoke first.
        detected_server_first: Counter,
        /// Connections on which the server spoke first and its bytes were held, for the client might be
        /// about to speak TLS.
        server_first_held: Counter,
        /// Unknown destinations that were passed through because the answer was late or could not come.
        on_demand_timeout: Counter,
    }
}
