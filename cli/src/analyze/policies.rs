//! Policies that are in force nowhere, or say more than they seem to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    codes::{
        ALLOWS_EVERYBODY, CONFLICTING_MODES, HTTP_RULE_ON_TCP, REFUSES_EVERYBODY, SELECTS_NONE,
    },
    world::{Finding, Pods, World, described, labels, list, may_be_http, protocol},
};
use crate::{meshed::Labels, objects::Placed};

/// Fields of an operation that only requests have.
const OF_REQUESTS: [&str; 6] = [
    "hosts",
    "notHosts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
];

pub(super) fn analyze(world: &World) -> Vec<Finding> {
    let pods = world.pods();
    let mut findings = Vec::new();
    for placed in world.of_kind("AuthorizationPolicy") {
        findings.extend(selects_none(placed, &pods, world));
        findings.extend(everybody(placed));
        findings.extend(of_requests(placed, &pods, world));
    }
    for placed in world.of_kind("PeerAuthentication") {
        findings.extend(selects_none(placed, &pods, world));
    }
    findings.extend(conflicting(world));
    findings
}

fn selector(placed: &Placed) -> Labels {
    labels(&placed.object["spec"]["selector"]["matchLabels"])
}

/// Whether it may be about these pods.
fn is_about(placed: &Placed, pods: &Pods<'_>, world: &World) -> bool {
    let is_root = placed.namespace() == &*world.settings.root_namespace;
    (is_root || placed.namespace() == pods.namespace) && pods.have(&selector(placed))
}

fn selects_none(placed: &Placed, pods: &[Pods<'_>], world: &World) -> Option<Finding> {
    let asked = selector(placed);
    let selects = pods.iter().any(|pods| is_about(placed, pods, world));
    (!asked.is_empty() && !selects).then(|| {
        let asked = asked.iter().map(|(key, value)| format!("{key}={value}"));
        let asked = asked.collect::<Vec<_>>().join(",");
        let message = format!("no pod has {asked}, so it is in force nowhere");
        let remedy = "name labels that pods have";
        Finding::new(
            SELECTS_NONE,
            placed,
            "spec.selector.matchLabels",
            message,
            remedy,
        )
    })
}

/// A policy that allows everybody, or nobody.
fn everybody(placed: &Placed) -> Vec<Finding> {
    let spec = &placed.object["spec"];
    if spec["action"]
        .as_str()
        .is_some_and(|action| action != "ALLOW")
    {
        return Vec::new();
    }
    let rules = list(&spec["rules"]);
    if rules.is_empty() {
        let message = "it has no rule, so it refuses everybody whom no other policy allows";
        let remedy = "nothing, where that is meant";
        return vec![Finding::new(
            REFUSES_EVERYBODY,
            placed,
            "spec.rules",
            message,
            remedy,
        )];
    }
    let empty = rules.iter().enumerate().filter(|(_, rule)| {
        let parts = ["from", "to", "when"];
        parts.iter().all(|part| list(&rule[part]).is_empty())
    });
    let found = empty.map(|(index, _)| {
        let message = "it names nobody and nothing, so it lets everybody do everything";
        let remedy = "name callers in from, or operations in to";
        Finding::new(
            ALLOWS_EVERYBODY,
            placed,
            format!("spec.rules[{index}]"),
            message,
            remedy,
        )
    });
    found.collect()
}

/// A policy about requests of pods whose Services say that they speak something else.
fn of_requests(placed: &Placed, pods: &[Pods<'_>], world: &World) -> Option<Finding> {
    let rules = list(&placed.object["spec"]["rules"]).iter().enumerate();
    let mut asking = rules.filter(|(_, rule)| list(&rule["to"]).iter().any(asks_for_requests));
    let (index, _) = asking.next()?;
    let about: Vec<_> = pods
        .iter()
        .filter(|pods| is_about(placed, pods, world))
        .collect();
    let services = world.of_kind("Service").filter(|service| {
        let selector = labels(&service.object["spec"]["selector"]);
        let selects =
            |pods: &&Pods<'_>| pods.namespace == service.namespace() && pods.have(&selector);
        !selector.is_empty() && about.iter().any(selects)
    });
    let ports: Vec<_> = services
        .flat_map(|it| list(&it.object["spec"]["ports"]))
        .collect();
    let none = !ports.is_empty() && ports.iter().all(|port| !may_be_http(protocol(port)));
    none.then(|| {
        let message = "asks for requests of HTTP, and no Service of these pods says that a port \
                       speaks it: of other connections ALLOW lets none in, and DENY refuses all";
        let remedy = "name the ports of the Services http, or ask for ports alone";
        Finding::new(
            HTTP_RULE_ON_TCP,
            placed,
            format!("spec.rules[{index}].to"),
            message,
            remedy,
        )
    })
}

fn asks_for_requests(to: &Value) -> bool {
    OF_REQUESTS
        .iter()
        .any(|field| !list(&to["operation"][field]).is_empty())
}

/// PeerAuthentications about the same pods.
fn conflicting(world: &World) -> Vec<Finding> {
    let mut first = BTreeMap::new();
    let mut findings = Vec::new();
    for placed in world.of_kind("PeerAuthentication") {
        let key = (placed.namespace(), selector(placed));
        if let Some(earlier) = first.get(&key).copied() {
            let message = format!("{} is about the same pods", described(earlier));
            let remedy = "leave one of them: the older one counts";
            let found = Finding::new(CONFLICTING_MODES, placed, "spec.selector", message, remedy);
            findings.push(found);
        } else {
            first.insert(key, placed);
        }
    }
    findings
}
