//! `envoy.filters.http.ext_authz`: asks another service whether a request may pass.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter>

mod allowed;
mod ask;
mod check;
mod decision;
mod question;
mod stats;

use std::{collections::BTreeMap, rc::Rc, time::Instant};

use bytes::Bytes;

use self::{
    ask::Answered,
    decision::{Allowed, Change, Decision, Denied},
};
use super::{Awaited, Decoding, Encoding, Step};
use crate::{
    cluster::Cluster,
    config::http_filter::{
        ExtAuthz, ExtAuthzPerRoute, RouteSpecificFilterConfig,
        ext_authz::{AuthorizationService, BodySettings},
    },
    http::{
        edits::Edits,
        head::Fields,
        local_reply::{FilterReply, LocalReply},
        route::Matched,
    },
    reason::Reason,
};

pub(super) use stats::ExtAuthzStats;

/// The namespace of what the service says, whatever the filter is called.
const NAMESPACE: &str = "envoy.filters.http.ext_authz";
/// Said to the endpoint of a request that nobody has decided on.
const FAILURE_MODE_ALLOWED: &str = "x-envoy-auth-failure-mode-allowed";
/// Answered where a change cannot be made.
const INVALID: u16 = 500;

/// The filter in one request.
pub(super) struct ExtAuthzFilter<'c> {
    config: &'c ExtAuthz,
    stats: &'c ExtAuthzStats,
    stage: Stage,
    /// What a permission changes of the response.
    response_changes: Vec<Change>,
}

/// How far it has come.
enum Stage {
    /// Nothing has been looked at.
    Begin,
    /// The body has been asked for.
    Body,
    /// The service has been asked.
    Asked(Awaited<Answered>, Instant),
}

/// What holds for the route of a request.
struct Settings<'c> {
    service: &'c AuthorizationService,
    body: Option<BodySettings>,
    /// Of all levels; the most specific counts.
    context_extensions: BTreeMap<&'c str, &'c str>,
}

// === impl ExtAuthzFilter ===

impl<'c> ExtAuthzFilter<'c> {
    pub(super) fn new(config: &'c ExtAuthz, stats: &'c ExtAuthzStats) -> Self {
        Self {
            config,
            stats,
            stage: Stage::Begin,
            response_changes: Vec::new(),
        }
    }

