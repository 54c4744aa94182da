//! What the configuration changes about a request's head. The same for every version of HTTP.

use std::{borrow::Cow, time::Duration};

use super::{ConnectionManager, plan::ForwardPlan};
use crate::{
    access_log::Facts,
    cluster::Host,
    config::route::HostRewrite,
    http::{
        authority::Authority,
        changes::RequestChanges,
        edits::{Edited, Edits, rendered_for},
        head::RequestHead,
        route::rewrite_path,
    },
};

/// How long the endpoint may take: what is left to the route, but no longer than one attempt.
fn expected_timeout(plan: &ForwardPlan<'_>, elapsed: Duration) -> Option<Duration> {
    let policy = plan.retry_policy();
    let of_attempt = policy.and_then(|policy| policy.per_try_timeout);
    let of_route = plan.forward.timeout;
    let left = of_route.map(|timeout| timeout.saturating_sub(elapsed));
    [left, of_attempt].into_iter().flatten().min()
}

impl<'c> RequestChanges<'c> {
    /// For one attempt, at `host`.
    pub(super) fn new(
        manager: &ConnectionManager,
        plan: &ForwardPlan<'c>,
        request: &dyn RequestHead,
        facts: &Facts<'_>,
        host: &Host,
        (attempt, elapsed): (u32, Duration),
        edits: Option<&Edits<'c>>,
    ) -> Self {
        let config = &manager.config;
        let envoy_headers = !manager.router().suppress_envoy_headers;
        let came = request;
        let mut edits = edits.cloned().unwrap_or_default();
        let filtered = edits.clone();
        let request: &dyn RequestHead = &Edited::new(request, &filtered);
        for level in plan.matched.levels().filter(|l| !l.request.is_empty()) {
            edits.apply(&level.request, came, &rendered_for(facts, came));
        }
        let path = plan.forward.path_rewrite.as_ref();
        let path = path.map(|r| rewrite_path(r, &plan.matched.route.criteria, request.path()));
        let filters_path = filtered.path().map(str::to_owned);
        let new_host = match &plan.forward.host_rewrite {
            HostRewrite::Keep => None,
            HostRewrite::Literal(host) => Some(host.clone()),
            HostRewrite::Auto => (!host.hostname.is_empty()).then(|| host.hostname.to_string()),
            // What a client says must be a host to choose one.
            HostRewrite::Header(name) => request
                .first(name)
                .filter(|host| Authority::parse(host.as_bytes()).is_ok())
                .map(Cow::into_owned),
        };
        if new_host.is_some() && plan.forward.append_x_forwarded_host {
            let original = request.authority().to_owned();
            edits.add("x-forwarded-host", original);
        }
        if new_host.is_some() && envoy_headers {
            edits.set("x-envoy-original-host", request.authority().to_owned());
        }
        if path.is_some() && envoy_headers {
            edits.set("x-envoy-original-path", request.path().to_owned());
        }
        let forwards_for = config.use_remote_address && !config.skip_xff_append;
        let timeout = expected_timeout(plan, elapsed).filter(|_| envoy_headers);
        let count = plan.matched.virtual_host.include_request_attempt_count;
        Self {
            edits,
            method: filtered.method().map(str::to_owned),
            path: path.or(filters_path),
            host: new_host.or_else(|| filtered.authority().map(str::to_owned)),
            length: None,
            forwarded_for: forwards_for.then(|| facts.context.remote.ip()),
            external_address: config.use_remote_address.then(|| {
                let peer = facts.context.remote.ip();
                manager.client(request, peer).unwrap_or(peer)
            }),
            expected_timeout_ms: timeout
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            attempt: count.then_some(attempt),
            is_tls: facts.context.tls.is_some(),
        }
    }
}
