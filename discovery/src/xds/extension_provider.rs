//! Services that policies of the action `CUSTOM` have asked, as people name them for the whole mesh.
//!
//! <https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider>

mod validate;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize, de::Error as _};

pub(super) use validate::status_of;

/// The longest time that resources can say: 10 000 years.
const LONGEST: Duration = Duration::from_secs(315_576_000_000);

/// A service, and the name that policies call it by. Exactly one kind is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtensionProvider {
    /// Its name.
    pub name: String,
    /// It is asked over HTTP.
    pub envoy_ext_authz_http: Option<ExtAuthzHttp>,
    /// It is asked over gRPC: `envoy.service.auth.v3.Authorization`.
    pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
}

/// A service that is asked over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtAuthzHttp {
    /// Its host, such as `authz.auth.svc.cluster.local`; Istio's `NAMESPACE/HOST` is understood.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// How long an answer may take; Istio's default is 600 s.
    pub timeout: Option<Timeout>,
    /// Stands before the path that is asked about.
    pub path_prefix: String,
    /// Requests pass if nobody has decided.
    pub fail_open: bool,
    /// Answered if nobody has decided; 403 if it is not given.
    pub status_on_error: Option<String>,
    /// Headers that are sent: `x-a`, `x-a*`, `*-a`.
    pub include_request_headers_in_check: Vec<String>,
    /// An older name of the same; names alone.
    pub include_headers_in_check: Vec<String>,
    /// Headers that are added to what is asked.
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// How much of the body is sent.
    pub include_request_body_in_check: Option<RequestBody>,
    /// Headers of a permission that the request goes on with.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Headers of a refusal that the client gets.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// Headers of a permission that the client gets.
    pub headers_to_downstream_on_allow: Vec<String>,
    /// Routes are chosen again once the request's head has changed.
    pub clear_route_cache: bool,
}

/// A service that is asked over gRPC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtAuthzGrpc {
    /// Its host.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// How long an answer may take; Istio's default is 600 s.
    pub timeout: Option<Timeout>,
    /// Requests pass if nobody has decided.
    pub fail_open: bool,
    /// Answered if nobody has decided; 403 if it is not given.
    pub status_on_error: Option<String>,
    /// How much of the body is sent.
    pub include_request_body_in_check: Option<RequestBody>,
    /// Routes are chosen again once the request's head has changed.
    pub clear_route_cache: bool,
}

/// How much of a body is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestBody {
    /// At most so many bytes.
    pub max_request_bytes: u32,
    /// Of a longer body the beginning is sent; else it is answered 413.
    pub allow_partial_message: bool,
    /// It is sent as bytes; else as text.
    pub pack_as_bytes: bool,
}

/// A duration as Istio writes it: `600s`, `1.5s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timeout(pub Duration);

// === impl ExtensionProvider ===

impl ExtensionProvider {
    /// Host and port of the service.
    pub(super) fn target(&self) -> Option<(&str, u16)> {
        let http = self.envoy_ext_authz_http.as_ref();
        let grpc = self.envoy_ext_authz_grpc.as_ref();
        let (service, port) = http
            .map(|it| (&it.service, it.port))
            .or(grpc.map(|it| (&it.service, it.port)))?;
        Some((host_of(service), port))
    }
}

/// The host of a service; Istio's `NAMESPACE/HOST` is understood.
pub(super) fn host_of(service: &str) -> &str {
    service.split_once('/').map_or(service, |(_, host)| host)
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let number = |unit: &str| text.strip_suffix(unit)?.parse::<f64>().ok();
        let seconds = number("ms").map(|ms| ms / 1000.0).or_else(|| number("s"));
        let duration = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
        let duration = duration.filter(|it| !it.is_zero() && *it <= LONGEST);
        duration
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{text:?}: must be as 600s or 500ms")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_of_one_kind_and_names_its_service() {
        let check = |text: &str| {
            let provider: ExtensionProvider =
                serde_json::from_str(text).map_err(|it| it.to_string())?;
            provider.validate().map(|()| provider)
        };
        let grpc = check(
            r#"{"name":"a","envoyExtAuthzGrpc":{"service":"ns/authz.ns.svc","port":9000,"timeout":"500ms"}}"#,
        );
        let grpc = grpc.expect("a provider");
        assert_eq!(grpc.target(), Some(("authz.ns.svc", 9000)));
        let timeout = grpc.envoy_ext_authz_grpc.expect("it").timeout;
        assert_eq!(timeout, Some(Timeout(Duration::from_millis(500))));
        for wrong in [
            r#"{"name":"a","envoyExtAuthzGrpc":{"service":"a","port":1,"timeout":"1"}}"#,
            r#"{"name":"a","envoyExtAuthzGrpc":{"service":"a","port":1,"timeout":"0s"}}"#,
            r#"{"name":"a","envoyExtAuthzGrpc":{"service":"a","port":1,"timeout":"1e18s"}}"#,
            r#"{"name":"a","zipkin":{"service":"a","port":1}}"#,
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
