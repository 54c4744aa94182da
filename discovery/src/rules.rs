//! Objects that people write to say how traffic is to be treated, and what they mean: pure functions
//! from an object to [`Attachment`](crate::model::Attachment)s of the model, one file a kind. Who
//! builds resources reads attachments and knows no kind.
//!
//! What cannot be honoured is a [`Problem`](crate::kubernetes::Problem) that names the object and the
//! field, and what is not known is no object of its kind: nothing is passed over in silence.

pub mod authorization_policy;
pub mod peer_authentication;

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use crate::model::{Interner, Labels};

/// What the meaning of rules depends on beside themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The namespace whose rules are about the whole mesh: that of the control plane.
    pub root_namespace: Arc<str>,
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
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_namespace: "weir-system".into(),
        }
    }
}

fn texts(labels: &BTreeMap<String, String>, names: &Interner) -> Labels {
    let labels = labels.iter();
    labels
        .map(|(key, value)| (names.text(key), names.text(value)))
        .collect()
}
