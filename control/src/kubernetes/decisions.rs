//! What people are told about pods that were decided about: Events at their owners.
//!
//! They follow from pods that are there and never from a review, which anybody may send.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{ResourceExt, api::DynamicObject};
use weir_injector::Decision;

use super::events::{Kind, Note};

/// What to say about a pod without a sidecar, if it is news to anybody.
pub(crate) fn skipped(pod: &DynamicObject, namespace: &str, decision: Decision) -> Option<Note> {
    let is_news = !decision.injects() && is_news(decision);
    is_news.then(|| {
        let text = format!("not injected: {decision}");
        note(pod, namespace, Kind::Normal, "SidecarSkipped", &text)
    })
}

/// What to say about a pod with a sidecar and these warnings.
pub(crate) fn warned(pod: &DynamicObject, namespace: &str, warnings: &[String]) -> Option<Note> {
    let text = warnings.join("; ");
    let note = || note(pod, namespace, Kind::Warning, "SidecarWarning", &text);
    (!warnings.is_empty()).then(note)
}

fn note(
    pod: &DynamicObject,
    namespace: &str,
    kind: Kind,
    reason: &'static str,
    text: &str,
) -> Note {
    // The pods of one owner are called the same, so that it is said once.
    let called = pod.metadata.generate_name.clone();
    let called = called.unwrap_or_else(|| pod.name_any());
    Note {
        about: about(pod, namespace),
        kind,
        reason,
        action: "Admission",
        text: format!("pod {called}: {text}"),
    }
}

/// Whether a skip is anything but what the pod or its namespace asked for.
fn is_news(decision: Decision) -> bool {
    !matches!(
        decision,
        Decision::LabelFalse
            | Decision::AnnotationFalse
            | Decision::IstioFalse
            | Decision::NamespaceDisabled
            | Decision::OtherRevision
            | Decision::MirrorPod
            | Decision::SystemNamespace
    )
}

/// The owner of the pod, which is what people made.
fn about(pod: &DynamicObject, namespace: &str) -> ObjectReference {
    let mut owners = pod.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true));
    let (api_version, kind, name, uid) = match owner.cloned() {
        Some(owner) => (owner.api_version, owner.kind, owner.name, Some(owner.uid)),
        None => ("v1".into(), "Pod".into(), pod.name_any(), pod.uid()),
    };
    ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind),
        namespace: Some(namespace.to_owned()),
        name: Some(name),
        uid,
        resource_version: None,
        field_path: None,
    }
}
