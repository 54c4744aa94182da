//! Routes as they are written. Parts are read one by one, so that one that is wrong spoils no other.

use std::collections::BTreeMap;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

/// What a route says, of whatever kind.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Route {
    pub(super) parent_refs: Option<Vec<Value>>,
    /// For gateways: a service is chosen by its address.
    pub(super) hostnames: Option<IgnoredAny>,
    /// For gateways.
    pub(super) use_default_gateways: Option<IgnoredAny>,
    pub(super) rules: Option<Vec<Value>>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    pub(super) matches: Option<Vec<Value>>,
    pub(super) filters: Option<Vec<Value>>,
    pub(super) backend_refs: Option<Vec<Value>>,
    pub(super) timeouts: Option<Value>,
    pub(super) retry: Option<Value>,
    pub(super) session_persistence: Option<IgnoredAny>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ParentRef {
    #[serde(rename = "group")]
    pub(super) _group: IgnoredAny,
    #[serde(rename = "kind")]
    pub(super) _kind: IgnoredAny,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) section_name: Option<String>,
    pub(super) port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BackendRef {
    pub(super) group: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) port: Option<u16>,
    pub(super) weight: Option<u32>,
    pub(super) filters: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HttpMatch {
    pub(super) path: Option<TypedValue>,
    pub(super) headers: Option<Vec<NamedValue>>,
    pub(super) query_params: Option<Vec<NamedValue>>,
    pub(super) method: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrpcMatch {
    pub(super) method: Option<GrpcMethod>,
    pub(super) headers: Option<Vec<NamedValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrpcMethod {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) service: Option<String>,
    pub(super) method: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypedValue {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedValue {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) request_header_modifier: Option<Value>,
    pub(super) response_header_modifier: Option<Value>,
    pub(super) request_redirect: Option<Value>,
    pub(super) url_rewrite: Option<Value>,
    pub(super) request_mirror: Option<Value>,
    pub(super) cors: Option<Value>,
    /// Of kinds that nobody honours here.
    #[serde(rename = "extensionRef")]
    pub(super) _extension_ref: Option<IgnoredAny>,
    #[serde(rename = "externalAuth")]
    pub(super) _external_auth: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderModifier {
    pub(super) set: Option<Vec<Header>>,
    pub(super) add: Option<Vec<Header>>,
    pub(super) remove: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RequestRedirect {
    pub(super) scheme: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) path: Option<PathModifier>,
    pub(super) port: Option<u16>,
    pub(super) status_code: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UrlRewrite {
    pub(super) hostname: Option<String>,
    pub(super) path: Option<PathModifier>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PathModifier {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) replace_full_path: Option<String>,
    pub(super) replace_prefix_match: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RequestMirror {
    pub(super) backend_ref: Value,
    pub(super) percent: Option<u32>,
    pub(super) fraction: Option<Fraction>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fraction {
    pub(super) numerator: u32,
    pub(super) denominator: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Cors {
    pub(super) allow_origins: Option<Vec<String>>,
    pub(super) allow_credentials: Option<bool>,
    pub(super) allow_methods: Option<Vec<String>>,
    pub(super) allow_headers: Option<Vec<String>>,
    pub(super) expose_headers: Option<Vec<String>>,
    pub(super) max_age: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) request: Option<String>,
    pub(super) backend_request: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) codes: Option<Vec<u16>>,
    pub(super) attempts: Option<u32>,
    pub(super) backoff: Option<String>,
}

/// A part that must be there if the filter's type says so.
pub(super) fn part<T: DeserializeOwned>(
    faults: &mut super::fault::Faults,
    at: &str,
    value: Option<&Value>,
) -> Option<T> {
    match value {
        Some(value) => faults.typed(at, value),
        None => {
            faults.malformed(
                at,
                "is missing, and the filter's type asks for it: write it",
            );
            None
        }
    }
}
