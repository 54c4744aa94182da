//! Route configurations of services whose requests are routed by rules.

mod action;
mod criteria;
mod fault;
mod headers;
mod paths;

use std::{borrow::Cow, cmp::Reverse};

use weir_api::xds::{
    codec,
    envoy::{
        config::route::v3::{Route, RouteConfiguration, route},
        extensions::filters::{
            http::cors::v3 as cors,
            network::http_connection_manager::v3::{HttpFilter, http_filter},
        },
    },
};

use super::route::with_routes;
use crate::model::{
    Backend, Caller, Grammar, RequestMatch, Routing, RoutingRule, RuleAction, SessionAffinity,
    Speech,
};

/// The name under which HTTP filters and what routes say of them find each other.
const CORS: &str = "envoy.filters.http.cors";
/// A cluster that nobody has: requests and connections that draw it fail.
pub(in crate::xds) const NOWHERE: &str = "invalid-backend";
const FAULT: &str = "envoy.filters.http.fault";

/// What the requests of one port of a service are routed by.
pub(in crate::xds) struct Routed<'a> {
    /// The name of the route configuration.
    pub(in crate::xds) name: &'a str,
    /// The number of the port.
    pub(in crate::xds) port: u16,
    /// Who sends the requests.
    pub(in crate::xds) caller: Option<&'a Caller>,
    /// Rules, those of the oldest object first.
    pub(in crate::xds) rules: Vec<Ruled<'a>>,
}

/// One object, and where its requests go.
pub(in crate::xds) struct Ruled<'a> {
    pub(in crate::xds) routing: &'a Routing,
    /// Its rules.
    pub(in crate::xds) rules: Vec<Cow<'a, RoutingRule>>,
    /// Where requests for a backend go. None: nowhere.
    pub(in crate::xds) cluster: ClusterOf<'a>,
}

type ClusterOf<'a> = Box<dyn Fn(&Backend) -> Option<Chosen> + 'a>;

/// Where requests for a backend go.
pub(in crate::xds) struct Chosen {
    /// The cluster.
    pub(in crate::xds) cluster: String,
    /// Whether a client comes to the same endpoint of it each time.
    pub(in crate::xds) affinity: SessionAffinity,
}

/// The first match that holds counts, so they stand in the order of their rank; of equal rank those of
/// the older object come first, and of one object in the order in which they are written.
pub(in crate::xds) fn configuration(routed: &Routed<'_>) -> RouteConfiguration {
    let mut all: Vec<(&Ruled<'_>, &RoutingRule, &RequestMatch)> = Vec::new();
    for ruled in &routed.rules {
        for rule in &ruled.rules {
            let matches = rule.matches.iter();
            let matches = matches.filter(|it| it.source.holds(routed.port, routed.caller));
            all.extend(matches.map(|one| (ruled, &**rule, one)));
        }
    }
    all.sort_by_key(|(_, _, one)| Reverse(one.rank));
    let routes = all.into_iter();
    let routes = routes.filter_map(|(ruled, rule, one)| route(routed, ruled, rule, one));
    RouteConfiguration {
        // What a backend says comes after what its rule says.
        most_specific_header_mutations_wins: true,
        ..with_routes(routed.name, routes.collect())
    }
}

/// The filter that heeds what routes say of other origins.
pub(in crate::xds) fn cors_filter() -> HttpFilter {
    let config = codec::pack_cors(&cors::Cors::default());
    HttpFilter {
        name: CORS.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

/// The filter that heeds what routes have go wrong.
pub(in crate::xds) fn fault_filter() -> HttpFilter {
    HttpFilter {
        name: FAULT.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(fault::none())),
        ..HttpFilter::default()
    }
}

fn route(
    routed: &Routed<'_>,
    ruled: &Ruled<'_>,
    rule: &RoutingRule,
    one: &RequestMatch,
) -> Option<Route> {
    let action = match &rule.action {
        RuleAction::Fail | RuleAction::Delegate { .. } => action::failure(ruled.routing),
        RuleAction::Respond { status, body } => action::answer(*status, body.as_ref()),
        RuleAction::Redirect(redirect) => {
            let redirect = action::redirect(redirect, routed.port, &one.path);
            route::Action::Redirect(redirect)
        }
        RuleAction::Forward { backends, rewrite } => {
            action::forward(ruled, rule, backends, rewrite, &one.path)
        }
    };
    let cors = rule.cors.as_ref();
    let cors = cors.map(|policy| (CORS.to_owned(), headers::cors_policy(policy)));
    let fault = rule.fault.as_ref();
    let fault = fault.map(|it| (FAULT.to_owned(), fault::of_route(it)));
    Some(Route {
        name: rule.name.to_string(),
        r#match: Some(criteria::criteria(one)?),
        action: Some(action),
        request_headers_to_add: headers::additions(&rule.request),
        request_headers_to_remove: headers::removals(&rule.request),
        response_headers_to_add: headers::additions(&rule.response),
        response_headers_to_remove: headers::removals(&rule.response),
        typed_per_filter_config: cors.into_iter().chain(fault).collect(),
        ..Route::default()
    })
}

/// The status of requests that cannot go where a rule sends them. gRPC's clients read it as
/// `UNAVAILABLE`.
fn status(routing: &Routing) -> u32 {
    match (routing.grammar, routing.speech) {
        (Grammar::Gateway, Speech::Http) => 500,
        (Grammar::Gateway, Speech::Grpc) | (Grammar::Istio, _) => 503,
    }
}
