//! Pods, and the templates of workloads.

use serde_json::Value;
use weir_api::annotations::{INJECT, NAMESPACE_INJECTION, REVISION};

use super::{Findings, Subject};
use crate::{
    Place,
    document::template_of,
    inject::{inject_as, unclear_wish},
    pod::{Owner, Pod},
    settings,
};

/// Whether a pod comes before the injector.
enum Reach {
    Yes,
    No,
    /// Nothing is known of its namespace.
    Unknown,
}

/// A pod was before the injector already, which refuses what must be refused. Left are pods that it
/// was not asked about.
pub(super) fn pod(subject: &Subject<'_>) -> Findings {
    let Ok(pod) = Pod::read(subject.object) else {
        return Findings::default();
    };
    let mut findings = Findings::default();
    if matches!(reach(&pod, subject.place), Reach::No) {
        findings.warnings = settings::unknown(&pod);
        findings.warnings.extend(unclear_wish(&pod));
        findings.warnings.extend(asks_in_vain(&pod));
    }
    findings
}

/// The template of a workload, judged as its pods will be.
pub(super) fn workload(subject: &Subject<'_>) -> Findings {
    let pointer = template_of(subject.kind).unwrap_or_default();
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let Some(template) = subject.object.pointer(pointer) else {
        return Findings::default();
    };
    let mut findings = template_findings(subject, template);
    for finding in findings.errors.iter_mut().chain(&mut findings.warnings) {
        finding.insert_str(0, &format!("{path}: "));
    }
    findings
}

fn template_findings(subject: &Subject<'_>, template: &Value) -> Findings {
    let owner = Owner::of(subject.kind, subject.name, subject.object);
    let mut findings = match inject_as(template, subject.place, Some(owner), subject.config) {
        Ok(injection) => Findings {
            errors: Vec::new(),
            warnings: injection.warnings,
        },
        Err(error) => Findings::error(error.to_string()),
    };
    let Ok(pod) = Pod::read(template) else {
        return findings;
    };
    if matches!(reach(&pod, subject.place), Reach::No) {
        // Nothing of it will hold, so nothing of it may refuse.
        findings.warnings.append(&mut findings.errors);
        findings.warnings.extend(asks_in_vain(&pod));
    }
    findings
}

fn reach(pod: &Pod<'_>, place: Place<'_>) -> Reach {
    let by_pod = pod.labels.get(INJECT) == Some(&"true") || pod.labels.contains_key(REVISION);
    let by_namespace = place.label(NAMESPACE_INJECTION) == Some("enabled")
        || place.label(REVISION).is_some()
        || place.label("istio-injection") == Some("enabled");
    match place.about {
        _ if by_pod || by_namespace => Reach::Yes,
        Some(_) => Reach::No,
        None => Reach::Unknown,
    }
}

/// The API server chooses by labels which pods it asks about.
fn asks_in_vain(pod: &Pod<'_>) -> Option<String> {
    (pod.annotations.get(INJECT) == Some(&"true")).then(|| {
        format!(
            "annotation {INJECT}: \"true\" is not seen in a namespace without the label \
             {NAMESPACE_INJECTION}: enabled; make it a label of the pod"
        )
    })
}
