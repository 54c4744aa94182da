//! A service that is asked over HTTP.

use std::sync::Arc;

use weir_api::xds::envoy::{
    config::core::v3::HeaderValue, extensions::filters::http::ext_authz::v3 as pb,
    r#type::matcher::v3::ListStringMatcher,
};

use super::{
    super::super::{
        at::{At, take},
        service::http_uri,
        value::{header_name, header_value},
    },
    matchers,
};
use crate::config::{
    format::Format,
    header::{AppendAction, HeaderAddition},
    http_filter::ext_authz::{AskedPath, AuthorizationService, HttpService},
    matcher::StringMatcher,
};

pub(super) fn http_service(at: &At<'_>, message: pb::HttpService) -> Option<AuthorizationService> {
    take!(at, message => pb::HttpService {
        supported: server_uri, path_prefix, path_override, authorization_request,
            authorization_response;
        refused: retry_policy;
    });
    let at_uri = at.field("server_uri");
    let server = at_uri.required(server_uri);
    let server = server.and_then(|message| http_uri(&at_uri, message));
    for (name, path) in [
        ("path_prefix", &path_prefix),
        ("path_override", &path_override),
    ] {
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !path.is_empty() && !is_path {
            at.field(name).error(format!("{path:?}: must begin with /"));
        }
    }
    if !path_prefix.is_empty() && !path_override.is_empty() {
        at.field("path_override")
            .error("cannot be set together with path_prefix");
    }
    let at_request = at.field("authorization_request");
    let request = authorization_request.unwrap_or_default();
    take!(at_request, request => pb::AuthorizationRequest {
        supported: allowed_headers, headers_to_add;
    });
    let at_response = at.field("authorization_response");
    let response = authorization_response.unwrap_or_default();
    take!(at_response, response => pb::AuthorizationResponse {
        supported: allowed_upstream_headers, allowed_upstream_headers_to_append,
            allowed_client_headers, allowed_client_headers_on_success,
            dynamic_metadata_from_headers;
    });
    let of_response = |name: &str, list: Option<ListStringMatcher>| -> Vec<StringMatcher> {
        matchers(&at_response.field(name), list)
    };
    Some(AuthorizationService::Http(Arc::new(HttpService {
        path: match path_override {
            path if path.is_empty() => AskedPath::Behind(path_prefix),
            path => AskedPath::Always(path),
        },
        allowed_headers: matchers(&at_request.field("allowed_headers"), allowed_headers),
        headers_to_add: additions(&at_request.field("headers_to_add"), headers_to_add),
        allowed_upstream_headers: of_response("allowed_upstream_headers", allowed_upstream_headers),
        allowed_upstream_headers_to_append: of_response(
            "allowed_upstream_headers_to_append",
            allowed_upstream_headers_to_append,
        ),
        allowed_client_headers: allowed_client_headers
            .map(|list| of_response("allowed_client_headers", Some(list))),
        allowed_client_headers_on_success: of_response(
            "allowed_client_headers_on_success",
            allowed_client_headers_on_success,
        ),
        dynamic_metadata_from_headers: of_response(
            "dynamic_metadata_from_headers",
            dynamic_metadata_from_headers,
        ),
        server: server?,
    })))
}

/// Each takes the place of what the client sent.
fn additions(at: &At<'_>, messages: Vec<HeaderValue>) -> Vec<HeaderAddition> {
    let messages = messages.into_iter().enumerate();
    let converted = messages.filter_map(|(index, message)| {
        let at = at.index(index);
        take!(at, message => HeaderValue {
            supported: key, value;
            refused: raw_value;
        });
        let name = header_name(&at.field("key"), &key);
        let value = header_value(&at.field("value"), value);
        let value = Format::parse(&value);
        let value = value.map_err(|error| at.field("value").error(error.to_string()));
        Some(HeaderAddition {
            name,
            value: value.ok()?,
            append: AppendAction::OverwriteIfExistsOrAdd,
            keep_empty_value: true,
        })
    });
    converted.collect()
}
