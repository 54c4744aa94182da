//! `envoy.filters.http.jwt_authn`: lets requests through that carry the tokens that are required of
//! them, and tells the endpoint and other filters what is in these.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter>

mod authenticate;
mod cache;
mod locations;
mod outputs;
mod verify;
mod worker;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Map;

use super::{Decoding, Step};
use crate::{
    config::http_filter::{
        RouteSpecificFilterConfig,
        jwt_authn::{JwtAuthn, JwtPerRoute, JwtRequirement, RequirementRef},
    },
    http::{
        head::{Fields, RequestHead},
        local_reply::{FilterReply, LocalReply},
        route::matches,
    },
    jwt::Status,
    reason::Reason,
};
use verify::Verification;

pub(super) use worker::JwtWorker;

/// The namespace of what the filter says, whatever it is called.
const NAMESPACE: &str = "envoy.filters.http.jwt_authn";
/// Bytes of the path that a client is told in `www-authenticate`, as in Envoy.
const MAX_REALM_PATH: usize = 256;

/// The filter in one request.
pub(super) struct JwtAuthnFilter<'c> {
    config: &'c JwtAuthn,
    worker: &'c JwtWorker,
}

// === impl JwtAuthnFilter ===

impl<'c> JwtAuthnFilter<'c> {
    pub(super) fn new(config: &'c JwtAuthn, worker: &'c JwtWorker) -> Self {
        Self { config, worker }
    }

    pub(super) fn on_request_headers(&self, name: &str, d: &mut Decoding<'_, 'c>) -> Step {
        outputs::sanitize(&self.config.providers, d.edits);
        if self.config.bypass_cors_preflight && is_cors_preflight(&d.request()) {
            self.worker.stats.cors_preflight_bypassed.inc();
            return self.allow();
        }
        let requirement = match self.requirement(name, d) {
            Ok(requirement) => requirement,
            Err(unknown) => return self.refuse_route(unknown),
        };
        let Some(requirement) = requirement else {
            return self.allow();
        };
        let realm = realm(d);
        let mut verification = Verification {
            config: self.config,
            worker: self.worker,
            now: now(),
            said: Map::new(),
            clears_route: false,
        };
        let verdict = verification.verify(requirement, d);
        if !verification.said.is_empty() {
            d.stream.metadata.merge(NAMESPACE, verification.said);
        }
        if verification.clears_route {
            d.route.clear();
        }
        match verdict {
            Ok(()) => self.allow(),
            Err(status) => self.refuse(status, &realm),
        }
    }

    fn allow(&self) -> Step {
        self.worker.stats.allowed.inc();
        Step::Continue
    }

    /// What is required of the request. Else the name of a requirement that there is none of.
    fn requirement(
        &self,
        name: &str,
        d: &mut Decoding<'_, 'c>,
    ) -> Result<Option<&'c JwtRequirement>, &'c str> {
        let of_route = d.route().and_then(|route| {
            let mut configs = route.filter_configs(name);
            configs.find_map(|config| match config {
                RouteSpecificFilterConfig::JwtAuthn(config) => Some(config),
                _ => None,
            })
        });
        match of_route {
            Some(JwtPerRoute::Disabled) => Ok(None),
            Some(JwtPerRoute::RequirementName(name)) => {
                self.config.named(name).map(Some).ok_or(name)
            }
            None => Ok(self.requirement_of_rules(d)),
        }
    }

    fn requirement_of_rules(&self, d: &Decoding<'_, 'c>) -> Option<&'c JwtRequirement> {
        let (request, config) = (d.request(), self.config);
        let mut rules = config.rules.iter();
        let rule = rules.find(|rule| matches(&rule.criteria, &request, d.stream.runtime, 0));
        if let Some(rule) = rule {
            return match rule.requirement.as_ref()? {
                RequirementRef::Here(requirement) => Some(requirement),
                RequirementRef::Named(index) => {
                    config.requirement_map.get(*index).map(|(_, of)| of)
                }
            };
        }
        let by_state = config.filter_state_rules.as_ref()?;
        let object = d.stream.filter_state.get(&by_state.name)?;
        let mut requires = by_state.requires.iter();
        requires
            .find(|(known, _)| known == object)
            .map(|(_, requirement)| requirement)
    }

    fn refuse(&self, status: Status, realm: &str) -> Step {
        self.worker.stats.denied.inc();
        let code = match status {
            Status::AudienceNotAllowed => 403,
            _ => 401,
        };
        if self.config.strip_failure_response {
            return reply(code, status.text(), "", Vec::new());
        }
        let error = match status {
            Status::Missing => "",
            _ => ", error=\"invalid_token\"",
        };
        let challenge = format!("Bearer realm=\"{realm}\"{error}");
        let headers = vec![("www-authenticate", challenge)];
        reply(code, status.text(), status.text(), headers)
    }

    /// The route asks for a requirement that there is none of.
    fn refuse_route(&self, requirement: &str) -> Step {
        self.worker.stats.denied.inc();
        let known = self.config.requirement_map.iter().map(|(name, _)| &**name);
        let known: Vec<_> = known.collect();
        let error = format!(
            "Wrong requirement_name: {requirement}. It should be one of [{}]",
            known.join(",")
        );
        let body = match self.config.strip_failure_response {
            true => String::new(),
            false => format!("Failed JWT authentication: {error}"),
        };
        reply(403, &error, &body, Vec::new())
    }
}

fn reply(status: u16, error: &str, body: &str, headers: Vec<(&'static str, String)>) -> Step {
    let mut reply = LocalReply::from(Reason::JwtRefused);
    reply.status = status;
    reply.body = body.to_owned().into();
    let error = error.replace(char::is_whitespace, "_");
    reply.of_filter = Some(Box::new(FilterReply {
        details: Some(format!("{}{{{error}}}", Reason::JwtRefused.code())),
        headers,
        ..FilterReply::default()
    }));
    Step::Reply(Box::new(reply))
}

fn is_cors_preflight(request: &dyn RequestHead) -> bool {
    let is_there = |name| {
        let value = request.header(name);
        value.is_some_and(|value| !value.is_empty())
    };
    request.method() == "OPTIONS" && is_there("origin") && is_there("access-control-request-method")
}

/// What the client had asked for, as a challenge names it.
fn realm(d: &Decoding<'_, '_>) -> String {
    let request = d.request();
    let original = request.header("x-envoy-original-path");
    let path = original.as_deref().unwrap_or(request.path());
    let end = path.floor_char_boundary(MAX_REALM_PATH.min(path.len()));
    let scheme = match d.stream.connection.tls {
        Some(_) => "https",
        None => "http",
    };
    format!("{scheme}://{}{}", request.authority(), &path[..end])
}

/// Since 1970.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

#[cfg(test)]
mod tests;
