//! `envoy.filters.http.ext_authz`.

mod service;

use std::sync::Arc;

use weir_api::xds::{
    codec,
    envoy::{
        config::{common::mutation_rules::v3::HeaderMutationRules, core::v3::ApiVersion},
        extensions::filters::http::ext_authz::v3::{
            self as pb, check_settings::ServiceOverride, ext_authz::Services,
            ext_authz_per_route::Override,
        },
        r#type::{
            matcher::v3::ListStringMatcher,
            v3::{HttpStatus, StatusCode},
        },
    },
    google::protobuf::{Any, BoolValue},
};

use super::super::{
    at::{At, take},
    local_rate_limit::runtime_flag,
    matcher::{Anchor, regex, string_matcher},
    metadata::metadata_matcher,
    percent::runtime_percent,
    service::grpc_service,
    value::{enumeration, unpack},
};
use crate::config::{
    http_filter::{
        HttpFilterConfig, RouteSpecificFilterConfig,
        ext_authz::{
            AuthorizationService, BodySettings, CheckSettings, ExtAuthz, ExtAuthzPerRoute,
            MutationRules,
        },
    },
    matcher::StringMatcher,
};

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_ext_authz)?;
    let filter = ext_authz(at, message)?;
    Some(HttpFilterConfig::ExtAuthz(Box::new(filter)))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_ext_authz_per_route)?;
    take!(at, message => pb::ExtAuthzPerRoute { supported: r#override; });
    let settings = match at.required(r#override)? {
        Override::Disabled(disabled) => ExtAuthzPerRoute::Disabled(disabled),
        Override::CheckSettings(message) => {
            let settings = check_settings(&at.field("check_settings"), message)?;
            ExtAuthzPerRoute::Check(Box::new(settings))
        }
    };
    Some(RouteSpecificFilterConfig::ExtAuthz(Box::new(settings)))
}

fn ext_authz(at: &At<'_>, message: pb::ExtAuthz) -> Option<ExtAuthz> {
    take!(at, message => pb::ExtAuthz {
        supported: services, failure_mode_allow, failure_mode_allow_header_add, with_request_body,
            clear_route_cache, status_on_error, validate_mutations, metadata_context_namespaces,
            route_metadata_context_namespaces, filter_enabled, filter_enabled_metadata,
            deny_at_disable, include_peer_certificate, stat_prefix, allowed_headers,
            disallowed_headers, include_tls_session, charge_cluster_response_stats,
            encode_raw_headers, decoder_header_mutation_rules, enable_dynamic_metadata_ingestion,
            max_denied_response_body_bytes, transport_api_version;
        ignored: emit_client_span = "calls of filters have no spans";
        refused: typed_metadata_context_namespaces, route_typed_metadata_context_namespaces,
            bootstrap_metadata_labels_key, filter_metadata, emit_filter_state_stats,
            enforce_response_header_limits, shadow_mode;
    });
    let version: Option<ApiVersion> =
        enumeration(&at.field("transport_api_version"), transport_api_version);
    #[allow(deprecated)]
    let is_old = version == Some(ApiVersion::V2);
    if is_old {
        at.field("transport_api_version").unsupported("V2");
    }
    let service = match at.field("services").required(services) {
        Some(Services::GrpcService(message)) => grpc(&at.field("grpc_service"), message),
        Some(Services::HttpService(message)) => {
            service::http_service(&at.field("http_service"), message)
        }
        None => None,
    };
    if let Some(AuthorizationService::Http(service)) = &service
        && !service.allowed_headers.is_empty()
        && allowed_headers.is_some()
    {
        at.field("allowed_headers")
            .error("cannot be set together with that of http_service.authorization_request");
    }
    let rules = decoder_header_mutation_rules;
    let at_rules = at.field("decoder_header_mutation_rules");
    let at_metadata = at.field("filter_enabled_metadata");
    let limit = usize::try_from(max_denied_response_body_bytes).unwrap_or(usize::MAX);
    Some(ExtAuthz {
        failure_mode_allow,
        failure_mode_allow_header_add,
        with_request_body: with_request_body
            .map(|message| body_settings(&at.field("with_request_body"), message)),
        clear_route_cache,
        status_on_error: status(&at.field("status_on_error"), status_on_error, 403),
        validate_mutations,
        metadata_namespaces: metadata_context_namespaces,
        route_metadata_namespaces: route_metadata_context_namespaces,
        enabled: filter_enabled
            .and_then(|message| runtime_percent(&at.field("filter_enabled"), message)),
        enabled_metadata: filter_enabled_metadata
            .and_then(|message| metadata_matcher(&at_metadata, message)),
        deny_at_disable: deny_at_disable
            .map(|message| runtime_flag(&at.field("deny_at_disable"), message)),
        include_peer_certificate,
        include_tls_session,
        stat_prefix: match stat_prefix {
            prefix if prefix.is_empty() => prefix,
            prefix => prefix + ".",
        },
        allowed_headers: allowed_headers
            .map(|list| matchers(&at.field("allowed_headers"), Some(list))),
        disallowed_headers: matchers(&at.field("disallowed_headers"), disallowed_headers),
        encode_raw_headers,
        mutation_rules: rules.map(|message| mutation_rules(&at_rules, message)),
        takes_metadata: is_true(enable_dynamic_metadata_ingestion),
        charge_cluster_response_stats: is_true(charge_cluster_response_stats),
        max_denied_body: Some(limit).filter(|most| *most > 0),
        service: service?,
    })
}

/// Unset is true.
fn is_true(value: Option<BoolValue>) -> bool {
    value.is_none_or(|value| value.value)
}

fn grpc(
    at: &At<'_>,
    message: weir_api::xds::envoy::config::core::v3::GrpcService,
) -> Option<AuthorizationService> {
    grpc_service(at, message).map(|service| AuthorizationService::Grpc(Arc::new(service)))
}

fn check_settings(at: &At<'_>, message: pb::CheckSettings) -> Option<CheckSettings> {
    take!(at, message => pb::CheckSettings {
        supported: context_extensions, disable_request_body_buffering, with_request_body,
            service_override;
        ignored: emit_client_span = "calls of filters have no spans";
    });
    if disable_request_body_buffering && with_request_body.is_some() {
        at.field("with_request_body")
            .error("cannot be set together with disable_request_body_buffering");
    }
    let service = match service_override {
        None => None,
        Some(ServiceOverride::GrpcService(message)) => {
            Some(grpc(&at.field("grpc_service"), message)?)
        }
        Some(ServiceOverride::HttpService(message)) => {
            Some(service::http_service(&at.field("http_service"), message)?)
        }
    };
    Some(CheckSettings {
        context_extensions: context_extensions.into_iter().collect(),
        disable_request_body_buffering,
        with_request_body: with_request_body
            .map(|message| body_settings(&at.field("with_request_body"), message)),
        service,
    })
}

fn body_settings(at: &At<'_>, message: pb::BufferSettings) -> BodySettings {
    take!(at, message => pb::BufferSettings {
        supported: max_request_bytes, allow_partial_message, pack_as_bytes;
    });
    if max_request_bytes == 0 {
        at.field("max_request_bytes").error("0: must be above");
    }
    BodySettings {
        max_request_bytes,
        allow_partial_message,
        pack_as_bytes,
    }
}

/// The status that is set, else the default.
fn status(at: &At<'_>, message: Option<HttpStatus>, default: u16) -> u16 {
    let Some(message) = message else {
        return default;
    };
    take!(at, message => HttpStatus { supported: code; });
    let at = at.field("code");
    let known: Option<StatusCode> = enumeration(&at, code);
    let status = u16::try_from(code).unwrap_or(0);
    if known.is_some() && status < 200 {
        at.unsupported(format!("{code}, which is no answer"));
    }
    status
}

/// The matchers of a list, on names of headers.
fn matchers(at: &At<'_>, list: Option<ListStringMatcher>) -> Vec<StringMatcher> {
    let Some(list) = list else {
        return Vec::new();
    };
    take!(at, list => ListStringMatcher { supported: patterns; });
    let at = at.field("patterns");
    if patterns.is_empty() {
        at.error("must not be empty");
    }
    let patterns = patterns.into_iter().enumerate();
    let matchers =
        patterns.filter_map(|(index, message)| string_matcher(&at.index(index), message));
    matchers.collect()
}

fn mutation_rules(at: &At<'_>, message: HeaderMutationRules) -> MutationRules {
    take!(at, message => HeaderMutationRules {
        supported: allow_all_routing, allow_envoy, disallow_system, disallow_all, allow_expression,
            disallow_expression, disallow_is_error;
    });
    let set = |value: Option<BoolValue>| value.is_some_and(|value| value.value);
    let expression = |name: &str, message| {
        let at = at.field(name);
        regex(&at, message, &Anchor::Whole)
    };
    MutationRules {
        allow_all_routing: set(allow_all_routing),
        allow_envoy: set(allow_envoy),
        disallow_system: set(disallow_system),
        disallow_all: set(disallow_all),
        allow_expression: allow_expression
            .and_then(|message| expression("allow_expression", message)),
        disallow_expression: disallow_expression
            .and_then(|message| expression("disallow_expression", message)),
        disallow_is_error: set(disallow_is_error),
    }
}
