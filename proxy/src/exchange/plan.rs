//! What is to be done with a request: worked out before the first byte leaves. The same for every
//! version of HTTP.

use std::{borrow::Cow, net::SocketAddr, rc::Rc, time::Duration};

use super::ConnectionManager;
use crate::{
    cluster::{Cluster, Host, LoadBalancerContext, Tried},
    config::{
        RouteConfiguration,
        http_filter::HttpFilter,
        route::{Forward, RetryPolicy, RouteAction},
    },
    http::{
        authority::Authority,
        head::RequestHead,
        local_reply::LocalReply,
        route::{self, Matched, redirect_location},
    },
    info::ConnectionInfo,
    reason::Reason,
};

/// What is to be done with a request.
pub(super) enum Plan<'c> {
    /// Answer it here; with the route that says so, if one matched.
    Reply(LocalReply, Option<Matched<'c>>),
    /// Send it on.
    Forward(ForwardPlan<'c>),
}

/// Where a request goes, and how.
pub(super) struct ForwardPlan<'c> {
    pub(super) matched: Matched<'c>,
    pub(super) forward: &'c Forward,
    /// Who serves: of an aggregate, the cluster that is chosen of it.
    pub(super) cluster: Rc<Cluster>,
    /// Who is named by the route, and counts answers, time and retries.
    pub(super) named_cluster: Rc<Cluster>,
    /// HTTP filters of each attempt, where the cluster has none of its own.
    router_filters: &'c [HttpFilter],
}

/// The route of a request.
pub(super) fn find<'c>(
    manager: &ConnectionManager,
    config: Option<&'c RouteConfiguration>,
    request: &dyn RequestHead,
    random: u64,
) -> Option<Matched<'c>> {
    let runtime = manager.context.routes.runtime();
    route::resolve(config?, request, &runtime, random)
}

// === impl Plan ===

impl<'c> Plan<'c> {
    /// What the route says.
    pub(super) fn new(
        manager: &'c ConnectionManager,
        matched: Option<Matched<'c>>,
        request: &dyn RequestHead,
        random: u64,
    ) -> Self {
        let (stats, clusters) = (&manager.stats, &manager.context.clusters);
        stats.rq_total.inc();
        let Some(matched) = matched else {
            stats.no_route.inc();
            return Self::Reply(Reason::NoRoute.into(), None);
        };
        let route = matched.route;
        match &route.action {
            RouteAction::DirectResponse { status, body } => {
                stats.rq_direct_response.inc();
                let (status, body) = (*status, body.clone());
                // As Envoy: what was created is where it was asked for.
                let created = || format!("http://{}{}", request.authority(), request.path());
                let location = (status == 201).then(created);
                let reason = Reason::DirectResponse;
                Self::Reply(
                    LocalReply {
                        status,
                        body,
                        location,
                        ..reason.into()
                    },
                    Some(matched),
                )
            }
            RouteAction::Redirect(redirect) => {
                // As Envoy counts them.
                stats.rq_direct_response.inc();
                let location = redirect_location(redirect, &route.criteria, request, "http");
                let mut reply = LocalReply::from(Reason::Redirect);
                (reply.status, reply.location) = (redirect.status, Some(location));
                Self::Reply(reply, Some(matched))
            }
            RouteAction::Forward(forward) => {
                let target = route::cluster(&forward.target, request, random);
                let cluster = |name: Cow<'_, str>| clusters.get(&name);
                let found = target.and_then(|(name, weighted)| Some((cluster(name)?, weighted)));
                let Some((cluster, weighted)) = found else {
                    stats.no_cluster.inc();
                    let mut reply = LocalReply::from(Reason::NoCluster);
                    reply.status = forward.cluster_not_found_status;
                    return Self::Reply(reply, Some(matched));
                };
                let matched = Matched {
                    weighted,
                    ..matched
                };
                Self::Forward(ForwardPlan {
                    matched,
                    forward,
                    cluster: clusters.chosen(&cluster),
                    named_cluster: cluster,
                    router_filters: &manager.config.router.upstream_filters,
                })
            }
        }
    }
}

// === impl ForwardPlan ===

impl<'c> ForwardPlan<'c> {
    /// The HTTP filters of each attempt.
    pub(super) fn upstream_filters(&'c self) -> &'c [HttpFilter] {
        let of_cluster = self.cluster.config.http_filters.as_deref();
        of_cluster.unwrap_or(self.router_filters)
    }

    pub(super) fn retry_policy(&self) -> Option<&RetryPolicy> {
        self.forward
            .retry_policy
            .as_ref()
            .or(self.matched.virtual_host.retry_policy.as_ref())
    }

    /// Bytes of the body that may be kept, so that it can be sent again.
    pub(super) fn keeps(&self, connection: &ConnectionInfo) -> u32 {
        let Matched {
            route,
            virtual_host,
            ..
        } = &self.matched;
        let limit = connection.listener.buffer_limit;
        (route.request_buffer).kept(virtual_host.request_buffer, limit)
    }

    /// The host for a request, `to` where it goes, `hash` that of its client; not one of those `tried`, if
    /// there is another.
    pub(super) fn pick(
        &self,
        hash: Option<u64>,
        to: Option<SocketAddr>,
        tried: &Tried,
    ) -> Option<Rc<Host>> {
        let of_weighted = self.matched.weighted.map(|it| it.metadata_match.as_ref());
        let retry = self.retry_policy().filter(|_| !tried.is_empty());
        self.cluster.pick(&LoadBalancerContext {
            hash,
            metadata_match: of_weighted.unwrap_or(self.forward.metadata_match.as_ref()),
            retry: retry.and_then(|policy| policy.hosts.as_deref()),
            ..LoadBalancerContext::new(to, tried)
        })
    }

    /// The host as it is asked for by the name in the request, where the cluster goes by that.
    pub(super) fn named(&self, host: Rc<Host>, request: Option<&dyn RequestHead>) -> Rc<Host> {
        let (Some(auto), Some(request)) = (&self.cluster.config.auto_sni, request) else {
            return host;
        };
        let of_header = auto.header.as_ref().and_then(|name| request.first(name));
        let authority = of_header.unwrap_or_else(|| request.authority().into());
        let name = Authority::parse(authority.as_bytes()).ok();
        let name = name.map(|authority| {
            let name = authority.host.trim_start_matches('[').trim_end_matches(']');
            name.to_ascii_lowercase()
        });
        match name.filter(|name| !name.is_empty()) {
            Some(name) => host.named(&name),
            None => host,
        }
    }

    /// No byte of the stream either way for this long.
    pub(super) fn idle_timeout(&self, manager: &ConnectionManager) -> Option<Duration> {
        match self.forward.idle_timeout_set {
            true => self.forward.idle_timeout,
            false => manager.config.stream_idle_timeout,
        }
    }

    /// Whether an upgrade to `protocol` is forwarded.
    pub(super) fn allows_upgrade(&self, manager: &ConnectionManager, protocol: &str) -> bool {
        let of_route = self
            .forward
            .upgrades
            .iter()
            .find(|(name, _)| name == protocol);
        match of_route {
            Some((_, allowed)) => *allowed,
            None => manager.config.upgrades.iter().any(|name| name == protocol),
        }
    }
}
