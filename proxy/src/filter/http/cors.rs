//! `envoy.filters.http.cors`: answers preflight requests, and says which origins may read responses.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/cors_filter>

use std::sync::Arc;

use super::{Decoding, Encoding, Step};
use crate::{
    config::{
        http_filter::{CorsPolicy, RouteSpecificFilterConfig},
        matcher::StringMatcher,
    },
    http::{
        head::{Fields, RequestHead},
        local_reply::{FilterReply, LocalReply},
        route::Matched,
    },
    reason::Reason,
    runtime::RuntimePercent,
    stat_set,
    stats::{Registry, Scope, Within},
};

stat_set! {
    /// `http.<stat_prefix>.cors.*`
    pub(super) struct CorsStats {
        /// Requests of an origin that the policy lets in.
        origin_valid: Counter,
        /// Requests of another origin.
        origin_invalid: Counter,
    }
}

/// The filter in one request.
pub(super) struct CorsFilter<'c> {
    stats: &'c CorsStats,
    /// What is said to the client, once it is known that the policy applies to it.
    admitted: Option<Admitted<'c>>,
}

/// An origin that is let in.
struct Admitted<'c> {
    origin: String,
    policies: Policies<'c>,
}

/// The policies of the route's levels, the most specific first: what one does not say the next does.
struct Policies<'c>(Vec<&'c CorsPolicy>);

// === impl CorsStats ===

impl CorsStats {
    pub(super) fn register(registry: &Registry, scope: &Scope) -> Arc<Within<Self>> {
        registry.register_within(scope.clone(), "cors.", Self::default())
    }
}

// === impl CorsFilter ===

impl<'c> CorsFilter<'c> {
    pub(super) fn new(stats: &'c CorsStats) -> Self {
        Self {
            stats,
            admitted: None,
        }
    }

    pub(super) fn on_request_headers(&mut self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        // Where nothing is sent on there is nothing to share.
        let Some(route) = d.route().filter(Matched::forwards) else {
            return Step::Continue;
        };
        let policies = Policies::of(name, &route);
        let (enforced, counted) = (policies.is_enforced(d), policies.is_in_shadow(d));
        if !enforced && !counted {
            return Step::Continue;
        }
        let request = d.request();
        let Some(origin) = request.header("origin").filter(|origin| !origin.is_empty()) else {
            return Step::Continue;
        };
        let is_allowed = policies.allow(&origin);
        match is_allowed {
            true => self.stats.origin_valid.inc(),
            false => self.stats.origin_invalid.inc(),
        }
        if !enforced {
            return Step::Continue;
        }
        let origin = is_allowed.then(|| origin.into_owned());
        let asked_for = |name| request.header(name).unwrap_or_default().into_owned();
        let method = asked_for("access-control-request-method");
        let is_preflight = request.method() == "OPTIONS" && !method.is_empty();
        if is_preflight && (origin.is_some() || !policies.forward_others()) {
            let mut reply = LocalReply::from(Reason::CorsPreflight);
            reply.of_filter = Some(Box::new(FilterReply {
                headers: policies.preflight(origin.as_deref(), method, asked_for),
                ..FilterReply::default()
            }));
            self.admitted = origin.map(|origin| Admitted { origin, policies });
            return Step::Reply(Box::new(reply));
        }
        self.admitted = origin.map(|origin| Admitted { origin, policies });
        Step::Continue
    }

    pub(super) fn on_response_headers(&mut self, e: &mut Encoding<'_, 'c>) {
        let Some(Admitted { origin, policies }) = &self.admitted else {
            return;
        };
        e.edits.set("access-control-allow-origin", origin.clone());
        if policies.find(|policy| policy.allow_credentials) == Some(true) {
            e.edits.set("access-control-allow-credentials", "true");
        }
        if let Some(headers) = policies.text(|policy| &policy.expose_headers) {
            e.edits.set("access-control-expose-headers", headers);
        }
    }
}

// === impl Policies ===

impl<'c> Policies<'c> {
    fn of(name: &str, route: &Matched<'c>) -> Self {
        let configs = route.filter_configs(name);
        let policies: Vec<_> = configs
            .filter_map(|config| match config {
                RouteSpecificFilterConfig::Cors(policy) => Some(&**policy),
                _ => None,
            })
            .collect();
        if !policies.is_empty() {
            return Self(policies);
        }
        // Where policies stood before filters had configuration of their own.
        Self(route.cors().collect())
    }

    fn is_enforced(&self, d: &Decoding<'_, '_>) -> bool {
        let Some(policy) = self.0.first() else {
            return false;
        };
        let share = policy.enabled.as_ref();
        share.is_none_or(|share| includes(share, d))
    }

    fn is_in_shadow(&self, d: &Decoding<'_, '_>) -> bool {
        let share = self
            .0
            .first()
            .and_then(|policy| policy.shadow_enabled.as_ref());
        share.is_some_and(|share| includes(share, d))
    }

    fn allow(&self, origin: &str) -> bool {
        let patterns = |policy: &&'c CorsPolicy| -> &'c [StringMatcher] { &policy.allow_origins };
        let mut lists = self.0.iter().map(patterns);
        let patterns = lists.find(|list| !list.is_empty()).unwrap_or_default();
        patterns
            .iter()
            .any(|pattern| pattern.matches("*") || pattern.matches(origin))
    }

    fn forward_others(&self) -> bool {
        let forward = self.find(|policy| policy.forward_not_matching_preflights);
        forward.unwrap_or(true)
    }

    fn preflight(
        &self,
        origin: Option<&str>,
        method: String,
        asked_for: impl Fn(&'static str) -> String,
    ) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(origin) = origin {
            headers.push(("access-control-allow-origin", origin.to_owned()));
        }
        if self.find(|policy| policy.allow_credentials) == Some(true) {
            headers.push(("access-control-allow-credentials", "true".to_owned()));
        }
        match self.text(|policy| &policy.allow_methods) {
            Some("*") => headers.push(("access-control-allow-methods", method)),
            Some(methods) => headers.push(("access-control-allow-methods", methods.to_owned())),
            None => {}
        }
        match self.text(|policy| &policy.allow_headers) {
            Some("*") => {
                let asked = asked_for("access-control-request-headers");
                headers.push(("access-control-allow-headers", asked));
            }
            Some(allowed) => headers.push(("access-control-allow-headers", allowed.to_owned())),
            None => {}
        }
        if let Some(age) = self.text(|policy| &policy.max_age) {
            headers.push(("access-control-max-age", age.to_owned()));
        }
        let private = self.find(|policy| policy.allow_private_network_access) == Some(true);
        if private && asked_for("access-control-request-private-network") == "true" {
            headers.push(("access-control-allow-private-network", "true".to_owned()));
        }
        headers
    }

    fn find<T>(&self, say: impl Fn(&CorsPolicy) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|policy| say(policy))
    }

    fn text(&self, say: impl Fn(&'c CorsPolicy) -> &'c String) -> Option<&'c str> {
        let mut texts = self.0.iter().map(|policy| say(policy).as_str());
        texts.find(|text| !text.is_empty())
    }
}

fn includes(share: &RuntimePercent, d: &Decoding<'_, '_>) -> bool {
    d.stream.runtime.includes(share, (d.stream.random)())
}
