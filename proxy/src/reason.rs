//! Why the proxy itself ended a request or a connection. One reason has one code, the same in the
//! access log (`%RESPONSE_CODE_DETAILS%`), in metrics and in the response's `x-weir-reason`
//! header, beside Envoy's response flag.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#response-flags>

/// Why the proxy itself ended a request or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No route matches the request.
    NoRoute,
    /// The route's cluster does not exist.
    NoCluster,
    /// The cluster has no endpoint to use.
    NoHealthyUpstream,
    /// The endpoint refused the connection or could not be reached.
    ConnectFailed,
    /// The endpoint did not answer the dial in time.
    ConnectTimeout,
    /// The proxy and the endpoint do not agree on TLS.
    UpstreamTls,
    /// A secret that TLS with the endpoint needs is not there yet.
    UpstreamSecretsNotReady,
    /// The client and the proxy do not agree on TLS.
    DownstreamTls,
    /// A secret that TLS with the client needs is not there yet.
    DownstreamSecretsNotReady,
    /// The client's TLS handshake took too long.
    DownstreamTlsTimeout,
    /// The endpoint closed the connection before it sent a response.
    UpstreamClosed,
    /// The endpoint reset the connection or the stream before it sent a response.
    UpstreamReset,
    /// The endpoint sent what is not HTTP.
    UpstreamProtocolError,
    /// The name that the request asks for was not found.
    DnsResolutionFailed,
    /// As many names of requests are known as may be.
    DnsCacheOverflow,
    /// As many requests wait for their name as may.
    DnsPendingOverflow,
    /// A circuit breaker is open.
    Overflow,
    /// The endpoints are said to have too much to do: a share of requests is refused.
    DropOverload,
    /// The same, of all requests.
    UnconditionalDropOverload,
    /// The route's timeout passed.
    UpstreamTimeout,
    /// Nothing moved for the stream's idle timeout.
    StreamIdleTimeout,
    /// The request's head did not arrive in time.
    RequestHeadersTimeout,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The request is not HTTP.
    BadRequest,
    /// The request's path has no normal form.
    BadPath,
    /// The client is sent to the normal form of its path.
    PathNormalized,
    /// The request's transfer coding is not supported.
    UnsupportedTransferCoding,
    /// HTTP/1.0, and the listener does not take it.
    UpgradeRequired,
    /// The upgrade is not allowed.
    UpgradeRefused,
    /// The request's head is too large.
    HeadTooLarge,
    /// The request's body is larger than what may be buffered.
    PayloadTooLarge,
    /// A rule forbids the request.
    AccessDenied,
    /// The authorization service forbids the request.
    ExternalAuthorizationDenied,
    /// The authorization service was not reached, or has failed.
    ExternalAuthorizationError,
    /// The authorization service asked for a change that cannot or may not be made.
    ExternalAuthorizationInvalid,
    /// The request's token is missing or not valid.
    JwtRefused,
    /// A fault was injected.
    FaultInjected,
    /// A preflight request of CORS was answered.
    CorsPreflight,
    /// Memory is short.
    Overloaded,
    /// The client went away.
    ClientClosed,
    /// The route redirects.
    Redirect,
    /// The route answers itself.
    DirectResponse,
    /// The connection went to the proxy's own listener: it would loop.
    Loop,
    /// No filter chain matches the connection.
    NoFilterChain,
    /// No filter chain matches the connection, and one would if its client spoke TLS.
    PlaintextRefused,
    /// There were too many connections lately. Its flag is odd, and Envoy's.
    ConnectionRateLimited,
}

// === impl Reason ===

