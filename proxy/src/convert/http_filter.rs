//! HTTP filters: chains, and what routes say of filters.

mod buffer;
mod cors;
mod dynamic_forward_proxy;
mod ext_authz;
mod fault;
mod header_mutation;
mod jwt_authn;
mod rbac;
mod stateful_session;

use std::{collections::HashMap, sync::Arc};

use weir_api::xds::{
    codec,
    envoy::{
        config::route::v3 as route_v3,
        extensions::filters::{
            http::router::v3 as router_v3,
            network::http_connection_manager::v3::{self as pb, http_filter::ConfigType},
        },
    },
    google::protobuf::Any,
};

use super::{
    at::{At, take},
    value::{non_empty, type_name, unpack},
};
use crate::config::{
    http::Router,
    http_filter::{
        FilterOverride, HttpFilter, HttpFilterConfig, PerFilterConfig, RouteSpecificFilterConfig,
    },
};

pub(super) use cors::cors_policy_of_route;

const FILTER_CONFIG: &str = "envoy.config.route.v3.FilterConfig";

/// A filter that ends a chain.
enum Terminal {
    Router(Router),
    UpstreamCodec,
}

/// A filter of a chain.
enum Link {
    Filter(HttpFilter),
    Terminal(Terminal),
    /// One that is not known, and need not be.
    Skipped,
}

/// Which filters a chain may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Those of a connection manager, which end in the router.
    Downstream,
    /// Those of each attempt, which end in the codec.
    Upstream,
}

/// The filters of a connection manager, without the last, which is the router.
pub(super) fn http_filters(
    at: &At<'_>,
    messages: Vec<pb::HttpFilter>,
) -> (Arc<[HttpFilter]>, Option<Router>) {
    if messages.is_empty() {
        at.unsupported("a list that does not end in the router");
    }
    match chain(at, messages, Side::Downstream) {
        (filters, Some(Terminal::Router(router))) => (filters, Some(router)),
        (filters, _) => (filters, None),
    }
}

/// The filters of each attempt, without the last, which is the codec.
pub(super) fn upstream_http_filters(
    at: &At<'_>,
    messages: Vec<pb::HttpFilter>,
) -> Arc<[HttpFilter]> {
    chain(at, messages, Side::Upstream).0
}

fn chain(
    at: &At<'_>,
    messages: Vec<pb::HttpFilter>,
    side: Side,
) -> (Arc<[HttpFilter]>, Option<Terminal>) {
    let last = messages.len().saturating_sub(1);
    let (mut filters, mut terminal) = (Vec::new(), None);
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        match link(&at, message, side) {
            Some(Link::Terminal(_)) if index < last => {
                at.error("must be the last HTTP filter");
            }
            Some(Link::Terminal(found)) => terminal = Some(found),
            Some(Link::Filter(_) | Link::Skipped) if index == last => {
                at.error(match side {
                    Side::Downstream => "must not be the last HTTP filter: that is the router",
                    Side::Upstream => {
                        "must not be the last HTTP filter: that is the upstream codec"
                    }
                });
            }
            Some(Link::Filter(filter)) => filters.push(filter),
            Some(Link::Skipped) | None => {}
        }
    }
    (filters.into(), terminal)
}

fn link(at: &At<'_>, message: pb::HttpFilter, side: Side) -> Option<Link> {
    take!(at, message => pb::HttpFilter {
        supported: name, config_type, is_optional, disabled;
    });
    let name = non_empty(&at.field("name"), name);
    let any = match at.field("typed_config").required(config_type)? {
        ConfigType::TypedConfig(any) => any,
        ConfigType::ConfigDiscovery(_) => {
            at.field("config_discovery")
                .unsupported("filters do not come over ECDS");
            return None;
        }
    };
    if let Some(terminal) = terminal(&at.field("typed_config"), &any, side) {
        if disabled {
            at.field("disabled")
                .error("the last filter cannot be disabled");
        }
        return terminal.map(Link::Terminal);
    }
    let at = at.field("typed_config");
    let Some(convert) = converter(type_name(&any), side) else {
        if is_optional {
            return Some(Link::Skipped);
        }
        at.unsupported(format!("HTTP filter {}", type_name(&any)));
        return None;
    };
    Some(Link::Filter(HttpFilter {
        name,
        disabled,
        config: convert(&at, &any)?,
    }))
}

