//! What a format can ask for.

use super::{FilterStateFormat, TimeFormat};

/// The commands that are supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `REQ(X?Y)`: request header X, else Y; lower case.
    RequestHeader(String, Option<String>),
    /// `RESP(X?Y)`
    ResponseHeader(String, Option<String>),
    /// `REQ_WITHOUT_QUERY(X?Y)`
    RequestHeaderWithoutQuery(String, Option<String>),
    /// `PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH)`
    Path {
        /// `WQ`: what follows the `?` is part of it.
        with_query: bool,
        /// Which path.
        source: PathSource,
    },
    /// `QUERY_PARAM(X)`
    QueryParam(String),
    /// `QUERY_PARAMS(ORIG|DECODED)`
    QueryParams {
        /// `DECODED`: percent signs are resolved.
        decoded: bool,
    },
    /// `START_TIME(FORMAT)` and `EMIT_TIME(FORMAT)`
    Time(TimeOf, TimeFormat),
    /// `PROTOCOL`
    Protocol,
    /// `UPSTREAM_PROTOCOL`
    UpstreamProtocol,
    /// `RESPONSE_CODE`
    ResponseCode,
    /// `RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)`
    ResponseCodeDetails {
        /// White space stays as it is.
        allow_whitespaces: bool,
    },
    /// `CONNECTION_TERMINATION_DETAILS`
    ConnectionTerminationDetails,
    /// `RESPONSE_FLAGS`
    ResponseFlags,
    /// `RESPONSE_FLAGS_LONG`
    ResponseFlagsLong,
    /// `GRPC_STATUS(X)`
    GrpcStatus(GrpcStatusFormat),
    /// `BYTES_RECEIVED` and other numbers.
    Count(Count),
    /// `DURATION` and others, milliseconds.
    Duration(Span),
    /// `COMMON_DURATION(START:END:PRECISION)`
    CommonDuration(TimePoint, TimePoint, Precision),
    /// `DOWNSTREAM_REMOTE_ADDRESS` and others.
    Address(AddressOf, AddressPart),
    /// `UPSTREAM_HOST`
    UpstreamHost,
    /// `UPSTREAM_HOST_NAME` and `UPSTREAM_HOST_NAME_WITHOUT_PORT`
    UpstreamHostName {
        /// With the port, where the address stands for the name.
        with_port: bool,
    },
    /// `UPSTREAM_HOSTS_ATTEMPTED`, `UPSTREAM_HOST_NAMES_ATTEMPTED` and the same `_WITHOUT_PORT`.
    UpstreamHostsAttempted {
        /// Names, where there are any.
        names: bool,
        /// With ports of addresses.
        with_port: bool,
    },
    /// `UPSTREAM_CLUSTER` and `UPSTREAM_CLUSTER_RAW`
    UpstreamCluster,
    /// `CONNECTION_ID`
    ConnectionId,
    /// `STREAM_ID`
    StreamId,
    /// `REQUESTED_SERVER_NAME(X:Y)`
    RequestedServerName(ServerNameChoice, HostSource),
    /// `DOWNSTREAM_TLS_VERSION`, `DOWNSTREAM_PEER_URI_SAN` and their like.
    Tls(TlsField),
    /// `DOWNSTREAM_PEER_CERT_V_START(FORMAT)` and `_V_END`
    PeerCertTime {
        /// `_V_END`
        is_end: bool,
        /// How it reads.
        format: TimeFormat,
    },
    /// `ROUTE_NAME`
    RouteName,
    /// `FILTER_CHAIN_NAME`
    FilterChainName,
    /// `METADATA(TYPE:NAMESPACE:KEY)`, `DYNAMIC_METADATA(NAMESPACE:KEY)`: a namespace and keys within it.
    Metadata(MetadataOf, Vec<String>),
    /// `FILTER_STATE(NAME:HOW)`
    FilterState {
        /// Name of the object.
        name: String,
        /// How it is printed.
        how: FilterStateFormat,
    },
    /// `HOSTNAME` and `ENVIRONMENT(X)`, as they were when the configuration was read; none: not set.
    Fixed(Option<String>),
    /// `ACCESS_LOG_TYPE`
    AccessLogType,
    /// `UNIQUE_ID`
    UniqueId,
    /// `CUSTOM_FLAGS`: no filter of ours sets any.
    CustomFlags,
    /// `COALESCE(JSON)`: the first that has a value, each cut to its own length.
    Coalesce(Vec<(Command, Option<usize>)>),
}

/// What a value is where types are kept, as in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// Whatever it is.
    Any,
}

/// Numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// `BYTES_RECEIVED`
    BytesReceived,
    /// `BYTES_SENT`
    BytesSent,
    /// `REQUEST_HEADERS_BYTES`
    RequestHeadersBytes,
    /// `RESPONSE_HEADERS_BYTES`
    ResponseHeadersBytes,
    /// `UPSTREAM_REQUEST_ATTEMPT_COUNT`
    UpstreamRequestAttemptCount,
    /// `BYTES_RETRANSMITTED` and `PACKETS_RETRANSMITTED`: 0, as in Envoy where it is not QUIC.
    Retransmitted,
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// `DURATION`
    Whole,
    /// `REQUEST_DURATION`
    Request,
    /// `REQUEST_TX_DURATION`
    RequestTx,
    /// `RESPONSE_DURATION`
    Response,
    /// `RESPONSE_TX_DURATION`
    ResponseTx,
    /// `UPSTREAM_CONNECTION_POOL_READY_DURATION`
    PoolReady,
    /// `ROUNDTRIP_DURATION`: nothing, as in Envoy where it is not QUIC.
    Roundtrip,
}

