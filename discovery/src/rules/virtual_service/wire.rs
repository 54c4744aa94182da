//! `VirtualService` as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::rules::istio::Span;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct HttpRoute {
    pub(super) name: Option<String>,
    #[serde(rename = "match")]
    pub(super) matches: Option<Vec<HttpMatch>>,
    pub(super) route: Option<Vec<HttpDestination>>,
    pub(super) redirect: Option<Redirect>,
    pub(super) direct_response: Option<DirectResponse>,
    pub(super) delegate: Option<Delegate>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) timeout: Option<Span>,
    pub(super) retries: Option<Retries>,
    pub(super) fault: Option<Fault>,
    pub(super) mirror: Option<Destination>,
    pub(super) mirrors: Option<Vec<Mirror>>,
    #[serde(alias = "mirror_percent")]
    pub(super) mirror_percent: Option<u32>,
    pub(super) mirror_percentage: Option<Percent>,
    pub(super) cors_policy: Option<Cors>,
    pub(super) headers: Option<Headers>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct HttpMatch {
    pub(super) name: Option<String>,
    pub(super) uri: Option<StringMatch>,
    pub(super) scheme: Option<StringMatch>,
    pub(super) method: Option<StringMatch>,
    pub(super) authority: Option<StringMatch>,
    pub(super) headers: Option<BTreeMap<String, StringMatch>>,
    pub(super) without_headers: Option<BTreeMap<String, StringMatch>>,
    pub(super) query_params: Option<BTreeMap<String, StringMatch>>,
    pub(super) ignore_uri_case: Option<bool>,
    pub(super) port: Option<u16>,
    pub(super) source_labels: Option<BTreeMap<String, String>>,
    pub(super) source_namespace: Option<String>,
    pub(super) gateways: Option<Vec<String>>,
    pub(super) stat_prefix: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StringMatch {
    pub(super) exact: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) regex: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpDestination {
    pub(super) destination: Option<Destination>,
    pub(super) weight: Option<u32>,
    pub(super) headers: Option<Headers>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) subset: Option<String>,
    pub(super) port: Option<PortSelector>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PortSelector {
    pub(super) number: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Headers {
    pub(super) request: Option<HeaderOperations>,
    pub(super) response: Option<HeaderOperations>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HeaderOperations {
    pub(super) set: Option<BTreeMap<String, String>>,
    pub(super) add: Option<BTreeMap<String, String>>,
    pub(super) remove: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Redirect {
    pub(super) uri: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) derive_port: Option<DerivePort>,
    pub(super) scheme: Option<String>,
    pub(super) redirect_code: Option<u16>,
    pub(super) prefix_rewrite: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum DerivePort {
    FromProtocolDefault,
    FromRequestPort,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DirectResponse {
    pub(super) status: u16,
    pub(super) body: Option<Body>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Body {
    pub(super) string: Option<String>,
    pub(super) bytes: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Delegate {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Rewrite {
    pub(super) uri: Option<String>,
    pub(super) authority: Option<String>,
    pub(super) uri_regex_rewrite: Option<RegexRewrite>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RegexRewrite {
    #[serde(rename = "match")]
    pub(super) pattern: String,
    pub(super) rewrite: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Retries {
    pub(super) attempts: u32,
    pub(super) per_try_timeout: Option<Span>,
    pub(super) retry_on: Option<String>,
    pub(super) backoff: Option<Span>,
    pub(super) retry_remote_localities: Option<bool>,
    pub(super) retry_ignore_previous_hosts: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fault {
    pub(super) delay: Option<Delay>,
    pub(super) abort: Option<Abort>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Delay {
    pub(super) fixed_delay: Option<Span>,
    pub(super) percentage: Option<Percent>,
    pub(super) percent: Option<u32>,
    pub(super) exponential_delay: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Abort {
    pub(super) http_status: Option<u16>,
    pub(super) grpc_status: Option<String>,
    pub(super) percentage: Option<Percent>,
    #[serde(rename = "http2Error")]
    pub(super) http2_error: Option<Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Percent {
    pub(super) value: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mirror {
    pub(super) destination: Option<Destination>,
    pub(super) percentage: Option<Percent>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Cors {
    pub(super) allow_origins: Option<Vec<StringMatch>>,
    pub(super) allow_origin: Option<Vec<String>>,
    pub(super) allow_methods: Option<Vec<String>>,
    pub(super) allow_headers: Option<Vec<String>>,
    pub(super) expose_headers: Option<Vec<String>>,
    pub(super) max_age: Option<Span>,
    pub(super) allow_credentials: Option<bool>,
    pub(super) unmatched_preflights: Option<UnmatchedPreflights>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum UnmatchedPreflights {
    Unspecified,
    Forward,
    Ignore,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamRoute<M> {
    #[serde(rename = "match")]
    pub(super) matches: Option<Vec<M>>,
    pub(super) route: Option<Vec<RouteDestination>>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TlsMatch {
    pub(super) sni_hosts: Option<Vec<String>>,
    pub(super) destination_subnets: Option<Vec<String>>,
    pub(super) port: Option<u16>,
    pub(super) source_labels: Option<BTreeMap<String, String>>,
    pub(super) gateways: Option<Vec<String>>,
    pub(super) source_namespace: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TcpMatch {
    pub(super) destination_subnets: Option<Vec<String>>,
    pub(super) port: Option<u16>,
    pub(super) source_labels: Option<BTreeMap<String, String>>,
    pub(super) gateways: Option<Vec<String>>,
    pub(super) source_namespace: Option<String>,
    pub(super) source_subnet: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteDestination {
    pub(super) destination: Option<Destination>,
    pub(super) weight: Option<u32>,
}
