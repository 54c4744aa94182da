//! Route configurations: virtual hosts, routes and their actions.

use super::request_buffer::RequestBuffer;
use std::time::Duration;

use bytes::Bytes;
use regex::Regex;

use crate::{metadata::Metadata, runtime::RuntimePercent};

use super::{
    circuit_breakers::RoutingPriority,
    hash::HashPolicy,
    header::HeaderMutations,
    http_filter::{CorsPolicy, PerFilterConfig},
    matcher::StringMatcher,
    retry_host::HostSelection,
    subset::MetadataMatch,
};

/// `envoy.config.route.v3.RouteConfiguration`
#[derive(Debug)]
pub struct RouteConfiguration {
    /// Name, by which RDS is asked.
    pub name: String,
    /// Chosen by `Host`.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Which virtual host serves which `Host`.
    pub domains: super::domains::DomainIndex,
    /// Changes at this level.
    pub headers: HeaderMutations,
    /// What filters do differently at this level.
    pub per_filter: PerFilterConfig,
    /// A port in `Host` does not count when a virtual host is chosen.
    pub ignore_port_in_host_matching: bool,
    /// Changes of the most specific level win; by default those of the least specific do.
    pub most_specific_header_mutations_wins: bool,
}

/// `envoy.config.route.v3.VirtualHost`
#[derive(Debug)]
pub struct VirtualHost {
    /// Name, for stats and logs.
    pub name: String,
    /// Lower case: exact, `*.suffix`, `prefix.*`, or `*`.
    pub domains: Vec<String>,
    /// The first that matches serves the request.
    pub routes: Vec<Route>,
    /// Changes at this level.
    pub headers: HeaderMutations,
    /// What filters do differently at this level.
    pub per_filter: PerFilterConfig,
    /// For routes without one of their own.
    pub retry_policy: Option<RetryPolicy>,
    /// Where no level has CORS policies of filters.
    pub cors: Option<Box<CorsPolicy>>,
    /// Send `x-envoy-attempt-count` upstream.
    pub include_request_attempt_count: bool,
    /// For routes that do not say it themselves.
    pub request_buffer: RequestBuffer,
}

/// `envoy.config.route.v3.Route`
#[derive(Debug)]
pub struct Route {
    /// Name, for stats and logs; may be empty.
    pub name: String,
    /// Which requests it serves.
    pub criteria: RouteMatch,
    /// What is done with them.
    pub action: RouteAction,
    /// For rules; empty if there is none.
    pub metadata: Metadata,
    /// Changes at this level.
    pub headers: HeaderMutations,
    /// What filters do differently at this level.
    pub per_filter: PerFilterConfig,
    /// How much of a request's body is kept.
    pub request_buffer: RequestBuffer,
}

/// `envoy.config.route.v3.RouteMatch`: all must hold.
#[derive(Debug)]
pub struct RouteMatch {
    /// The path, without query and fragment.
    pub path: PathMatch,
    /// Whether ASCII case counts in `path`. Not for regular expressions.
    pub case_sensitive: bool,
    /// Headers.
    pub headers: Vec<HeaderMatcher>,
    /// Query parameters.
    pub query: Vec<QueryParameterMatcher>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Share of requests; none: all.
    pub fraction: Option<RuntimePercent>,
}

/// How the path is matched.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Begins with.
    Prefix(String),
    /// Is.
    Path(String),
    /// Is, or begins with this and a `/`.
    PathSeparatedPrefix(String),
    /// Matches as a whole.
    Regex(Regex),
    /// There is no path: the request asks for a tunnel. No other route serves it.
    Connect,
}

/// `envoy.config.route.v3.HeaderMatcher`
#[derive(Debug)]
pub struct HeaderMatcher {
    /// Lower case; pseudo headers (`:method`, `:authority`, `:path`, `:scheme`) are allowed.
    pub name: String,
    /// What must hold.
    pub condition: HeaderCondition,
    /// The opposite must hold.
    pub invert: bool,
    /// An absent header counts as an empty one.
    pub treat_missing_as_empty: bool,
}

/// What must hold of a header.
#[derive(Debug)]
pub enum HeaderCondition {
    /// Its value; several headers of one name are joined by `,`.
    Value(StringMatcher),
    /// Its value as a number within `start..end`.
    Range {
        /// Inclusive.
        start: i64,
        /// Exclusive.
        end: i64,
    },
    /// There (`true`) or not (`false`).
    Present(bool),
}

/// `envoy.config.route.v3.QueryParameterMatcher`
#[derive(Debug)]
pub struct QueryParameterMatcher {
    /// Name of the parameter.
    pub name: String,
    /// Its value; none: it is there.
    pub value: Option<StringMatcher>,
}

/// What a route does.
#[derive(Debug)]
pub enum RouteAction {
    /// `route`
    Forward(Box<Forward>),
    /// `redirect`
    Redirect(Box<Redirect>),
    /// `direct_response`
    DirectResponse {
        /// 100 to 599.
        status: u16,
        /// May be empty.
        body: Bytes,
    },
}

