//! Namespaces and pods that ask for sidecars and get none, or from two meshes.

use weir_api::annotations;

use super::{
    codes::{NO_WEBHOOK, NOT_INJECTED, TWO_INJECTION_LABELS, UNKNOWN_ANNOTATION},
    world::{Finding, World, list},
};
use crate::objects::Placed;

pub(super) fn analyze(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    let asks = |placed: &&Placed| {
        placed.object["metadata"]["labels"][annotations::NAMESPACE_INJECTION] == "enabled"
    };
    let asking: Vec<_> = world.of_kind("Namespace").filter(asks).collect();
    for namespace in &asking {
        if namespace.object["metadata"]["labels"]["istio-injection"] == "enabled" {
            let message = "asks for sidecars of Istio, too";
            let remedy = "take the label of one of them away";
            let field = "metadata.labels[istio-injection]";
            findings.push(Finding::new(
                TWO_INJECTION_LABELS,
                namespace,
                field,
                message,
                remedy,
            ));
        }
        if world.is_live && !has_webhook(world) {
            let message = "asks for sidecars, and no webhook of Weir is installed";
            let remedy = "install the chart; weir check says what is missing";
            let field = format!("metadata.labels[{}]", annotations::NAMESPACE_INJECTION);
            findings.push(Finding::new(NO_WEBHOOK, namespace, field, message, remedy));
        }
    }
    for pod in world.of_kind("Pod") {
        findings.extend(unknown_annotations(pod, "metadata"));
        let is_asked = asking.iter().any(|it| it.name() == pod.namespace());
        if world.is_live && is_asked && should_be_injected(pod) {
            let message = "has no sidecar, though its namespace asks for them";
            let remedy = "make it anew: kubectl rollout restart of what made it";
            findings.push(Finding::new(NOT_INJECTED, pod, "metadata", message, remedy));
        }
    }
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job"] {
        for placed in world.of_kind(kind) {
            findings.extend(unknown_annotations(placed, "spec.template.metadata"));
        }
    }
    findings
}

fn has_webhook(world: &World) -> bool {
    let mut all = world.of_kind("MutatingWebhookConfiguration");
    all.any(|it| {
        let mut names = list(&it.object["webhooks"]).iter();
        names.any(|hook| {
            hook["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(".weir.dev"))
        })
    })
}

/// It runs, says nothing against it, and has no sidecar.
fn should_be_injected(pod: &Placed) -> bool {
    let (metadata, spec) = (&pod.object["metadata"], &pod.object["spec"]);
    let said = |value: &serde_json::Value| value == "false";
    let declines = said(&metadata["labels"][annotations::INJECT])
        || said(&metadata["annotations"][annotations::INJECT]);
    let runs = pod.object["status"]["phase"] == "Running";
    let has_one = metadata["annotations"][annotations::STATUS].is_string();
    runs && !declines && !has_one && spec["hostNetwork"] != true
}

fn unknown_annotations(placed: &Placed, at: &str) -> Vec<Finding> {
    let pointer = format!("/{}/annotations", at.replace('.', "/"));
    let all = placed
        .object
        .pointer(&pointer)
        .and_then(|it| it.as_object());
    let names = all.into_iter().flat_map(|all| all.keys());
    let unknown = names.filter(|name| {
        name.starts_with(annotations::PREFIX) && !annotations::KNOWN.contains(&name.as_str())
    });
    let found = unknown.map(|name| {
        let field = format!("{at}.annotations[{name}]");
        let message = format!("there is no annotation {name}");
        Finding::new(
            UNKNOWN_ANNOTATION,
            placed,
            field,
            message,
            "docs/injection.md has all there are",
        )
    });
    found.collect()
}
