//! HTTP/2 as filters see it: heads, settings and stats.

pub(crate) mod head;
pub(crate) mod keepalive;
pub(crate) mod stats;

use super::codec::h2::FloodLimits;
use crate::config::http::Http2Options;

/// How much of what brings nothing a peer may send.
pub(crate) fn flood_limits(options: &Http2Options) -> FloodLimits {
    FloodLimits {
        max_consecutive_inbound_frames_with_empty_payload: options
            .max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream: options.max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent: options
            .max_inbound_window_update_frames_per_data_frame_sent,
        stream_reset_burst: options.stream_reset_burst,
        stream_reset_rate: options.stream_reset_rate,
    }
}
