//! Protocol options that the HTTP connection manager and clusters share.

use std::{ops::RangeInclusive, time::Duration};

use weir_api::xds::{
    envoy::config::core::v3::{self as pb, http1_protocol_options::header_key_format},
    google::protobuf::{Any, UInt32Value},
};

use super::{
    at::{At, take},
    common_lb::percent,
    value::{number, positive_duration, timeout as timeout_of, type_name},
};
use crate::config::http::{Http2Options, Keepalive};

/// Envoy's default, both downstream and upstream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// HTTP/2 windows must not be smaller than the protocol's own default.
const WINDOWS: RangeInclusive<u32> = 65_535..=0x7fff_ffff;

/// `HttpProtocolOptions`: what does not depend on the version of HTTP.
pub(super) struct CommonOptions {
    /// No request for this long closes the connection.
    pub(super) idle_timeout: Option<Duration>,
    /// Age of a connection.
    pub(super) max_connection_duration: Option<Duration>,
    /// Headers of a message.
    pub(super) max_headers_count: Option<u32>,
    /// Requests of a connection.
    pub(super) max_requests_per_connection: Option<u32>,
}

/// `Http1ProtocolOptions`, as far as they change anything.
#[derive(Default)]
pub(super) struct Http1Options {
    /// Take HTTP/1.0 requests.
    pub(super) accept_http_10: bool,
    /// Their `Host`, if they have none.
    pub(super) default_host_for_http_10: String,
}

// === impl CommonOptions ===

impl Default for CommonOptions {
    fn default() -> Self {
        Self {
            idle_timeout: Some(IDLE_TIMEOUT),
            max_connection_duration: None,
            max_headers_count: None,
            max_requests_per_connection: None,
        }
    }
}

pub(super) fn common(at: &At<'_>, message: Option<pb::HttpProtocolOptions>) -> CommonOptions {
    let Some(message) = message else {
        return CommonOptions::default();
    };
    take!(at, message => pb::HttpProtocolOptions {
        supported: idle_timeout, max_connection_duration, max_headers_count,
            max_requests_per_connection;
        refused: max_connection_duration_jitter, max_response_headers_kb, max_stream_duration,
            headers_with_underscores_action;
    });
    let at_count = at.field("max_headers_count");
    let at_duration = at.field("max_connection_duration");
    CommonOptions {
        idle_timeout: timeout_of(&at.field("idle_timeout"), idle_timeout, Some(IDLE_TIMEOUT)),
        max_connection_duration: timeout_of(&at_duration, max_connection_duration, None),
        max_headers_count: number(&at_count, max_headers_count, 1..=u32::MAX),
        max_requests_per_connection: max_requests_per_connection
            .map(|max| max.value)
            .filter(|max| *max > 0),
    }
}

/// The same of a cluster, where the number of headers in a response is not bounded.
pub(super) fn upstream_common(
    at: &At<'_>,
    message: Option<pb::HttpProtocolOptions>,
) -> CommonOptions {
    let common = common(at, message);
    if let Some(max) = common.max_headers_count {
        at.field("max_headers_count").unsupported(max);
    }
    common
}

pub(super) fn http1(at: &At<'_>, message: Option<pb::Http1ProtocolOptions>) -> Http1Options {
    let Some(message) = message else {
        return Http1Options::default();
    };
    take!(at, message => pb::Http1ProtocolOptions {
        supported: accept_http_10, default_host_for_http_10, header_key_format;
        fixed: allow_absolute_url = true;
        ignored: enable_trailers = "trailers are always forwarded",
            use_balsa_parser = "names a parser of Envoy's",
            allow_custom_methods = "methods are not restricted";
        refused: allow_chunked_length, override_stream_error_on_invalid_http_message,
            send_fully_qualified_url, ignore_http_11_upgrade;
    });
    if let Some(message) = header_key_format {
        case_format(&at.field("header_key_format"), message);
    }
    Http1Options {
        accept_http_10,
        default_host_for_http_10,
    }
}

