//! Which flows would be let through or refused otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;
use weir_api::{
    flows::{Flow, FlowProtocol, FlowVerdict, NotKept},
    spiffe::TrustDomain,
    workload::Workload,
};
use weir_discovery::{
    model::{Attachment, Attachments, Event, Index, Labels, Object},
    rules::Settings,
    verdict::{self, FlowKind, Path, Request, Verdict, decide},
};
use weir_playground::Error;

use super::traffic::{PodFlows, Traffic, kind};
use crate::{objects::Placed, output};

/// Policies that are not applied yet.
#[derive(Debug)]
pub(super) struct Candidates(Vec<Value>);

/// What they would do.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// Flows of which the verdict would be another one, or cannot be told.
    pub(super) changes: Vec<Change>,
    /// The others: how many flows, and how often.
    pub(super) unchanged: Counted,
    /// What sidecars had no room to tell apart, so that nobody can say what becomes of it.
    pub(super) not_kept: NotKept,
    /// How long flows are remembered, minutes.
    pub(super) minutes: u64,
}

/// How many flows, and how often.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counted {
    pub(super) flows: usize,
    pub(super) count: u64,
}

/// A flow of which the verdict would be another one, or cannot be told.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Change {
    pub(super) after: Outlook,
    pub(super) before: FlowVerdict,
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) port: u16,
    pub(super) protocol: FlowProtocol,
    /// SPIFFE identity of the caller; none: it shows none.
    pub(super) source: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    /// The rule that would decide; none: that no `ALLOW` rule is about it, or that nothing says no.
    pub(super) by: Option<String>,
    /// What would have to be known of it.
    pub(super) needs: Vec<String>,
    pub(super) count: u64,
}

/// What would become of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outlook {
    Denied,
    Undecided,
    Allowed,
}

// === impl Candidates ===

impl Candidates {
    /// Those among the objects, which are of a namespace unless they say so. Warnings about them go to
    /// standard error.
    ///
    /// # Errors
    /// There is none, or one may not be written so.
    pub(super) fn read(objects: Vec<Placed>, namespace: Option<&str>) -> Result<Self, Error> {
        let mut candidates = Vec::new();
        let kind = kind().filter(|_| !objects.is_empty());
        for mut placed in objects {
            let Some(kind) =
                kind.filter(|it| (it.kind, it.group) == (placed.kind(), placed.group()))
            else {
                let (kind, name) = (placed.kind(), placed.name());
                output::error(&format!(
                    "weir: {kind} {name} is no AuthorizationPolicy and not tested"
                ));
                continue;
            };
            if let (Some(namespace), true) =
                (namespace, placed.object["metadata"]["namespace"].is_null())
            {
                placed.object["metadata"]["namespace"] = namespace.into();
            }
            let what = format!(
                "AuthorizationPolicy {}/{}",
                placed.namespace(),
                placed.name()
            );
            let said = kind.judge(&placed.object, placed.namespace(), &Settings::default());
            for warning in &said.warnings {
                output::error(&format!("weir: {what}: {warning}"));
            }
            if let Some(error) = said.errors.first() {
                let file = placed.file.unwrap_or_default().display().to_string();
                let reason = format!("{what}: {error}");
                return Err(Error::Manifest { file, reason });
            }
            candidates.push(placed.object);
        }
        match candidates.is_empty() {
            true => Err(Error::Manifest {
                file: "the files".to_owned(),
                reason: "hold no AuthorizationPolicy of security.istio.io".to_owned(),
            }),
            false => Ok(Self(candidates)),
        }
    }
}

/// Asks the rules in force, and those that would be, about each flow.
pub(super) fn judge(
    traffic: &Traffic,
    candidates: &Candidates,
    settings: &Settings,
    trust_domain: &TrustDomain,
) -> Outcome {
    let name = |object: &Value| {
        let of = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or("default")
                .to_owned()
        };
        (of("namespace"), of("name"))
    };
    let replaced: BTreeSet<_> = candidates.0.iter().map(name).collect();
    let stays = |object: &&Value| !replaced.contains(&name(object));
    let before = attachments(traffic.policies.iter(), settings);
    let kept = traffic.policies.iter().filter(stays);
    let after = attachments(kept.chain(&candidates.0), settings);
    let mut judged = Judged::default();
    for pod in &traffic.pods {
        let rules =
            [&before, &after].map(|rules| rules.authorization(&pod.namespace, &labels(pod)));
        judged.pod(pod, &rules, trust_domain);
    }
    judged.outcome()
}

