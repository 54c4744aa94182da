//! Which lines an access log writes.

use super::super::{metadata::MetadataMatcher, route::HeaderMatcher};
use crate::runtime::FractionalPercent;

/// `envoy.config.accesslog.v3.AccessLogFilter`
#[derive(Debug)]
pub enum AccessLogFilter {
    /// `status_code_filter`: the response's status, 0 where there is none.
    StatusCode(Comparison),
    /// `duration_filter`: milliseconds.
    Duration(Comparison),
    /// `runtime_filter`: a share.
    Runtime {
        /// Key whose value counts instead.
        key: String,
        /// The share.
        share: FractionalPercent,
        /// Drawn anew, not from the request's id.
        independent: bool,
    },
    /// `and_filter`
    And(Vec<AccessLogFilter>),
    /// `or_filter`
    Or(Vec<AccessLogFilter>),
    /// `header_filter`: of the request.
    Header(HeaderMatcher),
    /// `response_flag_filter`: one of these flags, or any if there are none.
    ResponseFlag(Vec<String>),
    /// `grpc_status_filter`: one of these statuses, or none of them.
    GrpcStatus {
        /// The statuses.
        statuses: Vec<u8>,
        /// None of them.
        exclude: bool,
    },
    /// `metadata_filter`
    Metadata {
        /// What must hold; none: nothing is asked.
        matcher: Option<Box<MetadataMatcher>>,
        /// Whether a value that is not there counts as one that matches.
        match_if_key_not_found: bool,
    },
    /// `log_type_filter`: one of these types, or none of them.
    LogType {
        /// The types.
        types: Vec<LogType>,
        /// None of them.
        exclude: bool,
    },
}

/// `ComparisonFilter`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// How.
    pub op: ComparisonOp,
    /// With what, where the runtime does not say otherwise.
    pub value: u32,
    /// The runtime key.
    pub key: String,
}

/// `ComparisonFilter.Op`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonOp {
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `!=`
    NotEqual,
}

/// When a line is written: `envoy.data.accesslog.v3.AccessLogType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogType {
    /// By a listener, of a connection.
    NotSet,
    /// When the TCP proxy has reached an endpoint.
    TcpUpstreamConnected,
    /// While the TCP proxy serves a connection.
    TcpPeriodic,
    /// When a connection of the TCP proxy has ended.
    TcpConnectionEnd,
    /// When a request has come.
    DownstreamStart,
    /// While a request is served.
    DownstreamPeriodic,
    /// When a request has ended.
    DownstreamEnd,
    /// When a tunnel has been made.
    DownstreamTunnelSuccessfullyEstablished,
}

// === impl Comparison ===

impl Comparison {
    /// Whether it holds of a value; `with` is what it is compared with.
    #[must_use]
    pub fn holds(&self, value: u64, with: u64) -> bool {
        match self.op {
            ComparisonOp::Equal => value == with,
            ComparisonOp::AtLeast => value >= with,
            ComparisonOp::AtMost => value <= with,
            ComparisonOp::NotEqual => value != with,
        }
    }
}

// === impl LogType ===

impl LogType {
    /// `%ACCESS_LOG_TYPE%`
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::DownstreamStart => "DownstreamStart",
            Self::DownstreamPeriodic => "DownstreamPeriodic",
            Self::DownstreamEnd => "DownstreamEnd",
            Self::DownstreamTunnelSuccessfullyEstablished => {
                "DownstreamTunnelSuccessfullyEstablished"
            }
        }
    }
}
