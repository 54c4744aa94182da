//! Labels of a namespace.

use weir_api::annotations::{INJECT, NAMESPACE_INJECTION, PREFIX, REVISION};

use super::{Findings, Subject};
use crate::{
    admission::{WARNING_BYTES, cut},
    settings::nearest,
};

/// What the label says.
const VALUES: [&str; 2] = ["enabled", "disabled"];
/// Names that are warned of: more than an answer has room for.
const NAMED: usize = 16;
/// Label by which Istio injects into a namespace.
const ISTIO_INJECTION: &str = "istio-injection";

pub(super) fn validate(subject: &Subject<'_>) -> Findings {
    let metadata = &subject.object["metadata"];
    let label = |name: &str| metadata["labels"][name].as_str();
    let mut findings = Findings::default();
    let injection = label(NAMESPACE_INJECTION);
    if let Some(value) = injection.filter(|value| !VALUES.contains(value)) {
        findings.errors.push(format!(
            "metadata.labels[{NAMESPACE_INJECTION}]: {value:?} is neither \"enabled\" nor \"disabled\""
        ));
    }
    if injection == Some("disabled") && label(REVISION).is_some() {
        findings.warnings.push(format!(
            "metadata.labels[{REVISION}]: means nothing beside {NAMESPACE_INJECTION}: disabled"
        ));
    }
    if injection == Some("enabled") && label(ISTIO_INJECTION) == Some("enabled") {
        findings.warnings.push(format!(
            "metadata.labels[{ISTIO_INJECTION}]: pods that get Istio's sidecar are not injected by \
             weir; remove one of the labels"
        ));
    }
    let known = [NAMESPACE_INJECTION, REVISION];
    for (what, known) in [("labels", &known[..]), ("annotations", &[])] {
        let keys = metadata[what].as_object().into_iter().flatten();
        let ours = keys
            .map(|(key, _)| key)
            .filter(|key| key.starts_with(PREFIX));
        let unknown = ours.filter(|key| !known.contains(&key.as_str()));
        for key in unknown.take(NAMED) {
            let key = cut(key, WARNING_BYTES);
            let meant = match key == INJECT || nearest(key, &[NAMESPACE_INJECTION]).is_some() {
                true => format!("; did you mean the label {NAMESPACE_INJECTION}?"),
                false => String::new(),
            };
            let warning = format!("metadata.{what}[{key}]: means nothing on a namespace{meant}");
            findings.warnings.push(warning);
        }
    }
    findings
}
