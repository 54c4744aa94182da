//! What becomes of the injector's decisions: Events for people, and root certificates for
//! namespaces.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use weir_injector::{
    Decided, Decision,
    review::{Outcome, Owner},
};

use super::{
    events::{Events, Kind, Note},
    namespaces::Namespaces,
};

/// Takes in a decision. Never waits.
pub(crate) fn take_in(decided: &Decided, namespaces: &Arc<Namespaces>, events: &Events) {
    if let Outcome::Injected(_) | Outcome::Unchanged(_) = decided.outcome {
        namespaces.has_sidecar(&decided.namespace);
    }
    if let Some(note) = note(decided) {
        events.say(note);
    }
}

/// What to say about a decision, if it is news to anybody. A refusal is told by whoever wanted to
/// make the pod.
fn note(decided: &Decided) -> Option<Note> {
    let (kind, reason, text) = match decided.outcome {
        Outcome::Skipped(decision) if is_news(decision) => {
            let text = format!("pod {}: not injected: {}", decided.pod, decided.reason);
            (Kind::Normal, "SidecarSkipped", text)
        }
        Outcome::Injected(_) if !decided.warnings.is_empty() => {
            let text = format!("pod {}: {}", decided.pod, decided.warnings.join("; "));
            (Kind::Warning, "SidecarWarning", text)
        }
        _ => return None,
    };
    Some(Note {
        about: about(decided),
        kind,
        reason,
        action: "Admission",
        text,
    })
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

/// The owner of the pod, for the pod itself is not there yet.
fn about(decided: &Decided) -> ObjectReference {
    let reference =
        |api_version: &str, kind: &str, name: &str, uid: Option<String>| ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(decided.namespace.clone()),
            name: Some(name.to_owned()),
            uid,
            resource_version: None,
            field_path: None,
        };
    match &decided.owner {
        Some(Owner {
            api_version,
            kind,
            name,
            uid,
        }) => reference(api_version, kind, name, Some(uid.clone())),
        None => reference("v1", "Pod", &decided.pod, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use weir_injector::{Config, webhook::Injector};

    use super::*;
    use crate::kubernetes::{events, fake::FakeApi};

    /// Has a pod reviewed and gives the Events about it.
    async fn events_of(pod: Value) -> Vec<Value> {
        let api = FakeApi::new();
        let (events, writer) = events::channel(api.client(), "", Arc::default());
        tokio::spawn(writer.run());
        let namespaces = Arc::new(Namespaces::default());
        let injector = Injector::new(Config::default())
            .with_on_decision(move |decided| take_in(decided, &namespaces, &events));
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u", "operation": "CREATE", "namespace": "shop",
                        "kind": {"kind": "Pod"}, "object": pod}});
        injector
            .review(review.to_string().as_bytes())
            .expect("a review");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let paths = api.writes().into_iter().map(|line| {
            let name = line.strip_prefix("POST events shop/").expect("an Event");
            format!("namespaces/shop/events/{name}")
        });
        paths.map(|path| api.get(&path).expect("there")).collect()
    }

    fn pod(metadata: &Value, spec: &Value) -> Value {
        let mut pod = json!({"metadata": {"generateName": "web-", "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u-1",
             "controller": true}]}, "spec": {"containers": [{"name": "app"}]}});
        for (at, more) in [("metadata", metadata), ("spec", spec)] {
            for (key, value) in more.as_object().expect("an object") {
                pod[at][key] = value.clone();
            }
        }
        pod
    }

    #[tokio::test(start_paused = true)]
    async fn a_skip_that_nobody_asked_for_is_said_at_the_pods_owner() {
        let none = json!({});
        let events = events_of(pod(&none, &json!({"hostNetwork": true}))).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["regarding"]["kind"], "ReplicaSet");
        assert_eq!(events[0]["regarding"]["uid"], "u-1");
        assert_eq!(events[0]["reason"], "SidecarSkipped");
        let note = events[0]["note"].as_str().expect("a note");
        assert!(
            note.contains("not injected: the pod uses the node's network"),
            "{note}"
        );

        let refuses = json!({"labels": {"weir.dev/inject": "false"}});
        assert_eq!(events_of(pod(&refuses, &none)).await, Vec::<Value>::new());
        assert_eq!(events_of(pod(&none, &none)).await, Vec::<Value>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn warnings_that_a_controller_would_swallow_are_said() {
        let misspelt = json!({"annotations": {"weir.dev/proxy-cpus": "1"}});
        let events = events_of(pod(&misspelt, &json!({}))).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["type"], "Warning");
        let note = events[0]["note"].as_str().expect("a note");
        assert!(note.contains("weir.dev/proxy-cpus"), "{note}");
    }
}
