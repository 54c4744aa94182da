//! What is wrong to write in a policy beside what cannot be read, with Istio's rules for it.

use std::collections::BTreeMap;

use super::{
    Action, Rule, Spec,
    fields::{Field, OPERATION, SOURCE, attribute},
    reader::Reader,
};
use crate::{
    model::{Attribute, AuthorizationAction, Condition, Interner},
    rules::{Findings, Place},
};

/// Finds it.
pub(super) fn advise(spec: &Spec, place: &Place<'_>, findings: &mut Findings) {
    targets(spec, findings);
    if spec.action == Action::Custom {
        provider(spec, place, findings);
    }
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        let at = format!("spec.rules[{index}]");
        lists(&at, rule, findings);
        callers(&at, rule, findings);
        wildcards(&at, rule, place.names, findings);
    }
    if spec.action == Action::Deny {
        refused_connections(spec, place, findings);
    }
}

/// Who is asked. One that is not known yet may be by the time that it counts, so it is not refused.
fn provider(spec: &Spec, place: &Place<'_>, findings: &mut Findings) {
    const AT: &str = "spec.provider.name";

    let name = spec.provider.as_ref().map_or("", |it| &it.name);
    if name.is_empty() {
        findings.malformed(AT, "CUSTOM asks a provider: name it");
        return;
    }
    let known = place.settings.extension_providers.as_ref();
    let Some(known) = known.filter(|known| !known.contains(name)) else {
        return;
    };
    let known = match known.is_empty() {
        true => "it has none".to_owned(),
        false => format!(
            "it has {}",
            Vec::from_iter(known.iter().map(String::as_str)).join(", ")
        ),
    };
    let reason = format!(
        "{name:?} is no extension provider of the mesh ({known}), so nobody is let in: add it to \
         extensionProviders, or name one that is there"
    );
    findings.warned(AT, reason);
}

fn targets(spec: &Spec, findings: &mut Findings) {
    let said = [
        spec.selector.is_some(),
        spec.target_ref.is_some(),
        spec.target_refs.as_ref().is_some_and(|all| !all.is_empty()),
    ];
    if said.iter().filter(|said| **said).count() > 1 {
        findings.malformed(
            "spec.targetRefs",
            "stands beside spec.selector or spec.targetRef: write one of them",
        );
    }
    for target in spec.targets() {
        if target.name.is_empty() || target.kind.is_empty() {
            findings.malformed(
                "spec.targetRefs",
                "a target has a kind and a name: write both",
            );
        }
        if !target.namespace.is_empty() {
            findings.malformed(
                "spec.targetRefs",
                "a target is in the policy's own namespace: leave its namespace out",
            );
        }
    }
}

/// A list that a template left empty would let everybody in.
fn lists(at: &str, rule: &Rule, findings: &mut Findings) {
    for (field, is_empty) in [
        ("from", rule.from.as_ref().is_some_and(Vec::is_empty)),
        ("to", rule.to.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty {
            findings.malformed(
                format!("{at}.{field}"),
                "is empty, which means whatever there is: leave it out, or name some",
            );
        }
    }
}

/// A service account has a namespace of its own, so that two fields would speak of one thing.
fn callers(at: &str, rule: &Rule, findings: &mut Findings) {
    for (place, from) in rule.from.iter().flatten().enumerate() {
        let names = |fields: &[&str]| {
            let mut values = fields.iter().filter_map(|field| from.source.get(*field));
            values.any(|values| !values.is_empty())
        };
        let others = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
        if names(&["serviceAccounts", "notServiceAccounts"]) && names(&others) {
            findings.malformed(
                format!("{at}.from[{place}].source.serviceAccounts"),
                "stands beside principals or namespaces: name callers in one way",
            );
        }
    }
}

/// Values, where they stand and what they are about.
type Listed<'a> = (String, Attribute, &'a Vec<String>);

