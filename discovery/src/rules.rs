//! Objects that people write to say how traffic is to be treated, and what they mean: pure functions
//! from an object to [`Attachment`](crate::model::Attachment)s of the model, one file a kind. Who
//! builds resources reads attachments and knows no kind.
//!
//! What cannot be honoured is a [`Problem`](crate::kubernetes::Problem) that names the object and the
//! field, and what is not known is no object of its kind: nothing is passed over in silence. The same is
//! said where an object is written, by its [`Judgement`].
//!
//! A kind is a [`RuleKind`], and has a line in [`KINDS`].

pub mod authorization_policy;
pub mod destination_rule;
pub mod gateway;
mod istio;
mod judgement;
mod kind;
pub mod peer_authentication;
pub mod request_authentication;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;
pub mod workload_entry;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;

pub use judgement::{Findings, Judgement};
pub(crate) use kind::Rule;
pub use kind::{KINDS, KnownKind, Place, RuleKind, RuleObject};

use crate::model::{Interner, Labels, Target};

/// What the meaning of rules depends on beside themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace whose rules are about the whole mesh: that of the control plane.
    pub root_namespace: Arc<str>,
    /// Domain of the cluster, with which the names of services end.
    pub cluster_domain: Arc<str>,
    /// Names of the mesh's extension providers; none: they are not known here, and nothing is said of them.
    pub extension_providers: Option<BTreeSet<String>>,
}

/// Which pods a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// Labels that a pod must have, each.
    pub match_labels: Option<BTreeMap<String, String>>,
}

// === impl Selector ===

impl Selector {
    /// The labels, if there are any: a selector without one selects all.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.match_labels.as_ref().filter(|it| !it.is_empty())
    }

    /// What its author should know, with Istio's rules for it.
    fn advise(&self, findings: &mut Findings) {
        let Some(labels) = self.labels() else {
            findings.warned(
                "spec.selector",
                "names no label, so the rule is about all pods: leave it out, or name one",
            );
            return;
        };
        for (key, value) in labels {
            if key.is_empty() {
                findings.malformed("spec.selector.matchLabels", "a label has no name: name it");
            }
            if key.contains('*') || value.contains('*') {
                findings.malformed(
                    format!("spec.selector.matchLabels[{key}]"),
                    format!(
                        "{value:?}: a * stands for itself and selects nothing: write the label out"
                    ),
                );
            }
        }
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_namespace: "weir-system".into(),
            cluster_domain: "cluster.local".into(),
            extension_providers: None,
        }
    }
}

/// The pods of a selector, or all: of the namespace, or of the mesh where that is the root.
fn target(selector: Option<&Selector>, place: &Place<'_>) -> Target {
    match selector.and_then(Selector::labels) {
        Some(labels) if place.is_root() => Target::MeshWorkloads(texts(labels, place.names)),
        Some(labels) => Target::Workloads(texts(labels, place.names)),
        None if place.is_root() => Target::Mesh,
        None => Target::Namespace,
    }
}

fn texts(labels: &BTreeMap<String, String>, names: &Interner) -> Labels {
    let labels = labels.iter();
    labels
        .map(|(key, value)| (names.text(key), names.text(value)))
        .collect()
}
