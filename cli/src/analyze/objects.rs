//! What is wrong with objects, each by itself.

use std::collections::BTreeMap;

use super::{
    codes::{DUPLICATE, MALFORMED, NOT_HONOURED, UNKNOWN_KIND},
    world::{Finding, World},
};
use crate::objects::Placed;

/// Groups whose kinds say something of traffic.
const GROUPS: [&str; 6] = [
    "gateway.networking.k8s.io",
    "networking.istio.io",
    "security.istio.io",
    "telemetry.istio.io",
    "extensions.istio.io",
    "networking.k8s.io",
];
/// Kinds of these that are for others than sidecars, and need no word.
const OF_OTHERS: [&str; 7] = [
    "Gateway",
    "GatewayClass",
    "Ingress",
    "IngressClass",
    "NetworkPolicy",
    // Read as names by who checks routes.
    "ServiceEntry",
    "WorkloadGroup",
];

pub(super) fn analyze(world: &World) -> Vec<Finding> {
    let mut findings: Vec<_> = world
        .rules()
        .flat_map(|(kind, placed)| {
            let said = kind.judge(&placed.object, placed.namespace(), &world.settings);
            let errors = said.errors.into_iter().map(|said| (MALFORMED, said));
            let warnings = said.warnings.into_iter().map(|said| (NOT_HONOURED, said));
            let all: Vec<_> = errors.chain(warnings).collect();
            all.into_iter().map(move |(code, said)| {
                // What is said is `FIELD: WHAT: REMEDY`, the remedy where there is one.
                let (field, rest) = said.split_once(": ").unwrap_or((".", &said));
                let (message, remedy) = rest.rsplit_once(": ").unwrap_or((rest, "mend the field"));
                Finding::new(code, placed, field, message, remedy)
            })
        })
        .collect();
    let honoured = |it: &Placed| world.rules().any(|(_, rule)| std::ptr::eq(rule, it));
    let unknown = world.objects.iter().filter(|it| {
        GROUPS.contains(&it.group()) && !OF_OTHERS.contains(&it.kind()) && !honoured(it)
    });
    findings.extend(unknown.map(|it| {
        let message = format!("{} is of a kind that is not honoured", it.kind());
        Finding::new(
            UNKNOWN_KIND,
            it,
            "kind",
            message,
            "say it by a kind that is: docs/istio.md",
        )
    }));
    findings.extend(duplicates(world));
    findings
}

fn duplicates(world: &World) -> Vec<Finding> {
    let mut first = BTreeMap::new();
    let mut findings = Vec::new();
    for placed in &world.objects {
        let key = (
            placed.group(),
            placed.kind(),
            placed.namespace(),
            placed.name(),
        );
        let Some(file) = placed.file.as_ref().filter(|_| !placed.name().is_empty()) else {
            continue;
        };
        if let Some(earlier) = first.insert(key, file) {
            let message = format!("is also in {}", earlier.display());
            let remedy = "leave one of them out";
            findings.push(Finding::new(
                DUPLICATE,
                placed,
                "metadata.name",
                message,
                remedy,
            ));
        }
    }
    findings
}