/// What policies mean for pods.
fn attachments<'a>(policies: impl Iterator<Item = &'a Value>, settings: &Settings) -> Attachments {
    let mut index = Index::default();
    for policy in policies {
        let attachment = kind().and_then(|kind| kind.attachment(policy, settings));
        let object = attachment.map(Object::Attachment);
        object
            .into_iter()
            .for_each(|it| index.apply(Event::Applied(it)));
    }
    index.commit();
    index.snapshot().attachments().clone()
}

fn labels(pod: &PodFlows) -> Labels {
    let labels = pod.labels.iter();
    labels
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}

/// What was found so far. Pods of a workload are one.
#[derive(Default)]
struct Judged {
    changes: BTreeMap<Change, u64>,
    unchanged: BTreeMap<(String, String, Flow), u64>,
    not_kept: NotKept,
    minutes: u64,
}

impl Judged {
    fn pod(
        &mut self,
        pod: &PodFlows,
        rules: &[Vec<Arc<Attachment>>; 2],
        trust_domain: &TrustDomain,
    ) {
        let label = |key: &str| pod.labels.get(key).map(String::as_str);
        let workload = Workload::new(&pod.name, &pod.namespace, label).canonical_service;
        self.minutes = self.minutes.max(pod.summary.minutes);
        self.not_kept.allowed += pod.summary.not_kept.allowed;
        self.not_kept.denied += pod.summary.not_kept.denied;
        for flow in &pod.summary.flows {
            let asked =
                |rules: &[Arc<Attachment>]| about(flow, |it| decide(rules, it, trust_domain));
            let before = match asked(&rules[0]) {
                Verdict::Allowed(_) => FlowVerdict::Allowed,
                Verdict::Denied(_) => FlowVerdict::Denied,
                // What they did is known.
                Verdict::Undecided(_) => flow.verdict,
            };
            let after = match rules[0] == rules[1] {
                true => None,
                false => change(before, asked(&rules[1])),
            };
            let Some((after, by, needs)) = after else {
                let key = (pod.namespace.clone(), workload.to_string(), flow.clone());
                let key = (key.0, key.1, Flow { count: 0, ..key.2 });
                *self.unchanged.entry(key).or_default() += flow.count;
                continue;
            };
            let change = Change {
                after,
                before,
                namespace: pod.namespace.clone(),
                workload: workload.to_string(),
                port: flow.port,
                protocol: flow.protocol,
                source: flow.source.clone(),
                method: flow.method.clone(),
                path: flow.path.clone(),
                by,
                needs,
                count: 0,
            };
            *self.changes.entry(change).or_default() += flow.count;
        }
    }

    fn outcome(self) -> Outcome {
        let changes = self.changes.into_iter();
        Outcome {
            changes: changes.map(|(it, count)| Change { count, ..it }).collect(),
            unchanged: Counted {
                flows: self.unchanged.len(),
                count: self.unchanged.values().sum(),
            },
            not_kept: self.not_kept,
            minutes: self.minutes,
        }
    }
}

/// What would become of a flow, by which rule, or for want of what; none: what became of it.
fn change(before: FlowVerdict, after: Verdict) -> Option<(Outlook, Option<String>, Vec<String>)> {
    let by = |rule: Option<verdict::Decider>| rule.map(|rule| rule.to_string());
    match (before, after) {
        (FlowVerdict::Allowed, Verdict::Allowed(_)) | (FlowVerdict::Denied, Verdict::Denied(_)) => {
            None
        }
        (_, Verdict::Allowed(rule)) => Some((Outlook::Allowed, by(rule), Vec::new())),
        (_, Verdict::Denied(rule)) => Some((Outlook::Denied, by(rule), Vec::new())),
        (_, Verdict::Undecided(needs)) => {
            let needs = needs.iter().map(ToString::to_string).collect();
            Some((Outlook::Undecided, None, needs))
        }
    }
}

/// Asks about a flow, as far as sidecars tell of it.
fn about<T>(flow: &Flow, ask: impl FnOnce(&verdict::Flow<'_>) -> T) -> T {
    let headers = |_: &str| None;
    let request = Request {
        method: flow.method.as_deref(),
        host: None,
        path: Path::Template(flow.path.as_deref().unwrap_or("{**}")),
        headers: &headers,
        has_token: None,
    };
    ask(&verdict::Flow {
        speech: match flow.protocol {
            FlowProtocol::Tcp => FlowKind::Connection,
            FlowProtocol::Http | FlowProtocol::Grpc => FlowKind::Request(request),
        },
        principal: flow.source.as_deref(),
        source_ip: None,
        remote_ip: None,
        destination_ip: None,
        destination_port: flow.port,
        server_name: None,
    })
}