/// The case of header names is always kept, which is what `preserve_case` asks for.
fn case_format(at: &At<'_>, message: pb::http1_protocol_options::HeaderKeyFormat) {
    const PRESERVE_CASE: &str =
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";

    take!(at, message => pb::http1_protocol_options::HeaderKeyFormat {
        supported: header_format;
    });
    match header_format {
        None => at.error("header_format: required"),
        Some(header_key_format::HeaderFormat::ProperCaseWords(_)) => {
            at.field("proper_case_words")
                .unsupported("the case of names is kept");
        }
        Some(header_key_format::HeaderFormat::StatefulFormatter(formatter)) => {
            let any = formatter.typed_config.unwrap_or_else(Any::default);
            if type_name(&any) != PRESERVE_CASE {
                at.field("stateful_formatter").unsupported(type_name(&any));
            }
        }
    }
}

pub(super) fn http2(at: &At<'_>, message: Option<pb::Http2ProtocolOptions>) -> Http2Options {
    let default = Http2Options::default();
    let Some(message) = message else {
        return default;
    };
    take!(at, message => pb::Http2ProtocolOptions {
        supported: max_concurrent_streams, initial_stream_window_size,
            initial_connection_window_size, max_consecutive_inbound_frames_with_empty_payload,
            max_inbound_priority_frames_per_stream,
            max_inbound_window_update_frames_per_data_frame_sent, stream_reset_burst,
            stream_reset_rate, connection_keepalive;
        ignored: use_oghttp2_codec = "names a codec of Envoy's";
        refused: hpack_table_size, allow_connect, allow_metadata, max_outbound_frames,
            max_outbound_control_frames,
            stream_error_on_invalid_http_messaging, override_stream_error_on_invalid_http_message,
            custom_settings_parameters, max_metadata_size,
            enable_huffman_encoding, max_header_field_size_kb, disallow_obs_text;
    });
    let bounded = |name: &str, value: Option<UInt32Value>, range, default| {
        number(&at.field(name), value, range).unwrap_or(default)
    };
    Http2Options {
        max_concurrent_streams: bounded(
            "max_concurrent_streams",
            max_concurrent_streams,
            1..=0x7fff_ffff,
            default.max_concurrent_streams,
        ),
        initial_stream_window_size: bounded(
            "initial_stream_window_size",
            initial_stream_window_size,
            WINDOWS,
            default.initial_stream_window_size,
        ),
        initial_connection_window_size: bounded(
            "initial_connection_window_size",
            initial_connection_window_size,
            WINDOWS,
            default.initial_connection_window_size,
        ),
        max_consecutive_inbound_frames_with_empty_payload: bounded(
            "max_consecutive_inbound_frames_with_empty_payload",
            max_consecutive_inbound_frames_with_empty_payload,
            0..=u32::MAX,
            default.max_consecutive_inbound_frames_with_empty_payload,
        ),
        max_inbound_priority_frames_per_stream: bounded(
            "max_inbound_priority_frames_per_stream",
            max_inbound_priority_frames_per_stream,
            0..=u32::MAX,
            default.max_inbound_priority_frames_per_stream,
        ),
        max_inbound_window_update_frames_per_data_frame_sent: bounded(
            "max_inbound_window_update_frames_per_data_frame_sent",
            max_inbound_window_update_frames_per_data_frame_sent,
            1..=u32::MAX,
            default.max_inbound_window_update_frames_per_data_frame_sent,
        ),
        stream_reset_burst: stream_reset_burst
            .map_or(default.stream_reset_burst, |value| value.value),
        stream_reset_rate: stream_reset_rate.map_or(default.stream_reset_rate, |value| value.value),
        keepalive: connection_keepalive
            .and_then(|message| keepalive(&at.field("connection_keepalive"), message)),
    }
}

fn keepalive(at: &At<'_>, message: pb::KeepaliveSettings) -> Option<Keepalive> {
    take!(at, message => pb::KeepaliveSettings {
        supported: interval, timeout, interval_jitter, connection_idle_interval;
    });
    let wait = |name: &str, value| timeout_of(&at.field(name), value, None);
    let at_timeout = at.field("timeout");
    let timeout = at_timeout.required(timeout)?;
    Some(Keepalive {
        interval: wait("interval", interval),
        timeout: positive_duration(&at_timeout, Some(timeout))?,
        interval_jitter: interval_jitter.map_or(15.0, |jitter| {
            percent(&at.field("interval_jitter"), jitter.value)
        }),
        connection_idle_interval: wait("connection_idle_interval", connection_idle_interval),
    })
}