    /// Called again when the body is there and when there is an answer.
    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        if let Stage::Asked(answered, since) = &self.stage {
            let (answered, since) = (answered.take(), *since);
            return match answered {
                Some(answered) => self.heed(answered, since, d),
                None => self.undecided(None, d),
            };
        }
        let Some(settings) = self.settings(name, d.route()) else {
            return Step::Continue;
        };
        if matches!(self.stage, Stage::Begin) {
            if !self.is_enabled(d) {
                return self.disabled(d);
            }
            if let Some(body) = settings.body.filter(|_| wants_body(d)) {
                self.stage = Stage::Body;
                return Step::Body {
                    limit: body.max_request_bytes.into(),
                    partial: body.allow_partial_message,
                };
            }
        }
        self.ask(&settings, d)
    }

    /// What a permission adds to the response.
    pub(super) fn on_response_headers(&mut self, e: &mut Encoding<'_, 'c>) {
        for change in std::mem::take(&mut self.response_changes) {
            change.apply_to_response(e.head, e.edits);
        }
    }

    /// None: the request is not asked about.
    fn settings(&self, name: &str, route: Option<Matched<'c>>) -> Option<Settings<'c>> {
        let mut settings = Settings {
            service: &self.config.service,
            body: self.config.with_request_body,
            context_extensions: BTreeMap::new(),
        };
        let Some(route) = route else {
            return Some(settings);
        };
        let levels = route.filter_configs(name);
        let levels = levels.filter_map(|config| match config {
            RouteSpecificFilterConfig::ExtAuthz(level) => Some(&**level),
            _ => None,
        });
        for (depth, level) in levels.enumerate() {
            match level {
                ExtAuthzPerRoute::Disabled(disabled) => {
                    if depth == 0 && *disabled {
                        return None;
                    }
                }
                ExtAuthzPerRoute::Check(check) => {
                    for (key, value) in &check.context_extensions {
                        settings.context_extensions.entry(key).or_insert(value);
                    }
                    // As Envoy, only the extensions of less specific levels count.
                    if depth == 0 {
                        settings.body = check.with_request_body.or(settings.body);
                        if check.disable_request_body_buffering {
                            settings.body = None;
                        }
                        settings.service = check.service.as_ref().unwrap_or(settings.service);
                    }
                }
            }
        }
        Some(settings)
    }

    fn is_enabled(&self, d: &Decoding<'_, 'c>) -> bool {
        let share = self.config.enabled.as_ref();
        let is_in_share =
            share.is_none_or(|share| d.stream.runtime.includes(share, (d.stream.random)()));
        let matcher = self.config.enabled_metadata.as_ref();
        is_in_share && matcher.is_none_or(|matcher| matcher.matches(d.stream.metadata))
    }

    fn disabled(&self, d: &Decoding<'_, 'c>) -> Step {
        self.stats.disabled.inc();
        let deny = self.config.deny_at_disable.as_ref();
        let denies = deny.is_some_and(|flag| d.stream.runtime.boolean(&flag.key, flag.default));
        match denies {
            true => refusal(
                self.config.status_on_error,
                Reason::ExternalAuthorizationError,
            ),
            false => Step::Continue,
        }
    }

    /// Asks the service.
    fn ask(&mut self, settings: &Settings<'c>, d: &mut Decoding<'_, 'c>) -> Step {
        let Some(clusters) = d.stream.clusters.cloned() else {
            return self.undecided(None, d);
        };
        let route_metadata = d.route().map(|route| &route.route.metadata);
        let asked = match settings.service {
            AuthorizationService::Grpc(service) => {
                ask::over_grpc(self.config, settings, service, d, route_metadata, clusters)
            }
            AuthorizationService::Http(service) => {
                ask::over_http(self.config, settings, service, d, clusters)
            }
        };
        let Some((waiting, answered)) = asked else {
            return self.undecided(None, d);
        };
        self.stage = Stage::Asked(answered, Instant::now());
        Step::Wait(waiting)
    }

    /// Does as the service said.
    fn heed(&mut self, answered: Answered, since: Instant, d: &mut Decoding<'_, 'c>) -> Step {
        let (decision, mut metadata) = answered.decision();
        if !metadata.is_empty() {
            if self.config.takes_metadata {
                if matches!(decision, Decision::Allowed(_)) {
                    let ms = since.elapsed().as_millis() as f64;
                    metadata.insert("ext_authz_duration".to_owned(), ms.into());
                }
                d.stream.metadata.merge(NAMESPACE, metadata);
            } else {
                self.stats.ignored_dynamic_metadata.inc();
            }
        }
        match decision {
            Decision::Allowed(allowed) => self.allow(allowed, d),
            Decision::Denied(denied) => self.deny(denied, d),
            Decision::Error(error) => self.undecided(error, d),
        }
    }

    fn allow(&mut self, allowed: Allowed, d: &mut Decoding<'_, 'c>) -> Step {
        if self.config.validate_mutations && !allowed.is_valid() {
            return self.invalid(d);
        }
        if self.config.clear_route_cache && allowed.changes_request() {
            d.route.clear();
        }
        let rules = self.config.mutation_rules.as_ref();
        if allowed::apply(&allowed, rules, d).is_err() {
            return self.invalid(d);
        }
        self.response_changes = allowed.response;
        self.stats.ok.inc();
        self.count_at_cluster(d, "ok");
        Step::Continue
    }

    fn deny(&self, denied: Denied, d: &mut Decoding<'_, 'c>) -> Step {
        if self.config.validate_mutations && !denied.is_valid() {
            return self.invalid(d);
        }
        self.stats.denied.inc();
        self.count_at_cluster(d, "denied");
        let status = denied.status.unwrap_or(403);
        self.charge(d, status);
        self.reply(denied, status, Reason::ExternalAuthorizationDenied)
    }

    /// Nobody has decided.
    fn undecided(&self, error: Option<Denied>, d: &mut Decoding<'_, 'c>) -> Step {
        self.stats.error.inc();
        self.count_at_cluster(d, "error");
        if self.config.failure_mode_allow {
            self.stats.failure_mode_allowed.inc();
            self.count_at_cluster(d, "failure_mode_allowed");
            if self.config.failure_mode_allow_header_add {
                d.edits.add(FAILURE_MODE_ALLOWED, "true");
            }
            return Step::Continue;
        }
        let error = error.unwrap_or_default();
        let status = error.status.unwrap_or(self.config.status_on_error);
        self.reply(error, status, Reason::ExternalAuthorizationError)
    }

    /// The service asked for a change that may not be made.
    fn invalid(&self, d: &mut Decoding<'_, 'c>) -> Step {
        self.stats.invalid.inc();
        self.count_at_cluster(d, "invalid");
        refusal(INVALID, Reason::ExternalAuthorizationInvalid)
    }

    /// What the client is answered.
    fn reply(&self, denied: Denied, status: u16, reason: Reason) -> Step {
        let most = self.config.max_denied_body.unwrap_or(usize::MAX);
        let mut body = denied.body;
        body.truncate(most);
        let mut edits = Edits::default();
        denied
            .headers
            .iter()
            .for_each(|it| it.make_room(&mut edits));
        for change in denied.headers {
            change.add_to_reply(&mut edits);
        }
        let mut reply = LocalReply::from(reason);
        (reply.status, reply.body) = (status, body);
        reply.of_filter = Some(Box::new(FilterReply {
            edits,
            ..FilterReply::default()
        }));
        Step::Reply(Box::new(reply))
    }

    fn count_at_cluster(&self, d: &mut Decoding<'_, 'c>, name: &'static str) {
        if let Some(cluster) = cluster_of(d) {
            let name = format!("{}{name}", self.config.stat_prefix);
            cluster.stats.ext_authz.inc(&name);
        }
    }

    /// Counts a refusal as a response of the route's cluster.
    fn charge(&self, d: &mut Decoding<'_, 'c>, status: u16) {
        if self.config.charge_cluster_response_stats
            && let Some(cluster) = cluster_of(d)
        {
            cluster.stats.upstream_rq.inc(status);
            cluster.stats.upstream_rq_completed.inc();
        }
    }
}

/// The cluster that the request would go to.
fn cluster_of(d: &mut Decoding<'_, '_>) -> Option<Rc<Cluster>> {
    let route = d.route()?;
    let name = route.cluster(&d.request())?;
    d.stream.clusters?.get(&name)
}

/// Whether the request has a body that can be waited for.
fn wants_body(d: &Decoding<'_, '_>) -> bool {
    (d.has_body || d.body.is_some()) && !d.request().has("upgrade")
}

fn refusal(status: u16, reason: Reason) -> Step {
    let mut reply = LocalReply::from(reason);
    (reply.status, reply.body) = (status, Bytes::new());
    Step::Reply(Box::new(reply))
}

#[cfg(test)]
mod tests;
