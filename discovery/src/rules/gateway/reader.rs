//! The rules of a route.

use std::sync::Arc;

use serde_json::Value;

use super::{
    backend::weighted,
    duration::duration,
    fault::{Fault, Faults},
    filters::{Context, Filters},
    matches,
    route::Dialect,
    wire,
};
use crate::{
    model::{HeaderEdits, PathMatch, RequestMatch, Retry, RoutingRule, RuleAction},
    rules::Place,
};

/// A rule of a route as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRule {
    /// What it means. None: it is dropped, for nobody knows which requests it is about.
    pub rule: Option<RoutingRule>,
    /// What is wrong with it. If anything is, it is no more than that requests fail.
    pub faults: Vec<Fault>,
}

/// Statuses that retries may be asked for.
const RETRIABLE: std::ops::Range<u16> = 400..600;

// === impl ReadRule ===

impl ReadRule {
    pub(super) fn read<D: Dialect>(index: usize, value: &Value, place: &Place<'_>) -> Self {
        let at = format!("spec.rules[{index}]");
        let mut faults = Faults::default();
        let Some(said) = faults.typed::<wire::Rule>(&at, value) else {
            return Self {
                rule: None,
                faults: faults.0,
            };
        };
        let matches = read_matches::<D>(&at, &said, place, &mut faults);
        let is_lost = matches.is_none();
        let rule = rest::<D>(
            (index, &at),
            &said,
            matches.unwrap_or_default(),
            place,
            &mut faults,
        );
        let faults = faults.0;
        let rule = match faults.is_empty() {
            true => rule,
            // Mirrors and all else would be a part of what was meant.
            false => RoutingRule {
                action: RuleAction::Fail,
                mirrors: Vec::new(),
                cors: None,
                request: HeaderEdits::default(),
                response: HeaderEdits::default(),
                ..rule
            },
        };
        Self {
            rule: (!is_lost).then_some(rule),
            faults,
        }
    }

    /// Whether it means what its author wrote.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// What becomes of requests because of its faults, for people.
    #[must_use]
    pub fn consequence(&self) -> &'static str {
        match &self.rule {
            Some(_) => "requests that match the rule fail",
            None => "the rule is dropped",
        }
    }
}

/// What a rule matches; none if that cannot be said.
fn read_matches<D: Dialect>(
    at: &str,
    said: &wire::Rule,
    place: &Place<'_>,
    faults: &mut Faults,
) -> Option<Vec<RequestMatch>> {
    let all = said.matches.iter().flatten().enumerate();
    let all: Vec<_> = all
        .map(|(index, value)| {
            (D::READ_MATCH)(&format!("{at}.matches[{index}]"), value, place, faults)
        })
        .collect();
    if all.is_empty() {
        return Some(vec![matches::any(place)]);
    }
    let all = all.into_iter().collect::<Option<_>>();
    // What was found may be wrong although it could be read.
    all.filter(|_| faults.0.is_empty())
}

fn rest<D: Dialect>(
    (index, at): (usize, &str),
    said: &wire::Rule,
    matches: Vec<RequestMatch>,
    place: &Place<'_>,
    faults: &mut Faults,
) -> RoutingRule {
    let is_prefix = |it: &RequestMatch| matches!(it.path, PathMatch::Prefix(_));
    let context = Context {
        place,
        speech: D::SPEECH,
        all_prefix: matches.iter().all(is_prefix),
    };
    refuse_the_rest::<D>(at, said, faults);
    let filters = Filters::read(at, &said.filters, &context, faults);
    let backends = said.backend_refs.iter().flatten().enumerate();
    let backends: Vec<_> = backends
        .filter_map(|(index, value)| {
            weighted(
                &format!("{at}.backendRefs[{index}]"),
                value,
                &context,
                faults,
            )
        })
        .collect();
    if filters.redirect.is_some() && !backends.is_empty() {
        let reason = "a rule with RequestRedirect sends nothing on: leave out its backendRefs";
        faults.incompatible(&format!("{at}.backendRefs"), reason);
    }
    let (timeout, attempt_timeout) = timeouts(at, said.timeouts.as_ref(), faults);
    RoutingRule {
        name: name(index, said, place),
        matches,
        request: filters.request,
        response: filters.response,
        action: match filters.redirect {
            Some(redirect) => RuleAction::Redirect(redirect),
            None => RuleAction::Forward {
                backends,
                rewrite: filters.rewrite,
            },
        },
        timeout,
        attempt_timeout,
        retry: said.retry.as_ref().and_then(|it| retry(at, it, faults)),
        mirrors: filters.mirrors,
        cors: filters.cors,
        fault: None,
    }
}

/// What is not honoured, whatever it says.
fn refuse_the_rest<D: Dialect>(at: &str, said: &wire::Rule, faults: &mut Faults) {
    for field in said.others.keys() {
        faults.unsupported(&format!("{at}.{field}"), "is not known here: leave it out");
    }
    if said.session_persistence.is_some() {
        let reason = "sessions are not kept at an endpoint: leave it out";
        faults.unsupported(&format!("{at}.sessionPersistence"), reason);
    }
    if !D::HAS_TIMEOUTS {
        for (field, value) in [("timeouts", &said.timeouts), ("retry", &said.retry)] {
            if value.is_some() {
                faults.unsupported(&format!("{at}.{field}"), "is no field of this kind");
            }
        }
    }
}

fn name(index: usize, said: &wire::Rule, place: &Place<'_>) -> Arc<str> {
    let route = place.meta.name.as_deref().unwrap_or_default();
    let rule = match &said.name {
        Some(name) => name.clone(),
        None => index.to_string(),
    };
    place
        .names
        .text(&format!("{}/{route}/{rule}", place.namespace))
}

type Bound = Option<std::time::Duration>;

fn timeouts(at: &str, said: Option<&Value>, faults: &mut Faults) -> (Bound, Bound) {
    let at = format!("{at}.timeouts");
    let Some(said) = said.and_then(|it| faults.typed::<wire::Timeouts>(&at, it)) else {
        return (None, None);
    };
    let mut read = |field: &str, text: &Option<String>| {
        let read = text.as_deref().map(duration)?;
        if let Err(reason) = &read {
            faults.malformed(&format!("{at}.{field}"), reason);
        }
        // Nothing at all is no bound.
        read.ok().filter(|it| !it.is_zero())
    };
    let request = read("request", &said.request);
    let attempt = read("backendRequest", &said.backend_request);
    if let (Some(request), Some(attempt)) = (request, attempt)
        && attempt > request
    {
        let reason = "is longer than request: make it shorter";
        faults.malformed(&format!("{at}.backendRequest"), reason);
    }
    (request, attempt)
}

fn retry(at: &str, said: &Value, faults: &mut Faults) -> Option<Retry> {
    let at = format!("{at}.retry");
    let said: wire::Retry = faults.typed(&at, said)?;
    for (index, code) in said.codes.iter().flatten().enumerate() {
        if !RETRIABLE.contains(code) {
            let reason = format!("{code} is no status of an error (400 to 599)");
            faults.malformed(&format!("{at}.codes[{index}]"), reason);
        }
    }
    if said.attempts == Some(0) {
        faults.malformed(
            &format!("{at}.attempts"),
            "is at least 1: leave out retry instead",
        );
    }
    let backoff = said.backoff.as_deref().map(duration).transpose();
    if let Err(reason) = &backoff {
        faults.malformed(&format!("{at}.backoff"), reason);
    }
    Some(Retry {
        conditions: None,
        statuses: said.codes.unwrap_or_default(),
        attempts: said.attempts,
        backoff: backoff.ok().flatten(),
    })
}
