//! Envoy's substitution format: text with `%COMMAND(argument):length%` in it, as used by access
//! logs and by header values. Read once into a list of parts.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>

mod parse;

pub use crate::metadata::FilterStateFormat;
pub use parse::FormatError;

/// A substitution format string, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Format {
    /// Literals and commands in order.
    pub parts: Vec<Part>,
}

/// A piece of a [`Format`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands (`%%` is one `%`).
    Literal(String),
    /// A command, cut to `max_length` bytes if set.
    Command {
        /// What to print.
        command: Command,
        /// `%COMMAND:length%`
        max_length: Option<usize>,
    },
}

/// The commands that are supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `REQ(X?Y)`: request header X, else Y; lower case.
    RequestHeader(String, Option<String>),
    /// `RESP(X?Y)`
    ResponseHeader(String, Option<String>),
    /// `START_TIME`, in RFC 3339 with milliseconds.
    StartTime,
    /// `PROTOCOL`
    Protocol,
    /// `RESPONSE_CODE`
    ResponseCode,
    /// `RESPONSE_CODE_DETAILS`
    ResponseCodeDetails,
    /// `CONNECTION_TERMINATION_DETAILS`
    ConnectionTerminationDetails,
    /// `RESPONSE_FLAGS`
    ResponseFlags,
    /// `BYTES_RECEIVED`
    BytesReceived,
    /// `BYTES_SENT`
    BytesSent,
    /// `DURATION`
    Duration,
    /// `UPSTREAM_HOST`
    UpstreamHost,
    /// `UPSTREAM_CLUSTER`
    UpstreamCluster,
    /// `UPSTREAM_LOCAL_ADDRESS`
    UpstreamLocalAddress,
    /// `DOWNSTREAM_LOCAL_ADDRESS`
    DownstreamLocalAddress,
    /// `DOWNSTREAM_LOCAL_PORT`
    DownstreamLocalPort,
    /// `DOWNSTREAM_REMOTE_ADDRESS`
    DownstreamRemoteAddress,
    /// `DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT`
    DownstreamRemoteAddressWithoutPort,
    /// `DOWNSTREAM_DIRECT_REMOTE_ADDRESS`
    DownstreamDirectRemoteAddress,
    /// `REQUESTED_SERVER_NAME`
    RequestedServerName,
    /// `DOWNSTREAM_TLS_VERSION`, `DOWNSTREAM_PEER_URI_SAN` and their like.
    Tls(TlsField),
    /// `ROUTE_NAME`
    RouteName,
    /// `FILTER_CHAIN_NAME`
    FilterChainName,
    /// `DYNAMIC_METADATA(NAMESPACE:KEY)`: a namespace and keys within it.
    DynamicMetadata(Vec<String>),
    /// `FILTER_STATE(NAME:HOW)`
    FilterState {
        /// Name of the object.
        name: String,
        /// How it is printed.
        how: FilterStateFormat,
    },
}

/// What may be said of TLS with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsField {
    /// `DOWNSTREAM_PEER_URI_SAN`
    PeerUriSan,
    /// `DOWNSTREAM_PEER_DNS_SAN`
    PeerDnsSan,
    /// `DOWNSTREAM_PEER_EMAIL_SAN`
    PeerEmailSan,
    /// `DOWNSTREAM_PEER_IP_SAN`
    PeerIpSan,
    /// `DOWNSTREAM_PEER_SUBJECT`
    PeerSubject,
    /// `DOWNSTREAM_PEER_ISSUER`
    PeerIssuer,
    /// `DOWNSTREAM_PEER_SERIAL`
    PeerSerial,
    /// `DOWNSTREAM_PEER_FINGERPRINT_256`
    PeerFingerprint256,
    /// `DOWNSTREAM_PEER_FINGERPRINT_1`
    PeerFingerprint1,
    /// `DOWNSTREAM_PEER_CERT`
    PeerCert,
    /// `DOWNSTREAM_PEER_CERT_V_START`
    PeerCertStart,
    /// `DOWNSTREAM_PEER_CERT_V_END`
    PeerCertEnd,
    /// `DOWNSTREAM_LOCAL_URI_SAN`
    LocalUriSan,
    /// `DOWNSTREAM_LOCAL_DNS_SAN`
    LocalDnsSan,
    /// `DOWNSTREAM_LOCAL_SUBJECT`
    LocalSubject,
    /// `DOWNSTREAM_TLS_VERSION`
    Version,
    /// `DOWNSTREAM_TLS_CIPHER`
    Cipher,
}

// === impl Format ===

impl Format {
    /// A format without commands.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        match text {
            "" => Self::default(),
            text => Self {
                parts: vec![Part::Literal(text.to_owned())],
            },
        }
    }

    /// Reads a format string. Commands that are not supported are an error that names them.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        parse::parse(text)
    }

    /// The text, if there is no command in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}
