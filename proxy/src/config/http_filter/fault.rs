//! `envoy.filters.http.fault`

use std::time::Duration;

use crate::{config::route::HeaderMatcher, runtime::FractionalPercent};

/// `envoy.extensions.filters.http.fault.v3.HTTPFault`
#[derive(Debug)]
pub struct Fault {
    /// Requests are held back.
    pub delay: Option<FaultDelay>,
    /// Requests are answered here.
    pub abort: Option<FaultAbort>,
    /// Response bodies are slowed down.
    pub response_rate_limit: Option<FaultRateLimit>,
    /// Only requests that go to this cluster; empty: all.
    pub upstream_cluster: String,
    /// Only requests with these headers.
    pub headers: Vec<HeaderMatcher>,
    /// Only requests whose `x-envoy-downstream-service-node` is one of these; empty: all.
    pub downstream_nodes: Vec<String>,
    /// Faults at a time; none: any number.
    pub max_active_faults: Option<u32>,
    /// Do not look at `x-envoy-downstream-service-cluster`, neither for stats nor for runtime keys.
    pub disable_downstream_cluster_stats: bool,
    /// Put into the request's dynamic metadata where a fault is injected.
    pub filter_metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Keys whose values count instead of what is said here.
    pub runtime: FaultRuntimeKeys,
}

/// Runtime keys of a [`Fault`].
#[derive(Debug)]
pub struct FaultRuntimeKeys {
    /// `delay_percent_runtime`
    pub delay_percent: String,
    /// `delay_duration_runtime`
    pub delay_duration: String,
    /// `abort_percent_runtime`
    pub abort_percent: String,
    /// `abort_http_status_runtime`
    pub abort_http_status: String,
    /// `abort_grpc_status_runtime`
    pub abort_grpc_status: String,
    /// `max_active_faults_runtime`
    pub max_active_faults: String,
    /// `response_rate_limit_percent_runtime`
    pub response_rate_limit_percent: String,
}

/// `FaultDelay`
#[derive(Debug, Clone, Copy)]
pub struct FaultDelay {
    /// How long; none: as `x-envoy-fault-delay-request` says, in milliseconds.
    pub fixed: Option<Duration>,
    /// Of how many requests.
    pub percentage: FractionalPercent,
}

/// `FaultAbort`
#[derive(Debug, Clone)]
pub struct FaultAbort {
    /// With what.
    pub with: AbortWith,
    /// Of how many requests.
    pub percentage: FractionalPercent,
    /// What the client reads.
    pub body: String,
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortWith {
    /// `http_status`, 200 to 599.
    Http(u16),
    /// `grpc_status`
    Grpc(u32),
    /// As `x-envoy-fault-abort-request` or `x-envoy-fault-abort-grpc-request` says.
    Header,
}

/// `FaultRateLimit`
#[derive(Debug, Clone, Copy)]
pub struct FaultRateLimit {
    /// KiB a second; none: as `x-envoy-fault-throughput-response` says.
    pub fixed_kbps: Option<u64>,
    /// Of how many responses.
    pub percentage: FractionalPercent,
}
