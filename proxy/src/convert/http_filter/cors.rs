//! `envoy.filters.http.cors`, and where its policies stood before.

use weir_api::xds::{
    codec,
    envoy::{
        config::route::v3::{self as route_v3, cors_policy::EnabledSpecifier},
        extensions::filters::http::cors::v3 as pb,
    },
    google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    matcher::string_matcher,
    percent::runtime_percent,
    value::{header_value, unpack},
};
use crate::config::http_filter::{CorsPolicy, HttpFilterConfig, RouteSpecificFilterConfig};

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let pb::Cors {} = unpack(at, any, codec::unpack_cors)?;
    Some(HttpFilterConfig::Cors)
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_cors_policy)?;
    Some(RouteSpecificFilterConfig::Cors(Box::new(policy(
        at, message,
    ))))
}

/// The policy of a virtual host or of a route's action, which has the same fields.
pub(in super::super) fn cors_policy_of_route(
    at: &At<'_>,
    message: route_v3::CorsPolicy,
) -> Box<CorsPolicy> {
    take!(at, message => route_v3::CorsPolicy {
        supported: allow_origin_string_match, allow_methods, allow_headers, expose_headers,
            max_age, allow_credentials, shadow_enabled, allow_private_network_access,
            forward_not_matching_preflights, enabled_specifier;
    });
    Box::new(policy(
        at,
        pb::CorsPolicy {
            allow_origin_string_match,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age,
            allow_credentials,
            filter_enabled: enabled_specifier.map(|EnabledSpecifier::FilterEnabled(share)| share),
            shadow_enabled,
            allow_private_network_access,
            forward_not_matching_preflights,
        },
    ))
}

fn policy(at: &At<'_>, message: pb::CorsPolicy) -> CorsPolicy {
    take!(at, message => pb::CorsPolicy {
        supported: allow_origin_string_match, allow_methods, allow_headers, expose_headers,
            max_age, allow_credentials, filter_enabled, shadow_enabled,
            allow_private_network_access, forward_not_matching_preflights;
    });
    let at_origins = at.field("allow_origin_string_match");
    let origins = allow_origin_string_match.into_iter().enumerate();
    let text = |name: &str, text| header_value(&at.field(name), text);
    let share = |name: &str, share: Option<_>| {
        share.and_then(|share| runtime_percent(&at.field(name), share))
    };
    CorsPolicy {
        allow_origins: origins
            .filter_map(|(index, message)| string_matcher(&at_origins.index(index), message))
            .collect(),
        allow_methods: text("allow_methods", allow_methods),
        allow_headers: text("allow_headers", allow_headers),
        expose_headers: text("expose_headers", expose_headers),
        max_age: text("max_age", max_age),
        allow_credentials: allow_credentials.map(|allow| allow.value),
        enabled: share("filter_enabled", filter_enabled),
        shadow_enabled: share("shadow_enabled", shadow_enabled),
        allow_private_network_access: allow_private_network_access.map(|allow| allow.value),
        forward_not_matching_preflights: forward_not_matching_preflights
            .map(|forward| forward.value),
    }
}
