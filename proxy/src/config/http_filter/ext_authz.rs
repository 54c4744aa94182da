//! `envoy.filters.http.ext_authz`

use std::{collections::BTreeMap, sync::Arc};

use regex::Regex;

use crate::{
    config::{
        feature_flag::FeatureFlag,
        header::HeaderAddition,
        matcher::StringMatcher,
        metadata::MetadataMatcher,
        service::{GrpcService, HttpUri},
    },
    runtime::RuntimePercent,
};

/// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`
#[derive(Debug)]
pub struct ExtAuthz {
    /// Who decides.
    pub service: AuthorizationService,
    /// Requests pass if nobody has decided.
    pub failure_mode_allow: bool,
    /// Such a request says so in a header.
    pub failure_mode_allow_header_add: bool,
    /// How much of the request's body is sent.
    pub with_request_body: Option<BodySettings>,
    /// The route is chosen again once the request's head has changed.
    pub clear_route_cache: bool,
    /// Answered if nobody has decided.
    pub status_on_error: u16,
    /// A decision with changes that cannot be made is answered 500.
    pub validate_mutations: bool,
    /// Namespaces of dynamic metadata that are sent.
    pub metadata_namespaces: Vec<String>,
    /// Namespaces of the route's metadata that are sent.
    pub route_metadata_namespaces: Vec<String>,
    /// Share of requests that are asked about; none: all.
    pub enabled: Option<RuntimePercent>,
    /// Only requests of which this holds are asked about.
    pub enabled_metadata: Option<MetadataMatcher>,
    /// Requests that are not asked about are refused.
    pub deny_at_disable: Option<FeatureFlag>,
    /// The client's certificate is sent.
    pub include_peer_certificate: bool,
    /// What is known of the TLS session is sent.
    pub include_tls_session: bool,
    /// Part of stat names, with a dot behind it; may be empty.
    pub stat_prefix: String,
    /// Headers that are sent; none: what the kind of service has for a default.
    pub allowed_headers: Option<Vec<StringMatcher>>,
    /// Headers that are not sent all the same.
    pub disallowed_headers: Vec<StringMatcher>,
    /// Headers are sent line by line, as bytes.
    pub encode_raw_headers: bool,
    /// Which headers the service may change; none: any.
    pub mutation_rules: Option<MutationRules>,
    /// What the service says in dynamic metadata is heeded.
    pub takes_metadata: bool,
    /// Refusals count as responses of the route's cluster.
    pub charge_cluster_response_stats: bool,
    /// Longest body of a refusal, bytes; none: any.
    pub max_denied_body: Option<usize>,
}

/// Who decides.
#[derive(Debug, Clone)]
pub enum AuthorizationService {
    /// `envoy.service.auth.v3.Authorization`
    Grpc(Arc<GrpcService>),
    /// A request is answered as the client's is to be.
    Http(Arc<HttpService>),
}

/// `envoy.extensions.filters.http.ext_authz.v3.HttpService`
#[derive(Debug)]
pub struct HttpService {
    /// Whom to ask.
    pub server: HttpUri,
    /// What path is asked for.
    pub path: AskedPath,
    /// Headers that are sent, from the service's own list.
    pub allowed_headers: Vec<StringMatcher>,
    /// Headers that the filter adds to what it asks.
    pub headers_to_add: Vec<HeaderAddition>,
    /// Of a permission: headers that the request goes on with, in place of its own.
    pub allowed_upstream_headers: Vec<StringMatcher>,
    /// The same, beside its own.
    pub allowed_upstream_headers_to_append: Vec<StringMatcher>,
    /// Of a refusal: headers that the client gets; none: all but `host`.
    pub allowed_client_headers: Option<Vec<StringMatcher>>,
    /// Of a permission: headers that the client gets.
    pub allowed_client_headers_on_success: Vec<StringMatcher>,
    /// Headers that become dynamic metadata.
    pub dynamic_metadata_from_headers: Vec<StringMatcher>,
}

/// The path of a question over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedPath {
    /// The request's, behind this.
    Behind(String),
    /// This, whatever the request's is.
    Always(String),
}

/// `envoy.extensions.filters.http.ext_authz.v3.BufferSettings`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodySettings {
    /// At most so many bytes are sent.
    pub max_request_bytes: u32,
    /// Of a longer body the beginning is sent; else it is answered 413.
    pub allow_partial_message: bool,
    /// It is sent as bytes; else as text.
    pub pack_as_bytes: bool,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutationRules`
#[derive(Debug)]
pub struct MutationRules {
    /// Host, scheme and method may be changed.
    pub allow_all_routing: bool,
    /// Headers that begin with `x-envoy` may be.
    pub allow_envoy: bool,
    /// Pseudo headers may not be.
    pub disallow_system: bool,
    /// Nothing may be.
    pub disallow_all: bool,
    /// What may be, whatever else is said.
    pub allow_expression: Option<Regex>,
    /// What may not be in any case.
    pub disallow_expression: Option<Regex>,
    /// A change that may not be made is answered 500.
    pub disallow_is_error: bool,
}

/// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute`
#[derive(Debug)]
pub enum ExtAuthzPerRoute {
    /// Whether requests are not asked about.
    Disabled(bool),
    /// How they are asked about.
    Check(Box<CheckSettings>),
}

/// `envoy.extensions.filters.http.ext_authz.v3.CheckSettings`
#[derive(Debug)]
pub struct CheckSettings {
    /// Told to a service of gRPC; those of more specific levels count.
    pub context_extensions: BTreeMap<String, String>,
    /// The body is not sent.
    pub disable_request_body_buffering: bool,
    /// How much of the body is sent here.
    pub with_request_body: Option<BodySettings>,
    /// Who decides here.
    pub service: Option<AuthorizationService>,
}

// === impl MutationRules ===

impl MutationRules {
    /// Whether a header of this lower-case name may be set or added.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let matches = |regex: &Option<Regex>| {
            let regex = regex.as_ref();
            regex.is_some_and(|regex| super::super::matcher::matches_whole(regex, name))
        };
        if matches(&self.disallow_expression) {
            return false;
        }
        if matches(&self.allow_expression) {
            return true;
        }
        let is_routing = matches!(name, "host" | ":authority" | ":scheme" | ":method");
        !(name.starts_with(':') && self.disallow_system
            || self.disallow_all
            || is_routing && !self.allow_all_routing
            || name.starts_with("x-envoy") && !self.allow_envoy)
    }
}

impl AuthorizationService {
    /// The cluster that is asked.
    #[must_use]
    pub fn cluster(&self) -> &str {
        match self {
            Self::Grpc(service) => &service.cluster,
            Self::Http(service) => &service.server.cluster,
        }
    }
}