/// Each list of values of a rule, with where it stands and what it is about.
fn values<'a>(
    at: &'a str,
    rule: &'a Rule,
    names: &'a Interner,
) -> impl Iterator<Item = Listed<'a>> {
    let from = rule.from.iter().flatten().enumerate();
    let from = from.flat_map(move |(place, from)| {
        listed(format!("{at}.from[{place}].source"), &from.source, &SOURCE)
    });
    let to = rule.to.iter().flatten().enumerate();
    let to = to.flat_map(move |(place, to)| {
        listed(
            format!("{at}.to[{place}].operation"),
            &to.operation,
            &OPERATION,
        )
    });
    let when = rule.when.iter().flatten().enumerate();
    let when = when.flat_map(move |(place, when)| {
        let fields = [("values", &when.values), ("notValues", &when.not_values)];
        let of = attribute(&when.key, names);
        fields.into_iter().filter_map(move |(field, values)| {
            let values = values.as_ref()?;
            Some((format!("{at}.when[{place}].{field}"), of.clone()?, values))
        })
    });
    from.chain(to).chain(when)
}

/// The same of the fields of a source or an operation.
fn listed<'a>(
    at: String,
    said: &'a BTreeMap<String, Vec<String>>,
    known: &'static [Field],
) -> impl Iterator<Item = Listed<'a>> {
    let fields = known.iter();
    let fields = fields.flat_map(|(one, not, of)| [(*one, of), (*not, of)]);
    fields.filter_map(move |(field, of)| {
        let values = said.get(field)?;
        Some((format!("{at}.{field}"), of.clone(), values))
    })
}

fn wildcards(at: &str, rule: &Rule, names: &Interner, findings: &mut Findings) {
    for (at, of, values) in values(at, rule, names) {
        for (index, value) in values.iter().enumerate() {
            let at = format!("{at}[{index}]");
            let is_domain = of == Attribute::TrustDomain;
            if is_domain && value.contains('/') {
                findings.malformed(&at, format!("{value:?}: a trust domain has no slash"));
            }
            if !has_literal_star(&of, value) {
                continue;
            }
            let reason = format!(
                "{value:?}: a * counts as the first or the last character alone, and this one stands \
                 for itself: write prefix* or *suffix"
            );
            match is_domain {
                true => findings.malformed(at, reason),
                false => findings.warned(at, reason),
            }
        }
    }
}

/// Whether a value has a `*` that is none. Templates of paths, networks, ports and service accounts are
/// read with rules of their own.
fn has_literal_star(of: &Attribute, value: &str) -> bool {
    let is_pattern = !matches!(
        of,
        Attribute::SourceIp
            | Attribute::RemoteIp
            | Attribute::DestinationIp
            | Attribute::DestinationPort
            | Attribute::ServiceAccount
    );
    let is_template = *of == Attribute::Path && value.contains(['{', '}']);
    let inner = value.strip_prefix('*').or_else(|| value.strip_suffix('*'));
    is_pattern && !is_template && inner.unwrap_or(value).contains('*')
}

/// A rule that refuses and speaks of requests alone refuses whatever is no HTTP: nothing is known of
/// that, and nobody is let in by what is not known.
fn refused_connections(spec: &Spec, place: &Place<'_>, findings: &mut Findings) {
    // What is found in reading was said.
    let mut said = Findings::default();
    for clause in Reader::new(place, AuthorizationAction::Deny, &mut said).clauses(spec) {
        let parts = || clause.sources.iter().chain(&clause.operations);
        let says_something = parts().any(|it| !it.is_empty()) || !clause.conditions.is_empty();
        let Some(left) = clause.of_connections(AuthorizationAction::Deny) else {
            continue;
        };
        let is_about_all = |all: &[Vec<Condition>]| all.is_empty() || all.iter().any(Vec::is_empty);
        let refuses_all = is_about_all(&left.sources)
            && is_about_all(&left.operations)
            && left.conditions.is_empty();
        if says_something && refuses_all {
            findings.warned(
                format!("spec.rules[{}]", clause.index),
                "speaks of requests of HTTP alone, so it refuses every connection that is none: name \
                 the ports it is about in to.operation.ports",
            );
        }
    }
}