/// A point in the life of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePoint {
    /// `DS_RX_BEG`
    DownstreamRxBegin,
    /// `DS_RX_END`
    DownstreamRxEnd,
    /// `US_TX_BEG`
    UpstreamTxBegin,
    /// `US_TX_END`
    UpstreamTxEnd,
    /// `US_RX_BEG`
    UpstreamRxBegin,
    /// `US_RX_END`
    UpstreamRxEnd,
    /// `DS_TX_BEG`
    DownstreamTxBegin,
    /// `DS_TX_END`
    DownstreamTxEnd,
}

/// `ms`, `us` or `ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// Which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOf {
    /// When the request or the connection began.
    Start,
    /// When the line is written.
    Emit,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressOf {
    /// The client's, as PROXY protocol or `x-forwarded-for` has it.
    DownstreamRemote,
    /// The other end of the client's socket.
    DownstreamDirectRemote,
    /// Where the client wanted to go.
    DownstreamLocal,
    /// Our end of the client's socket.
    DownstreamDirectLocal,
    /// Our end of the endpoint's socket.
    UpstreamLocal,
    /// The endpoint's end of it.
    UpstreamRemote,
}

/// What of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressPart {
    /// Address and port.
    Whole,
    /// The address alone, as a range of this prefix length where there is one.
    WithoutPort(Option<u8>),
    /// The port alone.
    Port,
}

/// `GRPC_STATUS(X)`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatusFormat {
    /// `InvalidArgument`
    CamelString,
    /// `INVALID_ARGUMENT`
    SnakeString,
    /// `3`
    Number,
}

/// `REQUESTED_SERVER_NAME(X)`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerNameChoice {
    /// `SNI_ONLY`
    SniOnly,
    /// `SNI_FIRST`
    SniFirst,
    /// `HOST_FIRST`
    HostFirst,
}

/// Where a request's host is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostSource {
    /// `ORIG`: `x-envoy-original-host`
    Original,
    /// `HOST`: `:authority`
    Host,
    /// `ORIG_OR_HOST`
    OriginalOrHost,
}

/// Where a request's path is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSource {
    /// `ORIG`: `x-envoy-original-path`
    Original,
    /// `PATH`: `:path`
    Path,
    /// `ORIG_OR_PATH`
    OriginalOrPath,
}

/// Whose metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataOf {
    /// `DYNAMIC`: what filters said.
    Dynamic,
    /// `ROUTE`: what the configuration says of the route.
    Route,
}

/// Which end of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The other.
    Peer,
    /// Ours.
    Local,
}

/// What may be said of TLS with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsField {
    /// `DOWNSTREAM_PEER_URI_SAN`, `DOWNSTREAM_LOCAL_URI_SAN`
    UriSan(Side),
    /// `_DNS_SAN`
    DnsSan(Side),
    /// `_EMAIL_SAN`
    EmailSan(Side),
    /// `_IP_SAN`
    IpSan(Side),
    /// `_SUBJECT`
    Subject(Side),
    /// `DOWNSTREAM_PEER_ISSUER`
    PeerIssuer,
    /// `DOWNSTREAM_PEER_SERIAL`
    PeerSerial,
    /// `DOWNSTREAM_PEER_CHAIN_SERIALS`
    PeerChainSerials,
    /// `DOWNSTREAM_PEER_FINGERPRINT_256`
    PeerFingerprint256,
    /// `DOWNSTREAM_PEER_FINGERPRINT_1`
    PeerFingerprint1,
    /// `DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256`
    PeerChainFingerprints256,
    /// `DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1`
    PeerChainFingerprints1,
    /// `DOWNSTREAM_PEER_CERT`
    PeerCert,
    /// `DOWNSTREAM_TLS_VERSION`
    Version,
    /// `DOWNSTREAM_TLS_CIPHER`
    Cipher,
    /// `DOWNSTREAM_TLS_GROUP`
    Group,
}

// === impl Command ===

impl Command {
    /// What its value is where types are kept.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::ResponseCode
            | Self::Count(_)
            | Self::Duration(_)
            | Self::CommonDuration(..)
            | Self::ConnectionId
            | Self::Address(_, AddressPart::Port)
            | Self::GrpcStatus(GrpcStatusFormat::Number) => ValueKind::Number,
            Self::Metadata(..) | Self::FilterState { .. } | Self::Coalesce(_) => ValueKind::Any,
            _ => ValueKind::Text,
        }
    }

    /// Whether its value is known only where an access log is written.
    pub(super) fn is_of_logs(&self) -> bool {
        match self {
            Self::UpstreamProtocol
            | Self::CommonDuration(..)
            | Self::UpstreamHostsAttempted { .. }
            | Self::UpstreamHostName { .. }
            | Self::Address(AddressOf::UpstreamLocal | AddressOf::UpstreamRemote, _)
            | Self::AccessLogType => true,
            Self::Duration(span) => !matches!(span, Span::Whole | Span::Roundtrip),
            Self::Count(count) => !matches!(
                count,
                Count::BytesReceived | Count::BytesSent | Count::Retransmitted
            ),
            Self::Coalesce(commands) => commands.iter().any(|(command, _)| command.is_of_logs()),
            _ => false,
        }
    }
}
