//! Validation: says of an object, where it is written, what Weir would refuse or ignore later.
//!
//! A [`Validators`] holds one validator for each group and kind. What a validator calls an error
//! refuses the object, unless the object had it before: an old mistake must not stop a change of
//! something else.

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::{Value, json};

use crate::{
    Cluster, Config, Namespace, Place,
    admission::{GroupKind, Request, ReviewError, answer, denial},
};

mod config_map;
mod namespace;
mod pods;

/// An object to judge.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its name; "" if the API server has yet to make one.
    pub name: &'a str,
    /// Where it is, as far as that is known.
    pub place: Place<'a>,
    /// The object.
    pub object: &'a Value,
    /// The injector's configuration in force.
    pub config: &'a Config,
}

/// What is wrong with an object. Each entry says where and what, without a full stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The object must not be written like this.
    pub errors: Vec<String>,
    /// Its author should know.
    pub warnings: Vec<String>,
}

/// Judges objects of one kind.
type Validator = dyn Fn(&Subject<'_>) -> Findings + Send + Sync;

/// Validators by group and kind.
pub struct Validators {
    by_kind: HashMap<GroupKind, Box<Validator>>,
}

/// What a validation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validation {
    /// Nothing is wrong.
    Allowed,
    /// It is allowed, with warnings.
    Warned,
    /// It is refused.
    Denied,
    /// No validator knows it.
    Unknown,
}

/// Kinds with a pod template, and their groups.
const WORKLOADS: [(&str, &str); 7] = [
    ("apps", "Deployment"),
    ("apps", "DaemonSet"),
    ("apps", "StatefulSet"),
    ("apps", "ReplicaSet"),
    ("batch", "Job"),
    ("batch", "CronJob"),
    ("", "ReplicationController"),
];

// === impl Validators ===

impl Default for Validators {
    /// Validators of pods, of workloads with pod templates, of namespaces, and of Weir's ConfigMap,
    /// whose mesh-wide settings nobody judges yet.
    fn default() -> Self {
        let none = Self {
            by_kind: HashMap::new(),
        };
        let workloads = WORKLOADS
            .into_iter()
            .fold(none, |validators, (group, kind)| {
                validators.with(group, kind, pods::workload)
            });
        workloads
            .with("", "Pod", pods::pod)
            .with("", "Namespace", namespace::validate)
            .with("", "ConfigMap", |subject| {
                config_map::validate(subject, &|_| Ok(()))
            })
    }
}

impl Validators {
    /// These, and one for another kind, or in place of one for that kind.
    #[must_use]
    pub fn with(
        mut self,
        group: &str,
        kind: &str,
        validator: impl Fn(&Subject<'_>) -> Findings + Send + Sync + 'static,
    ) -> Self {
        let kind = GroupKind {
            group: group.to_owned(),
            kind: kind.to_owned(),
        };
        self.by_kind.insert(kind, Box::new(validator));
        self
    }

    /// These, with this judge of the mesh-wide settings in Weir's ConfigMap (`mesh.yaml`).
    #[must_use]
    pub fn with_mesh_config(
        self,
        judge: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.with("", "ConfigMap", move |subject| {
            config_map::validate(subject, &judge)
        })
    }

    /// Answers an AdmissionReview.
    pub(crate) fn review(
        &self,
        body: &[u8],
        about: impl FnOnce(&str) -> Option<Arc<Namespace>>,
        cluster: Option<&Cluster>,
        config: &Config,
    ) -> Result<(Validation, Value), ReviewError> {
        let request = Request::parse(body)?;
        let about = about(request.namespace());
        let place = Place {
            namespace: request.namespace(),
            about: about.as_deref(),
            cluster,
            is_selected: false,
            inbound: None,
        };
        let (validation, fields, warnings) = self.judge(&request, place, config);
        Ok((validation, answer(&request.uid, fields, warnings)))
    }

    fn judge(
        &self,
        request: &Request,
        place: Place<'_>,
        config: &Config,
    ) -> (Validation, Value, Vec<String>) {
        let allowed = || json!({"allowed": true});
        let is_written = ["CREATE", "UPDATE"].contains(&request.operation.as_str());
        let validator = self.by_kind.get(&request.kind);
        let Some(validator) = validator.filter(|_| is_written && request.is_whole()) else {
            return (Validation::Unknown, allowed(), Vec::new());
        };
        let subject = Subject {
            kind: &request.kind.kind,
            name: request.name.as_deref().unwrap_or_default(),
            place,
            object: &request.object,
            config,
        };
        let mut findings = validator(&subject);
        if !findings.errors.is_empty() && request.old_object.is_object() {
            let before = validator(&Subject {
                object: &request.old_object,
                ..subject
            });
            let is_old = |error: &String| before.errors.contains(error);
            let (old, new) = findings.errors.into_iter().partition(is_old);
            findings.errors = new;
            findings.warnings.extend::<Vec<_>>(old);
        }
        if findings.errors.is_empty() {
            let validation = match findings.warnings.is_empty() {
                true => Validation::Allowed,
                false => Validation::Warned,
            };
            return (validation, allowed(), findings.warnings);
        }
        let message = format!("weir: {}", findings.errors.join("; "));
        let refused = denial(422, "Invalid", &message);
        (Validation::Denied, refused, findings.warnings)
    }
}

impl fmt::Debug for Validators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_kind.keys()).finish()
    }
}

// === impl Findings ===

impl Findings {
    /// Nothing but this error.
    #[must_use]
    pub fn error(error: impl Into<String>) -> Self {
        Self {
            errors: vec![error.into()],
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
