//! Services that the proxy itself calls.

use std::time::Duration;

use super::format::Format;

/// `envoy.config.core.v3.GrpcService` with `envoy_grpc`.
#[derive(Debug, Clone)]
pub struct GrpcService {
    /// Name of the cluster.
    pub cluster: String,
    /// `:authority`; empty: the cluster's name.
    pub authority: String,
    /// Bound of one call; none: what the caller has for a default.
    pub timeout: Option<Duration>,
    /// Headers beside those of gRPC: names in lower case, and their values.
    pub initial_metadata: Vec<(String, Format)>,
    /// Largest message that is taken, bytes.
    pub max_receive_message_length: Option<usize>,
}

/// `envoy.config.core.v3.HttpUri`
#[derive(Debug, Clone)]
pub struct HttpUri {
    /// Absolute.
    pub uri: http::Uri,
    /// Name of the cluster, which decides where requests go whatever the URI says.
    pub cluster: String,
    /// Bound of one request; zero: none.
    pub timeout: Duration,
}
