//! What becomes of a request.

use std::time::Duration;

use weir_api::xds::envoy::{
    config::{
        core::v3::{DataSource, RuntimeFractionalPercent, data_source::Specifier},
        route::v3::{
            DirectResponseAction, RedirectAction, RetryPolicy, RouteAction, WeightedCluster,
            redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
            retry_policy::RetryBackOff,
            route,
            route_action::{
                ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier,
                RequestMirrorPolicy,
            },
            weighted_cluster::ClusterWeight,
        },
    },
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};

use super::{
    Chosen, NOWHERE, Ruled, headers,
    paths::{self, Changed},
    status,
};
use crate::{
    model::{
        Body, Mirror, PathChange, PathMatch, Redirect, RedirectPort, Retry, Rewrite, Routing,
        RoutingRule, SessionAffinity, WeightedBackend,
    },
    xds::build::{
        duration,
        route::{RETRIES, RETRY_ON, by_source},
        wrapped,
    },
};

/// What is tried again beside statuses: connections that fail, and attempts that take too long.
const RETRY_ON_ERRORS: &str = "connect-failure,refused-stream,reset";
/// How much longer than the first the last pause may be. As Envoy's default.
const LONGEST_PAUSE: u32 = 10;
/// Parts of a whole, as Envoy counts them.
const MILLION: u32 = 1_000_000;

/// The answer to requests that cannot be served as their rule says.
pub(super) fn failure(routing: &Routing) -> route::Action {
    route::Action::DirectResponse(DirectResponseAction {
        status: status(routing),
        ..DirectResponseAction::default()
    })
}

/// An answer that a rule gives.
pub(super) fn answer(status: u16, body: Option<&Body>) -> route::Action {
    let body = body.map(|body| match body {
        Body::Text(text) => Specifier::InlineString(text.to_string()),
        Body::Bytes(bytes) => Specifier::InlineBytes(bytes.to_vec()),
    });
    route::Action::DirectResponse(DirectResponseAction {
        status: status.into(),
        body: body.map(|body| DataSource {
            specifier: Some(body),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    })
}

/// To the backends, by weight.
pub(super) fn forward(
    ruled: &Ruled<'_>,
    rule: &RoutingRule,
    backends: &[WeightedBackend],
    rewrite: &Rewrite,
    path: &PathMatch,
) -> route::Action {
    let shares: Vec<_> = backends
        .iter()
        .filter(|it| it.weight > 0)
        .map(|it| (it, (ruled.cluster)(&it.backend)))
        .collect();
    if shares.iter().all(|(_, cluster)| cluster.is_none()) {
        return failure(ruled.routing);
    }
    let is_sticky = |(_, chosen): &Share<'_>| {
        let affinity = chosen.as_ref().map(|it| it.affinity);
        affinity == Some(SessionAffinity::ClientIp)
    };
    let changed = rewrite
        .path
        .as_ref()
        .and_then(|it| paths::changed(it, path));
    let (prefix_rewrite, regex_rewrite) = match changed {
        None => (String::new(), None),
        Some(Changed::Prefix(prefix)) => (prefix, None),
        Some(Changed::Regex(regex)) => (String::new(), Some(*regex)),
    };
    let host = rewrite.host.as_ref();
    route::Action::Route(RouteAction {
        hash_policy: match shares.iter().any(is_sticky) {
            true => vec![by_source()],
            false => Vec::new(),
        },
        cluster_not_found_response_code: match status(ruled.routing) {
            500 => ClusterNotFoundResponseCode::InternalServerError.into(),
            _ => ClusterNotFoundResponseCode::ServiceUnavailable.into(),
        },
        host_rewrite_specifier: host
            .map(|host| HostRewriteSpecifier::HostRewriteLiteral(host.to_string())),
        timeout: Some(duration(rule.timeout.unwrap_or(Duration::ZERO))),
        retry_policy: Some(retry_policy(rule)),
        request_mirror_policies: mirrors(ruled, &rule.mirrors),
        cluster_specifier: Some(clusters(shares)),
        prefix_rewrite,
        regex_rewrite,
        ..RouteAction::default()
    })
}

type Share<'a> = (&'a WeightedBackend, Option<Chosen>);

fn clusters(shares: Vec<Share<'_>>) -> ClusterSpecifier {
    if let [(backend, Some(chosen))] = &shares[..]
        && backend.request.is_empty()
        && backend.response.is_empty()
    {
        return ClusterSpecifier::Cluster(chosen.cluster.clone());
    }
    let clusters = shares.into_iter().map(|(backend, chosen)| ClusterWeight {
        name: chosen.map_or_else(|| NOWHERE.to_owned(), |it| it.cluster),
        weight: Some(wrapped(backend.weight)),
        request_headers_to_add: headers::additions(&backend.request),
        request_headers_to_remove: headers::removals(&backend.request),
        response_headers_to_add: headers::additions(&backend.response),
        response_headers_to_remove: headers::removals(&backend.response),
        ..ClusterWeight::default()
    });
    ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: clusters.collect(),
        ..WeightedCluster::default()
    })
}

