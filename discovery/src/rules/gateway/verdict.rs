//! What becomes of a route, as its status says it: conditions for each parent that is a service.

use serde_json::Value;

use super::{
    Fault, Gravity, Grpc, Http, ReadParent, ReadRoute, ReadRule,
    route::{Dialect, Spec},
};
use crate::{
    model::{
        Grammar, Interner, Parent, Protocol, Referrer, RoutingRule, ServiceKind, Snapshot, Speech,
        Unresolved,
    },
    rules::{Place, RuleObject, Settings},
};

/// A kind of route, whichever it is.
#[derive(Debug, Clone, Copy)]
pub struct RouteKind {
    /// Its name.
    pub kind: &'static str,
    /// Its plural, as paths of the API server have it.
    pub plural: &'static str,
    judge: fn(&Value, &Snapshot, &Settings) -> Option<Vec<Verdict>>,
}

/// What becomes of a route at one of its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which of the route's parents it is, from 0.
    pub index: usize,
    /// What holds of the route there.
    pub conditions: Vec<Condition>,
}

/// One thing that holds of a route, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why.
    pub message: String,
}

/// Who says in the status of a route what becomes of it here.
pub const CONTROLLER_NAME: &str = "weir.dev/mesh";
/// The group of all of them.
pub const ROUTE_GROUP: &str = super::GROUP;
/// The version in which they are read and written.
pub const ROUTE_VERSION: &str = "v1";

/// Every kind of route.
pub const ROUTE_KINDS: [RouteKind; 2] = [
    RouteKind {
        kind: Http::KIND,
        plural: "httproutes",
        judge: judge::<Http>,
    },
    RouteKind {
        kind: Grpc::KIND,
        plural: "grpcroutes",
        judge: judge::<Grpc>,
    },
];

/// Every type of a condition that is said.
pub const CONDITIONS: [&str; 3] = [ACCEPTED, RESOLVED_REFS, PARTIALLY_INVALID];

const ACCEPTED: &str = "Accepted";
const RESOLVED_REFS: &str = "ResolvedRefs";
const PARTIALLY_INVALID: &str = "PartiallyInvalid";
const UNSUPPORTED_VALUE: &str = "UnsupportedValue";

/// Faults and references that one message names; the rest is counted.
const MOST_NAMED: usize = 4;

// === impl RouteKind ===

impl RouteKind {
    /// What becomes of a route, given what there is. None: it cannot be read at all.
    #[must_use]
    pub fn judge(
        &self,
        object: &Value,
        snapshot: &Snapshot,
        settings: &Settings,
    ) -> Option<Vec<Verdict>> {
        (self.judge)(object, snapshot, settings)
    }
}

fn judge<D: Dialect>(
    object: &Value,
    snapshot: &Snapshot,
    settings: &Settings,
) -> Option<Vec<Verdict>> {
    let object: RuleObject<Spec<D>> = serde::Deserialize::deserialize(object).ok()?;
    let names = Interner::default();
    let place = Place {
        meta: &object.metadata,
        namespace: object.metadata.namespace(),
        names: &names,
        settings,
    };
    let route = object.spec.unwrap_or_default().read_route(&place);
    let parents: Vec<Parent> = route
        .parents
        .iter()
        .filter_map(|it| it.parent.clone().ok())
        .collect();
    let referrer = Referrer {
        kind: D::KIND,
        namespace: place.namespace,
        speech: D::SPEECH,
        grammar: Grammar::Gateway,
        parents: &parents,
        asked: None,
    };
    let verdicts = route.parents.iter();
    let verdicts = verdicts.map(|parent| verdict(&route, parent, &referrer, snapshot));
    Some(verdicts.collect())
}

fn verdict(
    route: &ReadRoute,
    parent: &ReadParent,
    referrer: &Referrer<'_>,
    snapshot: &Snapshot,
) -> Verdict {
    let accepted = accepted(route, parent, referrer, snapshot);
    let partially = accepted.holds.then(|| partially_invalid(route)).flatten();
    let conditions = [
        Some(accepted),
        Some(resolved(route, referrer, snapshot)),
        partially,
    ];
    Verdict {
        index: parent.index,
        conditions: conditions.into_iter().flatten().collect(),
    }
}

fn accepted(
    route: &ReadRoute,
    parent: &ReadParent,
    referrer: &Referrer<'_>,
    snapshot: &Snapshot,
) -> Condition {
    let refused = |reason, message| Condition {
        kind: ACCEPTED,
        holds: false,
        reason,
        message,
    };
    let parent = match &parent.parent {
        Ok(parent) => parent,
        Err(fault) => return refused(UNSUPPORTED_VALUE, said(fault)),
    };
    if let Err((reason, message)) = attached(parent, referrer, snapshot) {
        return refused(reason, message);
    }
    if !route.rules.is_empty() && !route.rules.iter().any(ReadRule::is_sound) {
        let faults = || route.rules.iter().flat_map(|rule| &rule.faults);
        let incompatible = faults().any(|it| it.gravity == Gravity::Incompatible);
        let reason = match incompatible {
            true => "IncompatibleFilters",
            false => UNSUPPORTED_VALUE,
        };
        let message = format!("no rule is honoured: {}", listed(faults().map(said)));
        return refused(reason, message);
    }
    Condition {
        kind: ACCEPTED,
        holds: true,
        reason: ACCEPTED,
        message: "sidecars of callers route by it".to_owned(),
    }
}

