//! Rules of which another object says what becomes of their requests.

use super::{
    HeaderEdits, PathMatch, Rank, RequestMatch, Retry, Rewrite, RoutingRule, RuleAction,
    SourceMatch, ValueMatch,
};

/// Rules that one rule may become: bounds what two objects make of each other.
const MOST: usize = 10_000;

/// What a rule becomes where another object's rules say what is done. What these do not say the rule
/// itself says, and a request has to match both. A delegate delegates nothing.
pub(super) fn merged(root: &RoutingRule, delegate: &[RoutingRule]) -> Vec<RoutingRule> {
    let rules = delegate.iter();
    let rules = rules.filter(|it| !matches!(it.action, RuleAction::Delegate { .. }));
    let merged = rules.filter_map(|rule| {
        let pairs = root
            .matches
            .iter()
            .flat_map(|one| rule.matches.iter().map(move |other| (one, other)));
        let matches: Vec<_> = pairs
            .filter_map(|(one, other)| both(one, other))
            .take(MOST)
            .collect();
        (!matches.is_empty()).then(|| filled(rule, root, matches))
    });
    merged.take(MOST).collect()
}

fn filled(rule: &RoutingRule, root: &RoutingRule, matches: Vec<RequestMatch>) -> RoutingRule {
    let edits = |own: &HeaderEdits, of_root: &HeaderEdits| match own.is_empty() {
        true => of_root.clone(),
        false => own.clone(),
    };
    let retry: Option<&Retry> = rule.retry.as_ref().or(root.retry.as_ref());
    RoutingRule {
        name: rule.name.clone(),
        matches,
        request: edits(&rule.request, &root.request),
        response: edits(&rule.response, &root.response),
        action: match (&rule.action, &root.action) {
            (
                RuleAction::Forward { backends, rewrite },
                RuleAction::Delegate {
                    rewrite: of_root, ..
                },
            ) if *rewrite == Rewrite::default() => RuleAction::Forward {
                backends: backends.clone(),
                rewrite: of_root.clone(),
            },
            (action, _) => action.clone(),
        },
        timeout: rule.timeout.or(root.timeout),
        attempt_timeout: match rule.retry {
            Some(_) => rule.attempt_timeout,
            None => root.attempt_timeout,
        },
        retry: retry.cloned(),
        mirrors: match rule.mirrors.is_empty() {
            true => root.mirrors.clone(),
            false => rule.mirrors.clone(),
        },
        cors: rule.cors.clone().or_else(|| root.cors.clone()),
        fault: rule.fault.clone().or_else(|| root.fault.clone()),
    }
}

/// What fulfils both, if anything can.
fn both(one: &RequestMatch, other: &RequestMatch) -> Option<RequestMatch> {
    let (path, ignores_case) = path(one, other)?;
    let method = same(one.method.as_ref(), other.method.as_ref())?;
    Some(RequestMatch {
        path,
        ignores_case,
        headers: values(&one.headers, &other.headers)?,
        query: values(&one.query, &other.query)?,
        method: method.cloned(),
        source: source(&one.source, &other.source)?,
        rank: Rank::written(),
    })
}

/// The narrower of two paths, if one is within the other.
fn path(one: &RequestMatch, other: &RequestMatch) -> Option<(PathMatch, bool)> {
    let said = |it: &RequestMatch| (it.path.clone(), it.ignores_case);
    let is_any = |it: &RequestMatch| match &it.path {
        PathMatch::Start(start) => start.is_empty(),
        PathMatch::Prefix(prefix) => prefix.is_empty(),
        _ => false,
    };
    if is_any(other) || one.path == other.path && one.ignores_case == other.ignores_case {
        return Some(said(one));
    }
    let begins = |text: &str| match &one.path {
        PathMatch::Start(start) => text.starts_with(&**start),
        _ => false,
    };
    let within = match &other.path {
        PathMatch::Exact(path) | PathMatch::Start(path) => begins(path),
        PathMatch::Prefix(_) | PathMatch::Regex(_) => false,
    };
    (is_any(one) || within).then(|| said(other))
}

fn values(one: &[ValueMatch], other: &[ValueMatch]) -> Option<Vec<ValueMatch>> {
    let mut all = one.to_vec();
    for value in other {
        match one.iter().find(|it| it.name == value.name) {
            Some(known) if known == value => {}
            Some(_) => return None,
            None => all.push(value.clone()),
        }
    }
    Some(all)
}

fn source(one: &SourceMatch, other: &SourceMatch) -> Option<SourceMatch> {
    let mut labels = one.labels.clone();
    for (key, value) in &other.labels {
        if labels
            .insert(key.clone(), value.clone())
            .is_some_and(|it| it != *value)
        {
            return None;
        }
    }
    Some(SourceMatch {
        port: same(one.port.as_ref(), other.port.as_ref())?.copied(),
        namespace: same(one.namespace.as_ref(), other.namespace.as_ref())?.cloned(),
        labels,
    })
}

/// What either says, if they do not say different things.
fn same<'a, T: PartialEq>(one: Option<&'a T>, other: Option<&'a T>) -> Option<Option<&'a T>> {
    match (one, other) {
        (Some(one), Some(other)) => (one == other).then_some(Some(one)),
        (one, other) => Some(one.or(other)),
    }
}
