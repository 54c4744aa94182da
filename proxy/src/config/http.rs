//! The HTTP connection manager and its HTTP filters.

use std::{sync::Arc, time::Duration};

use super::{AccessLog, RouteConfiguration, access_log::AccessLogOptions, http_filter::HttpFilter};

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`
#[derive(Debug)]
pub struct HttpConnectionManager {
    /// Part of stat names: `http.<stat_prefix>.`
    pub stat_prefix: String,
    /// Which codec reads the connection.
    pub codec: CodecType,
    /// Where routes come from.
    pub routes: RouteSource,
    /// HTTP filters, but for the last.
    pub filters: Arc<[HttpFilter]>,
    /// The last HTTP filter.
    pub router: Router,
    /// What becomes of the response's `server` header.
    pub server_header: ServerHeader,
    /// Value of the `server` header; `envoy` unless configured.
    pub server_name: String,
    /// Give requests without `x-request-id` one.
    pub generate_request_id: bool,
    /// Keep an `x-request-id` that came from outside (matters with `use_remote_address` only).
    pub preserve_external_request_id: bool,
    /// Copy the request id to the response.
    pub always_set_request_id_in_response: bool,
    /// Take the client's address from the connection, and append it to `x-forwarded-for`.
    pub use_remote_address: bool,
    /// With `use_remote_address`, leave `x-forwarded-for` alone.
    pub skip_xff_append: bool,
    /// Proxies in front that are trusted to have appended to `x-forwarded-for`.
    pub xff_num_trusted_hops: u32,
    /// Appended to `via` both ways, if not empty.
    pub via: String,
    /// No active request for this long: the connection is drained. Envoy's default is 1 h.
    pub idle_timeout: Option<Duration>,
    /// Age at which the connection is drained.
    pub max_connection_duration: Option<Duration>,
    /// No byte of a stream either way for this long: 408 or reset. Envoy's default is 5 min.
    pub stream_idle_timeout: Option<Duration>,
    /// From the first byte of a request to its last.
    pub request_timeout: Option<Duration>,
    /// From the first byte of a request to the end of its head.
    pub request_headers_timeout: Option<Duration>,
    /// Grace between announcing the close and closing. Envoy's default is 5 s.
    pub drain_timeout: Duration,
    /// Requests with more headers are answered 431. Envoy's default is 100.
    pub max_headers_count: u32,
    /// Requests with a larger head are answered 431, bytes. Envoy's default is 60 KiB.
    pub max_request_headers_bytes: u32,
    /// Requests a connection may carry; none: any number.
    pub max_requests_per_connection: Option<u32>,
    /// Take HTTP/1.0 requests, rather than answer 426.
    pub accept_http_10: bool,
    /// `Host` of HTTP/1.0 requests that have none.
    pub default_host_for_http_10: String,
    /// What is done to the path before matching and forwarding.
    pub path: PathOptions,
    /// Upgrades that are forwarded; lower case.
    pub upgrades: Vec<String>,
    /// HTTP/2 settings towards the client.
    pub http2: Http2Options,
    /// Access logs, written when a request ends.
    pub access_logs: Vec<AccessLog>,
    /// When lines are written beside the end.
    pub access_log_options: AccessLogOptions,
    /// What becomes of `x-forwarded-client-cert`.
    pub client_cert: ClientCertDetails,
}

/// `forward_client_cert_details` and `set_current_client_cert_details`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertDetails {
    /// What becomes of what came, and whether the client is told of.
    pub forward: ForwardClientCert,
    /// What is told of the client, beside its hash, in this order.
    pub details: Vec<CertDetail>,
}

/// `ForwardClientCertDetails`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardClientCert {
    /// Nothing is sent on.
    #[default]
    Sanitize,
    /// What came from a client with a certificate is sent on.
    ForwardOnly,
    /// The same, with what is known of the client behind it.
    AppendForward,
    /// What is known of the client takes the place of what came.
    SanitizeSet,
    /// What came is sent on, whoever sent it.
    AlwaysForwardOnly,
}

/// `SetCurrentClientCertDetails`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertDetail {
    /// The certificate.
    Cert,
    /// The chain.
    Chain,
    /// Its subject.
    Subject,
    /// Its URIs.
    Uri,
    /// Its DNS names.
    Dns,
}

/// What is done to the path of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathOptions {
    /// `normalize_path`
    pub normalize: bool,
    /// `merge_slashes`
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`
    pub escaped_slashes: EscapedSlashes,
}

