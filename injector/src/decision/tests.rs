use serde_json::json;

use super::*;

fn pod(labels: &Value, annotations: &Value) -> Value {
    json!({"metadata": {"labels": labels, "annotations": annotations},
           "spec": {"containers": [{"name": "app"}]}})
}

fn with(policy: Policy) -> Config {
    let selector =
        |app: &str| serde_json::from_value(json!({"matchLabels": {"app": app}})).expect("selector");
    Config {
        policy,
        never_inject: vec![selector("never"), selector("both")],
        always_inject: vec![selector("always"), selector("both")],
        ..Config::default()
    }
}

fn decided(pod: &Value, config: &Config) -> Decision {
    decide(pod, "shop", config).expect("pod")
}

#[test]
fn what_comes_first_decides() {
    let (enabled, disabled) = (with(Policy::Enabled), with(Policy::Disabled));
    let (yes, no) = (
        json!({"weir.dev/inject": "true"}),
        json!({"weir.dev/inject": "false"}),
    );
    let none = json!({});
    for (labels, annotations, config, expected) in [
        (&none, &none, &enabled, Decision::PolicyEnabled),
        (&none, &none, &disabled, Decision::PolicyDisabled),
        (
            &json!({"app": "never"}),
            &none,
            &enabled,
            Decision::NeverSelector,
        ),
        (
            &json!({"app": "always"}),
            &none,
            &disabled,
            Decision::AlwaysSelector,
        ),
        (
            &json!({"app": "both"}),
            &none,
            &enabled,
            Decision::NeverSelector,
        ),
        (
            &json!({"app": "never"}),
            &yes,
            &enabled,
            Decision::AnnotationTrue,
        ),
        (
            &json!({"app": "always"}),
            &no,
            &enabled,
            Decision::AnnotationFalse,
        ),
        (&yes, &no, &disabled, Decision::LabelTrue),
        (&no, &yes, &enabled, Decision::LabelFalse),
        // A label of another value replaces the annotation and counts as absent.
        (
            &json!({"weir.dev/inject": "yes"}),
            &no,
            &enabled,
            Decision::PolicyEnabled,
        ),
        (
            &none,
            &json!({"weir.dev/inject": "on"}),
            &disabled,
            Decision::PolicyDisabled,
        ),
    ] {
        assert_eq!(
            decided(&pod(labels, annotations), config),
            expected,
            "{labels} {annotations}"
        );
    }
}

#[test]
fn what_cannot_be_injected_is_not_whatever_the_pod_asks_for() {
    let config = Config::default();
    let mut asks = pod(&json!({"weir.dev/inject": "true"}), &json!({}));
    for namespace in crate::config::SYSTEM_NAMESPACES {
        assert_eq!(
            decide(&asks, namespace, &config),
            Ok(Decision::SystemNamespace)
        );
    }
    asks["spec"]["os"] = json!({"name": "windows"});
    assert_eq!(decided(&asks, &config), Decision::Windows);
    asks["spec"]["hostNetwork"] = json!(true);
    assert_eq!(decided(&asks, &config), Decision::HostNetwork);
    let mirror = pod(&json!({}), &json!({"kubernetes.io/config.mirror": "1"}));
    assert_eq!(decided(&mirror, &config), Decision::MirrorPod);
}

#[test]
fn the_namespace_is_the_requests_and_not_the_objects() {
    let mut pod = pod(&json!({}), &json!({}));
    pod["metadata"]["namespace"] = json!("kube-system");
    assert_eq!(decided(&pod, &Config::default()), Decision::PolicyEnabled);
}

#[test]
fn a_job_beside_a_classic_sidecar_must_ask() {
    let classic = Config {
        sidecar: SidecarKind::Classic,
        ..Config::default()
    };
    let mut job = pod(&json!({}), &json!({}));
    job["metadata"]["ownerReferences"] =
        json!([{"kind": "Job", "name": "backup", "controller": true}]);
    assert_eq!(decided(&job, &classic), Decision::JobWithClassicSidecar);
    assert_eq!(decided(&job, &Config::default()), Decision::PolicyEnabled);
    job["metadata"]["annotations"] = json!({"weir.dev/native-sidecar": "true"});
    assert_eq!(decided(&job, &classic), Decision::PolicyEnabled);
    job["metadata"]["labels"] = json!({"weir.dev/inject": "true"});
    assert_eq!(decided(&job, &classic), Decision::LabelTrue);
}

#[test]
fn labels_of_decisions_are_distinct() {
    let mut labels = Decision::ALL.map(Decision::label).to_vec();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Decision::ALL.len());
}
