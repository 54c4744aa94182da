//! Which objects hold pods, and where.

use serde_json::Value;

/// Where an object holds pods.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// In its items, which are of this kind where they name none.
    List(String),
    /// It has one pod or pod template, at this pointer.
    Template(&'static str),
    /// It looks as if it had a pod template, but its kind is not known.
    Unknown,
    /// Nowhere.
    None,
}

/// API groups in which the kinds below are Kubernetes' own. Other groups have kinds of the same
/// names: a Job of a batch scheduler holds its pods elsewhere.
const GROUPS: [&str; 4] = ["", "apps", "batch", "extensions"];

/// Where an object of this kind holds pods.
pub(super) fn holder(kind: &str, api_version: Option<&str>, object: &Value) -> Holder {
    let group = api_version
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    let template = GROUPS.contains(&group).then(|| template(kind)).flatten();
    if let Some(pointer) = template {
        return Holder::Template(pointer);
    }
    if let Some(items) = kind.strip_suffix("List") {
        return Holder::List(items.to_owned());
    }
    let containers = object.pointer("/spec/template/spec/containers");
    match containers {
        Some(Value::Array(_)) => Holder::Unknown,
        _ => Holder::None,
    }
}

/// Where the pod template of a workload is, or the pod itself.
pub(crate) fn template(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment"
        | "ReplicaSet"
        | "DaemonSet"
        | "StatefulSet"
        | "Job"
        | "ReplicationController" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        "PodTemplate" => Some("/template"),
        _ => None,
    }
}
