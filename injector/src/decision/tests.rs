use serde_json::json;

use super::*;
use crate::{Cluster, Namespace, config::SidecarMode};

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
        sidecar: SidecarMode::Classic,
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

#[test]
fn what_is_known_of_the_place_decides_as_well() {
    let about = |labels: &[(&str, &str)]| Namespace {
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Namespace::default()
    };
    let canary = Cluster {
        revision: "canary".to_owned(),
        ..Cluster::default()
    };
    let default = Cluster::default();
    let none = about(&[]);
    let disabled = about(&[("weir.dev/injection", "disabled")]);
    let of_canary = about(&[("weir.dev/rev", "canary")]);
    let yes = json!({"weir.dev/inject": "true"});
    let own_rev = json!({"weir.dev/rev": "canary"});
    for (labels, about, cluster, expected) in [
        (json!({}), Some(&none), &default, Decision::PolicyEnabled),
        (
            yes.clone(),
            Some(&disabled),
            &default,
            Decision::NamespaceDisabled,
        ),
        (yes, Some(&none), &canary, Decision::OtherRevision),
        (
            json!({}),
            Some(&of_canary),
            &canary,
            Decision::PolicyEnabled,
        ),
        (
            json!({}),
            Some(&of_canary),
            &default,
            Decision::OtherRevision,
        ),
        (
            own_rev.clone(),
            Some(&none),
            &canary,
            Decision::PolicyEnabled,
        ),
        (own_rev.clone(), None, &canary, Decision::PolicyEnabled),
        (own_rev, None, &default, Decision::OtherRevision),
        // The selectors of the webhook chose it.
        (json!({}), None, &canary, Decision::PolicyEnabled),
    ] {
        let place = Place {
            namespace: "shop",
            about,
            cluster: Some(cluster),
            is_selected: false,
            inbound: None,
        };
        let pod = pod(&labels, &json!({}));
        let decision = decide(&pod, place, &Config::default()).expect("pod");
        assert_eq!(decision, expected, "{labels} {about:?} {cluster:?}");
    }
}

#[test]
fn labels_of_istio_count_where_they_are_honoured_and_weir_has_none() {
    let honoured = Config {
        istio_labels: true,
        ..Config::default()
    };
    let no = json!({"sidecar.istio.io/inject": "false"});
    let both = json!({"sidecar.istio.io/inject": "false", "weir.dev/inject": "true"});
    let none = json!({});
    for (labels, annotations, config, expected) in [
        (&no, &none, &honoured, Decision::IstioFalse),
        (&none, &no, &honoured, Decision::IstioFalse),
        (&both, &none, &honoured, Decision::LabelTrue),
        (&no, &none, &Config::default(), Decision::PolicyEnabled),
    ] {
        assert_eq!(
            decided(&pod(labels, annotations), config),
            expected,
            "{labels}"
        );
    }
}

#[test]
fn a_job_is_skipped_where_a_kubelet_is_too_old() {
    let job = json!({"metadata": {"ownerReferences": [
        {"kind": "Job", "name": "tidy", "controller": true}]}, "spec": {"containers": []}});
    for (least_kubelet, expected) in [
        (Some((1, 28)), Decision::JobWithClassicSidecar),
        (Some((1, 29)), Decision::PolicyEnabled),
        (None, Decision::PolicyEnabled),
    ] {
        let cluster = Cluster {
            least_kubelet,
            ..Cluster::default()
        };
        let place = Place {
            cluster: Some(&cluster),
            ..Place::from("shop")
        };
        assert_eq!(
            decide(&job, place, &Config::default()).expect("pod"),
            expected
        );
    }
}

#[test]
fn what_the_api_server_chose_is_not_undone_by_what_was_known_before() {
    let about = Namespace {
        labels: [("weir.dev/injection".to_owned(), "disabled".to_owned())].into(),
        ..Namespace::default()
    };
    let canary = Cluster {
        revision: "canary".to_owned(),
        ..Cluster::default()
    };
    let place = Place {
        about: Some(&about),
        cluster: Some(&canary),
        is_selected: true,
        ..Place::from("shop")
    };
    let decided = |labels: Value| {
        let pod = pod(&labels, &json!({}));
        decide(&pod, place, &Config::default()).expect("pod")
    };
    assert_eq!(decided(json!({})), Decision::PolicyEnabled);
    let other = json!({"weir.dev/rev": "other"});
    assert_eq!(
        decided(other),
        Decision::OtherRevision,
        "the pod says so itself"
    );
}
