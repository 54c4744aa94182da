//! Rules about requests.

use std::sync::Arc;

use super::{
    answer, cors,
    destination::{backends, edits, mirrors},
    fault, matches, retries,
    wire::HttpRoute,
};
use crate::{
    model::{RequestMatch, RoutingRule, RuleAction},
    rules::{Findings, Place},
};

/// What a rule means. None: nobody knows which requests it is about, or it is about none of sidecars.
pub(super) fn rule(
    index: usize,
    said: &HttpRoute,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<RoutingRule> {
    let at = format!("spec.http[{index}]");
    let faults = findings.errors();
    let matches = read_matches(&at, said, place, findings)?;
    if findings.errors() > faults {
        return None;
    }
    let (request, response) = edits(&at, said.headers.as_ref(), place, findings);
    let (timeout, retry) = (said.timeout, said.retries.as_ref());
    let attempt = retry.and_then(|it| it.per_try_timeout);
    let rule = RoutingRule {
        name: name(index, said, place),
        action: action(&at, said, place, findings),
        request,
        response,
        timeout: timeout.map(|it| it.0).filter(|it| !it.is_zero()),
        attempt_timeout: attempt.map(|it| it.0).filter(|it| !it.is_zero()),
        retry: retry.map(|it| retries::read(&format!("{at}.retries"), it, place, findings)),
        mirrors: mirrors(&at, said, place, findings),
        cors: said
            .cors_policy
            .as_ref()
            .map(|it| cors::read(&format!("{at}.corsPolicy"), it, place, findings)),
        fault: said
            .fault
            .as_ref()
            .and_then(|it| fault::read(&format!("{at}.fault"), it, findings)),
        matches,
    };
    Some(match findings.errors() > faults {
        false => rule,
        // A part of it would not be what was meant.
        true => RoutingRule {
            action: RuleAction::Fail,
            mirrors: Vec::new(),
            ..rule
        },
    })
}

fn read_matches(
    at: &str,
    said: &HttpRoute,
    place: &Place<'_>,
    findings: &mut Findings,
) -> Option<Vec<RequestMatch>> {
    let Some(all) = said.matches.as_ref().filter(|it| !it.is_empty()) else {
        return Some(vec![matches::any(place)]);
    };
    let all = all.iter().enumerate();
    let all = all.filter(|(_, it)| matches::is_of_sidecars(it));
    let all: Vec<_> = all
        .map(|(index, it)| matches::read(&format!("{at}.match[{index}]"), it, place, findings))
        .collect();
    (!all.is_empty()).then_some(all)
}

fn name(index: usize, said: &HttpRoute, place: &Place<'_>) -> Arc<str> {
    let object = place.meta.name.as_deref().unwrap_or_default();
    let rule = match said.name.as_deref().filter(|it| !it.is_empty()) {
        Some(name) => name.to_owned(),
        None => index.to_string(),
    };
    place
        .names
        .text(&format!("{}/{object}/{rule}", place.namespace))
}

/// What becomes of requests: one thing of four.
fn action(at: &str, said: &HttpRoute, place: &Place<'_>, findings: &mut Findings) -> RuleAction {
    let route = said.route.as_ref().filter(|it| !it.is_empty());
    let is_said = [
        route.is_some(),
        said.redirect.is_some(),
        said.direct_response.is_some(),
        said.delegate.is_some(),
    ];
    if is_said.iter().filter(|it| **it).count() != 1 {
        let reason = "says not one of route, redirect, directResponse and delegate: write one";
        findings.malformed(at, reason);
        return RuleAction::Fail;
    }
    let at_rewrite = format!("{at}.rewrite");
    let rewrite = said.rewrite.as_ref();
    if rewrite.is_some() && (said.redirect.is_some() || said.direct_response.is_some()) {
        let reason = "is of requests that are sent on: leave it out, or write route";
        findings.malformed(&at_rewrite, reason);
    }
    let mut rewrite = || {
        let read = rewrite.map(|it| answer::rewrite(&at_rewrite, it, place, findings));
        read.unwrap_or_default()
    };
    if let Some(delegate) = &said.delegate {
        let rewrite = rewrite();
        return answer::delegate(
            &format!("{at}.delegate"),
            delegate,
            rewrite,
            place,
            findings,
        );
    }
    if let Some(redirect) = &said.redirect {
        return answer::redirect(&format!("{at}.redirect"), redirect, place, findings);
    }
    if let Some(response) = &said.direct_response {
        return answer::respond(&format!("{at}.directResponse"), response, place, findings);
    }
    let rewrite = rewrite();
    RuleAction::Forward {
        backends: backends(at, route.into_iter().flatten(), place, findings),
        rewrite,
    }
}
