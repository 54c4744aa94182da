//! Route configurations.

use std::{collections::HashMap, time::Duration};

use weir_api::{
    inbound_demands::GRPC_HEALTH,
    xds::envoy::{
        config::route::v3::{
            DirectResponseAction, HeaderMatcher, RetryPolicy, Route, RouteAction,
            RouteConfiguration, RouteMatch, VirtualHost,
            header_matcher::HeaderMatchSpecifier,
            route,
            route_action::{self, HashPolicy, hash_policy},
            route_match,
        },
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
};

use super::{authorization, duration, wrapped};
use crate::model::{Question, SessionAffinity};

/// Retried are only requests that no application can have seen: the dial failed, or the peer said
/// that it did not look at the stream.
pub(super) const RETRY_ON: &str = "connect-failure,refused-stream";
/// Attempts after the first.
pub(super) const RETRIES: u32 = 2;

/// Everything to one cluster. The destination address chose the service already, so the virtual
/// host takes every Host; what the client asks for is bounded by the client alone.
pub(in crate::xds) fn to_cluster(cluster: &str, affinity: SessionAffinity) -> RouteConfiguration {
    configuration(
        cluster,
        &RouteAction {
            retry_policy: Some(RetryPolicy {
                retry_on: RETRY_ON.to_owned(),
                num_retries: Some(wrapped(RETRIES)),
                ..RetryPolicy::default()
            }),
            hash_policy: match affinity {
                SessionAffinity::None => Vec::new(),
                SessionAffinity::ClientIp => vec![by_source()],
            },
            ..unbounded(cluster)
        },
    )
}

/// By the address that the connection comes from.
pub(super) fn by_source() -> HashPolicy {
    let source = hash_policy::ConnectionProperties { source_ip: true };
    HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::ConnectionProperties(source)),
        ..HashPolicy::default()
    }
}

/// Everything to one cluster, once.
pub(super) fn unchanged_to(cluster: &str) -> RouteConfiguration {
    configuration(cluster, &unbounded(cluster))
}

/// What comes behind the questions of a kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is refused.
    Refused,
    /// It is taken as from everybody, and only the questions are exempt from what RBAC filters say.
    AsOthers,
}

/// These questions of a kubelet, and the rest.
pub(super) fn questions_to<'a>(
    cluster: &str,
    questions: impl Iterator<Item = &'a Question>,
    rest: Rest,
) -> RouteConfiguration {
    let action = route::Action::Route(unbounded(cluster));
    let routes = questions.filter_map(|question| {
        let (method, path) = match question {
            Question::Http(path) => ("GET", &**path),
            Question::Grpc => ("POST", GRPC_HEALTH),
            // No route sees it.
            Question::Tls => return None,
        };
        Some(Route {
            name: "probe".to_owned(),
            r#match: Some(RouteMatch {
                path_specifier: Some(route_match::PathSpecifier::Path(path.to_owned())),
                headers: vec![of_method(method)],
                ..RouteMatch::default()
            }),
            action: Some(action.clone()),
            typed_per_filter_config: match rest {
                Rest::Refused => HashMap::new(),
                Rest::AsOthers => [authorization::exempt()].into(),
            },
            ..Route::default()
        })
    });
    let rest = match rest {
        Rest::Refused => vec![answer(403)],
        Rest::AsOthers => all(&unbounded(cluster)),
    };
    with_routes(cluster, routes.chain(rest).collect())
}

/// Everything is answered with a status.
pub(super) fn answered(status: u32) -> RouteConfiguration {
    with_routes("", vec![answer(status)])
}

fn answer(status: u32) -> Route {
    Route {
        name: "refused".to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::DirectResponse(DirectResponseAction {
            status,
            ..DirectResponseAction::default()
        })),
        ..Route::default()
    }
}

pub(super) fn of_method(method: &str) -> HeaderMatcher {
    let exact = StringMatcher {
        match_pattern: Some(MatchPattern::Exact(method.to_owned())),
        ..StringMatcher::default()
    };
    HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exact)),
        ..HeaderMatcher::default()
    }
}

fn unbounded(cluster: &str) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        timeout: Some(duration(Duration::ZERO)),
        ..RouteAction::default()
    }
}

fn configuration(name: &str, action: &RouteAction) -> RouteConfiguration {
    with_routes(name, all(action))
}

/// Whatever is asked.
fn all(action: &RouteAction) -> Vec<Route> {
    use route_match::{ConnectMatcher, PathSpecifier};

    let route = |name: &str, path: PathSpecifier| Route {
        name: name.to_owned(),
        r#match: Some(RouteMatch {
            path_specifier: Some(path),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(action.clone())),
        ..Route::default()
    };
    vec![
        // The endpoint is a forward proxy: what it makes of CONNECT is its own affair.
        route("tunnel", PathSpecifier::ConnectMatcher(ConnectMatcher {})),
        route("default", PathSpecifier::Prefix("/".to_owned())),
    ]
}

/// For every Host.
pub(super) fn with_routes(name: &str, routes: Vec<Route>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: name.to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}
