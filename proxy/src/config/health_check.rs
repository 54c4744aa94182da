//! Active health checks: what a cluster asks of its hosts, and how often.

use std::{ops::Range, time::Duration};

use serde_json::{Map, Value};

use super::{access_log::AccessLogSink, header::HeaderChanges, matcher::StringMatcher};

/// `envoy.config.core.v3.HealthCheck`
#[derive(Debug)]
pub struct HealthCheck {
    /// How long a host may take to answer.
    pub timeout: Duration,
    /// When a host is checked again.
    pub intervals: Intervals,
    /// So many failures in a row make a healthy host unhealthy.
    pub unhealthy_threshold: u32,
    /// So many successes in a row make an unhealthy host healthy; of the first check, one.
    pub healthy_threshold: u32,
    /// Checks of a host share a connection.
    pub reuse_connection: bool,
    /// Where changes of health are written to (`event_log_path`, `event_logger`).
    pub event_logs: Vec<AccessLogSink>,
    /// Each failure is written, too.
    pub always_log_failures: bool,
    /// Each success is.
    pub always_log_success: bool,
    /// What ALPN offers in place of what the transport socket says (`tls_options`).
    pub alpn_protocols: Option<Vec<Vec<u8>>>,
    /// Chooses the transport socket in place of the endpoint's metadata.
    pub transport_socket_match: Option<Map<String, Value>>,
    /// What is asked.
    pub checker: Checker,
}

// === impl HealthCheck ===

impl HealthCheck {
    /// Whether it is asked by gRPC.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        matches!(self.checker, Checker::Grpc(_))
    }
}

/// Times between checks of a host. Defaults depend on each other, and are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervals {
    /// Usually.
    pub interval: Duration,
    /// While no connection was ever made to the cluster and the host is not known to be healthy.
    pub no_traffic: Duration,
    /// The same of one that is healthy.
    pub no_traffic_healthy: Duration,
    /// After a failure.
    pub unhealthy: Duration,
    /// After a failure that did not yet make the host unhealthy.
    pub unhealthy_edge: Duration,
    /// After a success that did not yet make the host healthy.
    pub healthy_edge: Duration,
    /// The first check is so much late at most, by chance.
    pub initial_jitter: Duration,
    /// The others are.
    pub jitter: Duration,
    /// The others are, percent of the time between checks.
    pub jitter_percent: u32,
}

/// What is asked of a host.
#[derive(Debug)]
pub enum Checker {
    /// `HttpHealthCheck`
    Http(Box<HttpCheck>),
    /// `TcpHealthCheck`
    Tcp(TcpCheck),
    /// `GrpcHealthCheck`
    Grpc(GrpcCheck),
}

/// `HealthCheck.HttpHealthCheck`
#[derive(Debug)]
pub struct HttpCheck {
    /// Value of `host`; none: the name of the cluster.
    pub host: Option<String>,
    /// Path and query.
    pub path: String,
    /// Upper case.
    pub method: &'static str,
    /// The body of the request.
    pub send: Vec<u8>,
    /// What the body of the response must have in it, in this order.
    pub receive: Vec<Vec<u8>>,
    /// So many bytes of the body are looked at; none: all.
    pub response_buffer_size: Option<u64>,
    /// What is changed about the request's headers. Values are literal.
    pub headers: HeaderChanges,
    /// Statuses of a healthy host.
    pub expected_statuses: Vec<Range<u16>>,
    /// Statuses that count towards the threshold in place of making the host unhealthy at once.
    pub retriable_statuses: Vec<Range<u16>>,
    /// HTTP/2 with prior knowledge, or HTTP/1.1.
    pub is_http2: bool,
    /// What `x-envoy-upstream-healthchecked-cluster` must say.
    pub service_name: Option<StringMatcher>,
}

/// `HealthCheck.TcpHealthCheck`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpCheck {
    /// What is sent.
    pub send: Vec<u8>,
    /// What must come, in this order. Empty: a connection is enough.
    pub receive: Vec<Vec<u8>>,
}

/// `HealthCheck.GrpcHealthCheck`
#[derive(Debug)]
pub struct GrpcCheck {
    /// The service that is asked about; empty: the server as a whole.
    pub service_name: String,
    /// Value of `:authority`; none: the name of the cluster.
    pub authority: Option<String>,
    /// What is sent along. Values are literal.
    pub initial_metadata: HeaderChanges,
}