/// As without a rule, where it does not say otherwise.
fn retry_policy(rule: &RoutingRule) -> RetryPolicy {
    let policy = RetryPolicy {
        retry_on: RETRY_ON.to_owned(),
        num_retries: Some(wrapped(RETRIES)),
        per_try_timeout: rule.attempt_timeout.map(duration),
        ..RetryPolicy::default()
    };
    let Some(retry) = &rule.retry else {
        return policy;
    };
    let Retry {
        statuses,
        attempts,
        backoff,
        conditions,
    } = retry;
    if let Some(conditions) = conditions {
        return RetryPolicy {
            retry_on: conditions.to_string(),
            retriable_status_codes: statuses.iter().map(|it| (*it).into()).collect(),
            num_retries: Some(wrapped(attempts.unwrap_or(RETRIES))),
            retry_back_off: backoff.map(|base| RetryBackOff {
                base_interval: Some(duration(base)),
                max_interval: None,
            }),
            ..policy
        };
    }
    let on_statuses = match statuses.is_empty() {
        true => "",
        false => ",retriable-status-codes",
    };
    RetryPolicy {
        retry_on: format!("{RETRY_ON_ERRORS}{on_statuses}"),
        retriable_status_codes: statuses.iter().map(|it| (*it).into()).collect(),
        num_retries: Some(wrapped(attempts.unwrap_or(RETRIES))),
        retry_back_off: backoff.filter(|it| !it.is_zero()).map(|backoff| {
            // A pause is any time up to this, so the mean is what was asked for.
            let base = backoff.saturating_mul(2);
            RetryBackOff {
                base_interval: Some(duration(base)),
                max_interval: Some(duration(base.saturating_mul(LONGEST_PAUSE))),
            }
        }),
        ..policy
    }
}

fn mirrors(ruled: &Ruled<'_>, mirrors: &[Mirror]) -> Vec<RequestMirrorPolicy> {
    let policies = mirrors.iter().filter_map(|mirror| {
        let cluster = (ruled.cluster)(&mirror.backend)?.cluster;
        let share = u64::from(mirror.numerator) * u64::from(MILLION);
        let share = share / u64::from(mirror.denominator.max(1));
        let percent = FractionalPercent {
            numerator: u32::try_from(share).unwrap_or(MILLION),
            denominator: DenominatorType::Million.into(),
        };
        Some(RequestMirrorPolicy {
            cluster,
            runtime_fraction: Some(RuntimeFractionalPercent {
                default_value: Some(percent),
                runtime_key: String::new(),
            }),
            // Who is sent a copy serves the host that was asked.
            disable_shadow_host_suffix_append: true,
            ..RequestMirrorPolicy::default()
        })
    });
    policies.collect()
}

/// `port` is that of the service that was asked.
pub(super) fn redirect(redirect: &Redirect, port: u16, path: &PathMatch) -> RedirectAction {
    let scheme = redirect.scheme.as_deref();
    let usual = match scheme {
        Some("https") => 443,
        _ => 80,
    };
    let port_redirect = match redirect.port {
        RedirectPort::Said(said) => said.unwrap_or_default(),
        RedirectPort::Asked => port,
        RedirectPort::Derived(said) => {
            // As the specification derives it.
            let new_port = match (said, scheme) {
                (Some(port), _) => port,
                (None, Some(_)) => usual,
                (None, None) => port,
            };
            // The port that goes without saying is left out; but where the client's own Host names
            // another one, it would stay if nothing were said.
            let stays = redirect.host.is_none() && port != 80;
            if new_port != usual || stays {
                new_port
            } else {
                0
            }
        }
    };
    RedirectAction {
        scheme_rewrite_specifier: scheme
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        host_redirect: redirect.host.as_deref().unwrap_or_default().to_owned(),
        port_redirect: port_redirect.into(),
        path_rewrite_specifier: redirect.path.as_ref().and_then(|change| match change {
            PathChange::Whole(path) => Some(PathRewriteSpecifier::PathRedirect(path.to_string())),
            _ => paths::changed(change, path).map(|changed| match changed {
                Changed::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
                Changed::Regex(regex) => PathRewriteSpecifier::RegexRewrite(*regex),
            }),
        }),
        response_code: match redirect.status {
            301 => RedirectResponseCode::MovedPermanently,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::Found,
        }
        .into(),
        ..RedirectAction::default()
    }
}
