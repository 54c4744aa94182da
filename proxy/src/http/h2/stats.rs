//! Stats of HTTP/2 with clients.

use crate::{
    http::codec::h2::{Counts, Flood},
    stat_set,
    stats::Counter,
};

stat_set! {
    /// `http2.*`, with Envoy's names, of connections from clients.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/stats#http-2-codec-statistics>
    pub(crate) struct Http2Stats {
        /// Requests whose head was larger than what is taken, or than there was room for.
        header_overflow: Counter,
        /// Connections ended for too many frames in a row that carry nothing.
        inbound_empty_frames_flood: Counter,
        /// Connections ended for too many PRIORITY frames.
        inbound_priority_frames_flood: Counter,
        /// Connections ended for too many WINDOW_UPDATE frames.
        inbound_window_update_frames_flood: Counter,
        /// Connections ended because their client caused too many frames that answer its own: PING, SETTINGS,
        /// and resets of streams for which it is to blame.
        outbound_control_flood: Counter,
        /// Connections ended because their client did not answer PING in time.
        keepalive_timeout: Counter,
        /// Messages that are none (RFC 9113 section 8).
        rx_messaging_error: Counter,
        /// Streams that clients reset.
        rx_reset: Counter,
        /// Streams that were reset towards clients.
        tx_reset: Counter,
    }
}

// === impl Http2Stats ===

impl Http2Stats {
    /// The counter of connections that were given up for that.
    pub(crate) fn flood(&self, flood: Flood) -> &Counter {
        match flood {
            Flood::OutboundControl | Flood::Resets => &self.outbound_control_flood,
            Flood::EmptyFrames => &self.inbound_empty_frames_flood,
            Flood::PriorityFrames => &self.inbound_priority_frames_flood,
            Flood::WindowUpdateFrames => &self.inbound_window_update_frames_flood,
        }
    }

    /// Adds what a connection has counted.
    pub(crate) fn add(&self, counts: &Counts) {
        self.header_overflow.add(counts.header_overflow.into());
        self.rx_messaging_error
            .add(counts.rx_messaging_error.into());
        self.rx_reset.add(counts.rx_reset.into());
        self.tx_reset.add(counts.tx_reset.into());
    }
}