impl Reason {
    /// The documented code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRoute => "route_not_found",
            Self::NoCluster => "cluster_not_found",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::ConnectFailed => "upstream_connect_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamTls => "upstream_tls_failed",
            Self::UpstreamSecretsNotReady => "upstream_tls_secrets_not_ready",
            Self::DownstreamTls => "downstream_tls_failed",
            Self::DownstreamSecretsNotReady => "downstream_tls_secrets_not_ready",
            Self::DownstreamTlsTimeout => "downstream_tls_timeout",
            Self::UpstreamClosed => "upstream_closed_before_response",
            Self::UpstreamReset => "upstream_reset_before_response",
            Self::UpstreamProtocolError => "upstream_protocol_error",
            Self::DnsResolutionFailed => "dns_resolution_failure",
            Self::DnsCacheOverflow => "dns_cache_overflow",
            Self::DnsPendingOverflow => "dynamic_forward_proxy_pending_request_overflow",
            Self::Overflow => "circuit_breaker_open",
            Self::DropOverload => "drop_overload",
            Self::UnconditionalDropOverload => "unconditional_drop_overload",
            Self::UpstreamTimeout => "upstream_response_timeout",
            Self::StreamIdleTimeout => "stream_idle_timeout",
            Self::RequestHeadersTimeout => "request_headers_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::BadRequest => "bad_request",
            Self::BadPath => "path_normalization_failed",
            Self::PathNormalized => "path_normalized_redirect",
            Self::UnsupportedTransferCoding => "unsupported_transfer_coding",
            Self::UpgradeRequired => "http10_not_accepted",
            Self::UpgradeRefused => "upgrade_refused",
            Self::HeadTooLarge => "request_head_too_large",
            Self::PayloadTooLarge => "request_payload_too_large",
            Self::AccessDenied => "rbac_access_denied",
            Self::ExternalAuthorizationDenied => "ext_authz_denied",
            Self::ExternalAuthorizationError => "ext_authz_error",
            Self::ExternalAuthorizationInvalid => "ext_authz_invalid",
            Self::JwtRefused => "jwt_authn_access_denied",
            Self::FaultInjected => "fault_filter_abort",
            Self::CorsPreflight => "cors_response",
            Self::Overloaded => "overload",
            Self::ClientClosed => "client_closed",
            Self::Redirect => "redirect",
            Self::DirectResponse => "direct_response",
            Self::Loop => "loop_refused",
            Self::NoFilterChain => "filter_chain_not_found",
            Self::PlaintextRefused => "plaintext_refused",
            Self::ConnectionRateLimited => "connection_rate_limited",
        }
    }

    /// Envoy's response flag; empty if Envoy has none for it.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::NoRoute | Self::NoFilterChain | Self::PlaintextRefused => "NR",
            Self::NoCluster => "NC",
            Self::NoHealthyUpstream => "UH",
            Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::UpstreamTls
            | Self::UpstreamSecretsNotReady => "UF",
            Self::UpstreamClosed => "UC",
            Self::UpstreamReset => "UR",
            Self::UpstreamProtocolError => "UPE",
            Self::DnsResolutionFailed => "DF",
            Self::Overflow => "UO",
            Self::DropOverload => "DO",
            Self::UnconditionalDropOverload => "UDO",
            Self::UpstreamTimeout => "UT",
            Self::ConnectionRateLimited => "URX",
            Self::StreamIdleTimeout => "SI",
            Self::BadRequest | Self::UnsupportedTransferCoding | Self::HeadTooLarge => "DPE",
            Self::ClientClosed => "DC",
            Self::ExternalAuthorizationDenied
            | Self::ExternalAuthorizationError
            | Self::ExternalAuthorizationInvalid => "UAEX",
            Self::FaultInjected => "FI",
            Self::RequestHeadersTimeout
            | Self::RequestTimeout
            | Self::UpgradeRequired
            | Self::UpgradeRefused
            | Self::PayloadTooLarge
            | Self::AccessDenied
            | Self::JwtRefused
            | Self::CorsPreflight
            | Self::Overloaded
            | Self::DnsCacheOverflow
            | Self::DnsPendingOverflow
            | Self::BadPath
            | Self::PathNormalized
            | Self::Redirect
            | Self::DirectResponse
            | Self::DownstreamTls
            | Self::DownstreamSecretsNotReady
            | Self::DownstreamTlsTimeout
            | Self::Loop => "",
        }
    }

    /// Status of the local reply.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::UpstreamProtocolError => 502,
            Self::UpstreamTimeout => 504,
            Self::StreamIdleTimeout | Self::RequestHeadersTimeout | Self::RequestTimeout => 408,
            Self::BadRequest | Self::BadPath => 400,
            Self::PathNormalized => 307,
            Self::UnsupportedTransferCoding => 501,
            Self::UpgradeRequired => 426,
            Self::UpgradeRefused
            | Self::AccessDenied
            | Self::ExternalAuthorizationDenied
            | Self::ExternalAuthorizationError => 403,
            Self::ExternalAuthorizationInvalid => 500,
            Self::JwtRefused => 401,
            Self::PayloadTooLarge => 413,
            Self::CorsPreflight => 200,
            Self::HeadTooLarge => 431,
            _ => 503,
        }
    }

    /// Body of the local reply, in Envoy's words.
    #[must_use]
    pub fn body(self) -> &'static str {
        match self {
            Self::NoHealthyUpstream => "no healthy upstream",
            Self::UpstreamTls => {
                "upstream connect error or disconnect/reset before headers. reset reason: remote \
                 connection failure, transport failure reason: TLS_error"
            }
            Self::UpstreamSecretsNotReady => {
                "upstream connect error or disconnect/reset before headers. reset reason: remote \
                 connection failure, transport failure reason: TLS error: Secret is not supplied by \
                 SDS"
            }
            Self::ConnectFailed => {
                "upstream connect error or disconnect/reset before headers. reset reason: remote \
                 connection failure"
            }
            Self::ConnectTimeout => {
                "upstream connect error or disconnect/reset before headers. reset reason: \
                 connection timeout"
            }
            Self::UpstreamClosed => {
                "upstream connect error or disconnect/reset before headers. reset reason: \
                 connection termination"
            }
            Self::UpstreamReset => {
                "upstream connect error or disconnect/reset before headers. reset reason: remote \
                 reset"
            }
            Self::UpstreamProtocolError => {
                "upstream connect error or disconnect/reset before headers. reset reason: \
                 protocol error"
            }
            Self::Overflow => {
                "upstream connect error or disconnect/reset before headers. reset reason: overflow"
            }
            Self::DnsResolutionFailed => "DNS resolution failure",
            Self::DnsCacheOverflow => "DNS cache overflow",
            Self::DnsPendingOverflow => "Dynamic forward proxy pending request overflow",
            Self::DropOverload => "drop overload",
            Self::UnconditionalDropOverload => "unconditional drop overload",
            Self::UpstreamTimeout => "upstream request timeout",
            Self::StreamIdleTimeout => "stream timeout",
            Self::RequestHeadersTimeout => "request header timeout",
            Self::RequestTimeout => "request timeout",
            Self::BadRequest => "Bad Request",
            Self::UnsupportedTransferCoding => "Not Implemented",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::UpgradeRequired => "Upgrade Required",
            Self::PayloadTooLarge => "Payload Too Large",
            Self::Overloaded => "envoy overloaded",
            Self::AccessDenied => "RBAC: access denied",
            Self::FaultInjected => "fault filter abort",
            _ => "",
        }
    }
}
