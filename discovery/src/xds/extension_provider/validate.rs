//! What makes no sense in the settings of a service that is asked. Sidecars would refuse the listener.

use std::collections::BTreeMap;

use weir_api::xds::envoy::r#type::v3::StatusCode;

use super::{ExtAuthzHttp, ExtensionProvider, RequestBody, host_of};
use crate::header::{is_token, is_value};

/// Where it is wrong, and how.
type Wrong = (&'static str, String);

impl ExtensionProvider {
    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// It has no name, is of no kind or of two, or a part of it cannot be heeded: with the name, the field
    /// and its value.
    pub fn validate(&self) -> Result<(), String> {
        let name = &self.name;
        if name.is_empty() {
            return Err("extensionProviders: name: required".to_owned());
        }
        let (kind, wrong) = match (&self.envoy_ext_authz_http, &self.envoy_ext_authz_grpc) {
            (Some(it), None) => {
                let common = common(
                    &it.service,
                    it.port,
                    it.status_on_error.as_deref(),
                    it.include_request_body_in_check,
                );
                ("envoyExtAuthzHttp", common.and_then(|()| of_http(it)))
            }
            (None, Some(it)) => {
                let common = common(
                    &it.service,
                    it.port,
                    it.status_on_error.as_deref(),
                    it.include_request_body_in_check,
                );
                ("envoyExtAuthzGrpc", common)
            }
            _ => {
                return Err(format!(
                    "extensionProviders: {name:?}: one of envoyExtAuthzHttp and envoyExtAuthzGrpc is needed"
                ));
            }
        };
        wrong.map_err(|(field, reason)| {
            format!("extensionProviders: {name:?}: {kind}.{field}: {reason}")
        })
    }
}

/// What both kinds have.
fn common(
    service: &str,
    port: u16,
    status: Option<&str>,
    body: Option<RequestBody>,
) -> Result<(), Wrong> {
    let host = host_of(service);
    let stands = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if service.is_empty() {
        return Err(("service", "required".to_owned()));
    }
    if host.is_empty() || !host.bytes().all(stands) {
        return Err((
            "service",
            format!("{service:?}: must be the name of a host"),
        ));
    }
    if port == 0 {
        return Err(("port", "required".to_owned()));
    }
    if let Some(status) = status.filter(|status| status_of(status).is_none()) {
        let reason = format!("{status:?}: must be a status from 400 to 599 that Envoy knows");
        return Err(("statusOnError", reason));
    }
    if body.is_some_and(|it| it.max_request_bytes == 0) {
        let field = "includeRequestBodyInCheck.maxRequestBytes";
        return Err((field, "must be above 0".to_owned()));
    }
    Ok(())
}

/// What is asked over HTTP alone.
fn of_http(http: &ExtAuthzHttp) -> Result<(), Wrong> {
    let prefix = &http.path_prefix;
    let is_path = prefix.starts_with('/') && prefix.bytes().all(|byte| byte.is_ascii_graphic());
    if !prefix.is_empty() && !is_path {
        return Err(("pathPrefix", format!("{prefix:?}: must begin with /")));
    }
    for (field, names) in [
        (
            "includeRequestHeadersInCheck",
            &http.include_request_headers_in_check,
        ),
        (
            "headersToUpstreamOnAllow",
            &http.headers_to_upstream_on_allow,
        ),
        (
            "headersToDownstreamOnDeny",
            &http.headers_to_downstream_on_deny,
        ),
        (
            "headersToDownstreamOnAllow",
            &http.headers_to_downstream_on_allow,
        ),
    ] {
        let mut names = names.iter();
        if let Some(name) = names.find(|name| !is_pattern(name)) {
            let reason = format!("{name:?}: must be a header, as x-a, x-a* or *-a");
            return Err((field, reason));
        }
    }
    let mut names = http.include_headers_in_check.iter();
    if let Some(name) = names.find(|name| !is_token(name) || name.contains('*')) {
        let reason = format!("{name:?}: must be the name of a header");
        return Err(("includeHeadersInCheck", reason));
    }
    additions(&http.include_additional_headers_in_check)
}

fn additions(headers: &BTreeMap<String, String>) -> Result<(), Wrong> {
    let mut headers = headers.iter();
    let wrong = headers.find(|(name, value)| !is_token(name) || !is_value(value));
    wrong.map_or(Ok(()), |(name, value)| {
        let reason = format!("{name:?}: {value:?}: must be a header and its value");
        Err(("includeAdditionalHeadersInCheck", reason))
    })
}

/// A star stands for anything at either end.
fn is_pattern(name: &str) -> bool {
    let rest = name.strip_suffix('*').or_else(|| name.strip_prefix('*'));
    let rest = rest.unwrap_or(name);
    is_token(rest) && !rest.contains('*')
}

/// A status, as text.
pub(in crate::xds) fn status_of(text: &str) -> Option<u16> {
    let status = text.parse::<u16>().ok()?;
    let is_known = StatusCode::try_from(i32::from(status)).is_ok();
    (is_known && (400..600).contains(&status)).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sidecars_would_refuse_is_refused_with_provider_field_and_value() {
        let check = |text: &str| {
            let provider: ExtensionProvider = yaml_serde::from_str(text).expect(text);
            provider.validate().err().unwrap_or_default()
        };
        let fine = "service: ns/authz.ns.svc, port: 9000, statusOnError: '503', pathPrefix: /a, \
            includeRequestHeadersInCheck: [x-a, x-a*, '*-a'], includeHeadersInCheck: [x-b], \
            includeAdditionalHeadersInCheck: {x-by: '100% mesh'}";
        assert_eq!(
            check(&format!("{{name: a, envoyExtAuthzHttp: {{{fine}}}}}")),
            ""
        );
        for (more, wrong) in [
            ("service: ''", "service: required"),
            (
                "service: 'http://a'",
                "service: \"http://a\": must be the name",
            ),
            ("service: ns/", "service: \"ns/\": must be the name"),
            ("service: a, port: 0", "port: required"),
            ("service: a, statusOnError: '200'", "statusOnError: \"200\""),
            ("service: a, statusOnError: '420'", "statusOnError: \"420\""),
            (
                "service: a, includeRequestBodyInCheck: {}",
                "includeRequestBodyInCheck.maxRequestBytes",
            ),
            ("service: a, pathPrefix: check", "pathPrefix: \"check\""),
            (
                "service: a, includeRequestHeadersInCheck: ['*']",
                "includeRequestHeadersInCheck: \"*\"",
            ),
            (
                "service: a, headersToUpstreamOnAllow: ['*a*']",
                "headersToUpstreamOnAllow: \"*a*\"",
            ),
            (
                "service: a, headersToDownstreamOnDeny: ['a b']",
                "headersToDownstreamOnDeny: \"a b\"",
            ),
            (
                "service: a, headersToDownstreamOnAllow: ['']",
                "headersToDownstreamOnAllow: \"\"",
            ),
            (
                "service: a, includeHeadersInCheck: [x-*]",
                "includeHeadersInCheck: \"x-*\"",
            ),
            (
                "service: a, includeAdditionalHeadersInCheck: {'a b': c}",
                "includeAdditionalHeadersInCheck: \"a b\"",
            ),
            (
                "service: a, includeAdditionalHeadersInCheck: {a: \"b\\n\"}",
                "includeAdditionalHeadersInCheck: \"a\"",
            ),
        ] {
            let port = if more.contains("port") {
                ""
            } else {
                ", port: 1"
            };
            let said = check(&format!("{{name: a, envoyExtAuthzHttp: {{{more}{port}}}}}"));
            let expected = format!("extensionProviders: \"a\": envoyExtAuthzHttp.{wrong}");
            assert!(said.starts_with(&expected), "{more}: {said}");
        }
        for (wrong, reason) in [
            (
                "{envoyExtAuthzGrpc: {service: a, port: 1}}",
                "name: required",
            ),
            ("{name: a}", "one of"),
            (
                "{name: a, envoyExtAuthzGrpc: {service: a, port: 1}, envoyExtAuthzHttp: {service: a, port: 1}}",
                "one of",
            ),
            (
                "{name: a, envoyExtAuthzGrpc: {service: a}}",
                "envoyExtAuthzGrpc.port: required",
            ),
        ] {
            let said = check(wrong);
            assert!(said.contains(reason), "{wrong}: {said}");
        }
    }
}