/// Whether a parent takes such a route; else the reason, and what to say.
fn attached(
    parent: &Parent,
    referrer: &Referrer<'_>,
    snapshot: &Snapshot,
) -> Result<(), (&'static str, String)> {
    let no_parent = |message: String| Err(("NoMatchingParent", message));
    let name = &parent.service;
    let Some(service) = snapshot.service(name) else {
        return no_parent(format!("there is no Service {name}"));
    };
    if service.service.kind != ServiceKind::ClusterIp {
        let message =
            format!("Service {name} has no address of its own: whoever calls it is not routed");
        return no_parent(message);
    }
    let ports = service
        .service
        .ports
        .iter()
        .filter(|port| parent.selects(port));
    let ports: Vec<_> = ports.collect();
    if ports.is_empty() {
        return no_parent(format!("Service {name} has no such TCP port"));
    }
    let is_closed = |protocol| matches!(protocol, Protocol::Tcp | Protocol::Tls);
    if ports.iter().all(|port| is_closed(port.hint.protocol)) {
        let message = format!(
            "Service {name} speaks TCP or TLS there, as the port's appProtocol or name says, and is not \
             looked into"
        );
        return no_parent(message);
    }
    let routings = snapshot.attachments().routings();
    let mut others = ports.iter().map(|port| {
        let rules = routings.at(&service.service, port, Some(referrer.namespace));
        let grpc = rules.iter().find(|it| {
            let speech = it.effect.routing().map(|it| it.speech);
            speech == Some(Speech::Grpc) && *it.rule.name.namespace == *referrer.namespace
        });
        grpc.map(|it| it.rule.to_string())
    });
    let first = others.next().flatten();
    match (referrer.speech, first) {
        (Speech::Http, Some(rule)) if others.all(|it| it.is_some()) => Err((
            "Conflicted",
            format!("{rule} is about the same ports, and counts alone"),
        )),
        _ => Ok(()),
    }
}

fn resolved(route: &ReadRoute, referrer: &Referrer<'_>, snapshot: &Snapshot) -> Condition {
    let rules = route.rules.iter().filter_map(|rule| rule.rule.as_ref());
    let backends = rules.flat_map(RoutingRule::backends);
    let unresolved = backends.filter_map(|backend| {
        let error = backend.resolve(snapshot, referrer).err()?;
        Some((error, format!("{backend} {}", error.reason())))
    });
    let unresolved: Vec<_> = unresolved.collect();
    let first = unresolved.iter().map(|(error, _)| *error).min();
    let (reason, message) = match first {
        None => (RESOLVED_REFS, "every backend is there".to_owned()),
        Some(error) => {
            let reason = match error {
                Unresolved::NotPermitted => "RefNotPermitted",
                Unresolved::InvalidKind => "InvalidKind",
                Unresolved::NotFound => "BackendNotFound",
                Unresolved::UnsupportedProtocol => "UnsupportedProtocol",
            };
            let all = unresolved.into_iter().map(|(_, message)| message);
            (reason, format!("{}; requests for it fail", listed(all)))
        }
    };
    Condition {
        kind: RESOLVED_REFS,
        holds: first.is_none(),
        reason,
        message,
    }
}

fn partially_invalid(route: &ReadRoute) -> Option<Condition> {
    let wrong = route.rules.iter().enumerate();
    let wrong: Vec<_> = wrong.filter(|(_, rule)| !rule.is_sound()).collect();
    if wrong.is_empty() {
        return None;
    }
    let numbers: Vec<_> = wrong.iter().map(|(index, _)| index.to_string()).collect();
    let faults = wrong.iter().flat_map(|(_, rule)| &rule.faults);
    Some(Condition {
        kind: PARTIALLY_INVALID,
        holds: true,
        reason: UNSUPPORTED_VALUE,
        message: format!(
            "Dropped Rule {}: {}; requests that match fail where it is known which do",
            numbers.join(", "),
            listed(faults.map(said))
        ),
    })
}

fn said(fault: &Fault) -> String {
    format!("{}: {}", fault.at, fault.reason)
}

fn listed(mut all: impl Iterator<Item = String>) -> String {
    let first: Vec<_> = all.by_ref().take(MOST_NAMED).collect();
    let more = match all.count() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{}{more}", first.join("; "))
}