/// `envoy.config.route.v3.RouteAction`
#[derive(Debug)]
pub struct Forward {
    /// Which cluster.
    pub target: ForwardTarget,
    /// From the end of the request to the end of the response. Envoy's default is 15 s.
    pub timeout: Option<Duration>,
    /// No byte of the stream either way for this long; overrides the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// `idle_timeout` was set (0 turns the connection manager's off).
    pub idle_timeout_set: bool,
    /// When and how often a failed attempt is repeated.
    pub retry_policy: Option<RetryPolicy>,
    /// What becomes of the path.
    pub path_rewrite: Option<PathRewrite>,
    /// What becomes of `Host`.
    pub host_rewrite: HostRewrite,
    /// With a host rewrite, put the original into `x-forwarded-host`.
    pub append_x_forwarded_host: bool,
    /// What endpoints must have, where the cluster has subsets.
    pub metadata_match: Option<MetadataMatch>,
    /// What chooses the endpoint where the cluster goes by a hash.
    pub hash_policy: Vec<HashPolicy>,
    /// Upgrades by name, lower case, and whether they are allowed; overrides the connection
    /// manager's.
    pub upgrades: Vec<(String, bool)>,
    /// Where no level has CORS policies of filters.
    pub cors: Option<Box<CorsPolicy>>,
    /// Who else is sent a copy.
    pub mirrors: Vec<MirrorPolicy>,
    /// Which circuit breakers of the cluster it falls under.
    pub priority: RoutingPriority,
    /// Status when the cluster does not exist.
    pub cluster_not_found_status: u16,
}

/// `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`
#[derive(Debug)]
pub struct MirrorPolicy {
    /// The cluster that is sent copies.
    pub cluster: String,
    /// Of which share of the requests; none: of all.
    pub share: Option<RuntimePercent>,
    /// The host stays as it is, and is not marked as that of a copy.
    pub keeps_host: bool,
}

/// Which cluster a request goes to.
#[derive(Debug)]
pub enum ForwardTarget {
    /// This one.
    Cluster(String),
    /// The one named by this header (lower case).
    ClusterHeader(String),
    /// One of these, by weight.
    Weighted {
        /// The clusters.
        clusters: Vec<RouteWeightedCluster>,
        /// Sum of the weights, at least 1.
        total: u64,
    },
}

/// `WeightedCluster.ClusterWeight`
#[derive(Debug)]
pub struct RouteWeightedCluster {
    /// Name of the cluster.
    pub name: String,
    /// Share.
    pub weight: u32,
    /// What endpoints must have, that of the route included.
    pub metadata_match: Option<MetadataMatch>,
    /// Changes at this level.
    pub headers: HeaderMutations,
    /// What filters do differently at this level.
    pub per_filter: PerFilterConfig,
}

/// What becomes of the path.
#[derive(Debug, Clone)]
pub enum PathRewrite {
    /// The matched prefix (or path) becomes this.
    Prefix(String),
    /// The path, query apart, is rewritten.
    Regex {
        /// What is replaced, everywhere.
        pattern: Regex,
        /// With what; `${1}` for a group (the converter translates `\1`).
        substitution: String,
    },
}

/// What becomes of `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// Nothing.
    Keep,
    /// It becomes this.
    Literal(String),
    /// It becomes the endpoint's hostname.
    Auto,
    /// It becomes the value of this header (lower case).
    Header(String),
}

/// `envoy.config.route.v3.RetryPolicy`
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// On what.
    pub on: RetryOn,
    /// How often at most.
    pub num_retries: u32,
    /// Bound of one attempt.
    pub per_try_timeout: Option<Duration>,
    /// Statuses that `retriable-status-codes` means.
    pub retriable_status_codes: Vec<u16>,
    /// Which hosts further attempts go to; none: any that was not tried, if there is one.
    pub hosts: Option<Box<HostSelection>>,
    /// Mean of the first back-off. Envoy's default is 25 ms.
    pub base_interval: Duration,
    /// Bound of the back-off. Envoy's default is ten times the base.
    pub max_interval: Duration,
}

/// `retry_on` and `retry_grpc_on`, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a condition of Envoy's list"
)]
pub struct RetryOn {
    /// `5xx`
    pub server_error: bool,
    /// `gateway-error`
    pub gateway_error: bool,
    /// `reset`
    pub reset: bool,
    /// `reset-before-request`
    pub reset_before_request: bool,
    /// `connect-failure`
    pub connect_failure: bool,
    /// `refused-stream`
    pub refused_stream: bool,
    /// `retriable-4xx`
    pub retriable_4xx: bool,
    /// `retriable-status-codes`
    pub retriable_status_codes: bool,
    /// gRPC `cancelled`
    pub grpc_cancelled: bool,
    /// gRPC `deadline-exceeded`
    pub grpc_deadline_exceeded: bool,
    /// gRPC `internal`
    pub grpc_internal: bool,
    /// gRPC `resource-exhausted`
    pub grpc_resource_exhausted: bool,
    /// gRPC `unavailable`
    pub grpc_unavailable: bool,
}

/// `envoy.config.route.v3.RedirectAction`
#[derive(Debug)]
pub struct Redirect {
    /// `http` or `https`; none: as it was.
    pub scheme: Option<String>,
    /// New host; none: as it was.
    pub host: Option<String>,
    /// New port; none: as it was.
    pub port: Option<u16>,
    /// New path; none: as it was.
    pub path: Option<RedirectPath>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Drop the query.
    pub strip_query: bool,
}

/// New path of a redirect.
#[derive(Debug, Clone)]
pub enum RedirectPath {
    /// `path_redirect`: all of it, with its own query if it has one.
    Full(String),
    /// `prefix_rewrite` or `regex_rewrite`.
    Rewrite(PathRewrite),
}