type Converter = fn(&At<'_>, &Any) -> Option<HttpFilterConfig>;

/// What reads the message of a filter; none for one that is not known on that side.
fn converter(message: &str, side: Side) -> Option<Converter> {
    Some(match (message, side) {
        ("envoy.extensions.filters.http.buffer.v3.Buffer", Side::Downstream) => buffer::filter,
        ("envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", _) => {
            header_mutation::filter
        }
        (
            "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            Side::Downstream,
        ) => dynamic_forward_proxy::filter,
        ("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", Side::Downstream) => {
            jwt_authn::filter
        }
        ("envoy.extensions.filters.http.rbac.v3.RBAC", Side::Downstream) => rbac::filter,
        ("envoy.extensions.filters.http.cors.v3.Cors", Side::Downstream) => cors::filter,
        ("envoy.extensions.filters.http.fault.v3.HTTPFault", Side::Downstream) => fault::filter,
        ("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", Side::Downstream) => {
            ext_authz::filter
        }
        ("envoy.extensions.filters.http.stateful_session.v3.StatefulSession", Side::Downstream) => {
            stateful_session::filter
        }
        _ => return None,
    })
}

/// A filter that ends chains of that side; the inner is none if its message is wrong.
fn terminal(at: &At<'_>, any: &Any, side: Side) -> Option<Option<Terminal>> {
    match (type_name(any), side) {
        ("envoy.extensions.filters.http.router.v3.Router", Side::Downstream) => {
            let message = unpack(at, any, codec::unpack_router);
            Some(message.map(|message| Terminal::Router(router(at, message))))
        }
        ("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec", Side::Upstream) => {
            let message = unpack(at, any, codec::unpack_upstream_codec);
            Some(message.map(|_| Terminal::UpstreamCodec))
        }
        _ => None,
    }
}

fn router(at: &At<'_>, message: router_v3::Router) -> Router {
    take!(at, message => router_v3::Router {
        supported: suppress_envoy_headers, upstream_http_filters;
        fixed: dynamic_stats = true;
        refused: start_child_span, upstream_log, upstream_log_options, strict_check_headers,
            respect_expected_rq_timeout, suppress_grpc_request_failure_code_stats,
            reject_connect_request_early_data;
    });
    let at_upstream = at.field("upstream_http_filters");
    Router {
        suppress_envoy_headers,
        upstream_filters: self::upstream_http_filters(&at_upstream, upstream_http_filters),
    }
}

/// `typed_per_filter_config` of one level.
pub(super) fn per_filter_config(at: &At<'_>, messages: HashMap<String, Any>) -> PerFilterConfig {
    let mut messages: Vec<_> = messages.into_iter().collect();
    messages.sort_by(|(one, _), (other, _)| one.cmp(other));
    let overrides = messages.into_iter().filter_map(|(name, any)| {
        let (disabled, config) = filter_override(&at.key(&name), &any)?;
        Some(FilterOverride {
            name,
            disabled: Some(disabled),
            config,
        })
    });
    PerFilterConfig::new(overrides.collect())
}

/// Whether the filter is disabled, and what it is configured with. As Envoy: whoever says something
/// of a filter without disabling it enables it.
fn filter_override(at: &At<'_>, any: &Any) -> Option<(bool, Option<RouteSpecificFilterConfig>)> {
    if type_name(any) != FILTER_CONFIG {
        return Some((false, Some(route_specific(at, any)?)));
    }
    let message = unpack(at, any, codec::unpack_filter_config)?;
    take!(at, message => route_v3::FilterConfig { supported: config, is_optional, disabled; });
    if disabled {
        return Some((true, None));
    }
    let at = at.field("config");
    let any = at.required(config)?;
    // An empty one enables the filter and says no more.
    if any.type_url.is_empty() || (is_optional && route_converter(type_name(&any)).is_none()) {
        return Some((false, None));
    }
    Some((false, Some(route_specific(&at, &any)?)))
}

fn route_specific(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let Some(convert) = route_converter(type_name(any)) else {
        at.unsupported(format!(
            "{:?} as configuration of a filter for a route",
            type_name(any)
        ));
        return None;
    };
    convert(at, any)
}

type RouteConverter = fn(&At<'_>, &Any) -> Option<RouteSpecificFilterConfig>;

fn route_converter(message: &str) -> Option<RouteConverter> {
    Some(match message {
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute" => buffer::per_route,
        "envoy.extensions.filters.http.cors.v3.CorsPolicy" => cors::per_route,
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute" => ext_authz::per_route,
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig" => {
            dynamic_forward_proxy::per_route
        }
        "envoy.extensions.filters.http.fault.v3.HTTPFault" => fault::per_route,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" => {
            header_mutation::per_route
        }
        "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig" => jwt_authn::per_route,
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" => rbac::per_route,
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute" => {
            stateful_session::per_route
        }
        _ => return None,
    })
}