/// `HttpConnectionManager.PathWithEscapedSlashesAction`: what becomes of a path with `%2F` or `%5C` in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EscapedSlashes {
    /// They stay.
    #[default]
    Keep,
    /// The request is answered 400.
    Reject,
    /// They become slashes, and the client is sent there.
    Redirect,
    /// They become slashes.
    Forward,
}

/// `HttpConnectionManager.CodecType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecType {
    /// By ALPN, else by the connection's first bytes.
    Auto,
    /// HTTP/1 always.
    Http1,
    /// HTTP/2 always, with prior knowledge on plaintext.
    Http2,
}

/// Where an HTTP connection manager gets its routes.
#[derive(Debug, Clone)]
pub enum RouteSource {
    /// Within the message.
    Inline(Arc<RouteConfiguration>),
    /// From ADS, under this name.
    Rds(String),
}

/// `server_header_transformation`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerHeader {
    /// Ours replaces the upstream's.
    Overwrite,
    /// Ours, if the upstream sent none.
    AppendIfAbsent,
    /// The upstream's, untouched.
    PassThrough,
}

/// `envoy.extensions.filters.http.router.v3.Router`
#[derive(Debug, Clone)]
pub struct Router {
    /// Add no `x-envoy-*` headers of our own, and take no orders from those that came.
    pub suppress_envoy_headers: bool,
    /// HTTP filters of each attempt, where the cluster has none of its own.
    pub upstream_filters: Arc<[HttpFilter]>,
}

/// `envoy.config.core.v3.Http2ProtocolOptions`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Http2Options {
    /// Streams at a time that the peer may open.
    pub max_concurrent_streams: u32,
    /// Flow control window of a stream, bytes.
    pub initial_stream_window_size: u32,
    /// Flow control window of the connection, bytes.
    pub initial_connection_window_size: u32,
    /// DATA and CONTINUATION frames in a row that carry nothing.
    pub max_consecutive_inbound_frames_with_empty_payload: u32,
    /// PRIORITY frames for each stream that was opened, and one more.
    pub max_inbound_priority_frames_per_stream: u32,
    /// Half the WINDOW_UPDATE frames for each DATA frame that was sent.
    pub max_inbound_window_update_frames_per_data_frame_sent: u32,
    /// RST_STREAM frames that a client may send at once.
    pub stream_reset_burst: u64,
    /// RST_STREAM frames that a client may send in each second after.
    pub stream_reset_rate: u64,
    /// Asks whether the peer is there.
    pub keepalive: Option<Keepalive>,
}

/// `envoy.config.core.v3.KeepaliveSettings`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keepalive {
    /// The peer is asked so long after it has last answered; none: not without a request.
    pub interval: Option<Duration>,
    /// It has to answer, or to send anything else, within this time.
    pub timeout: Duration,
    /// Intervals are longer at random by up to this share of theirs, percent. Envoy's default is 15.
    pub interval_jitter: f64,
    /// A peer that no request was sent for so long is asked before the next one is.
    pub connection_idle_interval: Option<Duration>,
}

// === impl Http2Options ===

impl Default for Http2Options {
    /// Envoy's defaults of 1.40: 1024 streams, 16 MiB and 24 MiB windows.
    fn default() -> Self {
        Self {
            max_concurrent_streams: 1024,
            initial_stream_window_size: 16 << 20,
            initial_connection_window_size: 24 << 20,
            max_consecutive_inbound_frames_with_empty_payload: 1,
            max_inbound_priority_frames_per_stream: 100,
            max_inbound_window_update_frames_per_data_frame_sent: 10,
            stream_reset_burst: 1000,
            stream_reset_rate: 33,
            keepalive: None,
        }
    }
}
