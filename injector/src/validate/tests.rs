use proptest::prelude::*;

use super::*;

fn judged(
    kind: (&str, &str),
    object: Value,
    old: Option<Value>,
    about: Option<&Namespace>,
) -> Value {
    let reviewed = reviewed(kind, object, old, about);
    reviewed.expect("a review")["response"].clone()
}

fn reviewed(
    kind: (&str, &str),
    object: Value,
    old: Option<Value>,
    about: Option<&Namespace>,
) -> Result<Value, ReviewError> {
    let (group, kind) = kind;
    let mut request = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"});
    request["request"] = json!({
        "uid": "u", "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
        "name": object["metadata"]["name"].as_str().unwrap_or("weir-config"), "namespace": "shop",
        "kind": {"group": group, "version": "v1", "kind": kind},
    });
    request["request"]["object"] = object;
    request["request"]["oldObject"] = old.unwrap_or_default();
    let validators = Validators::default().with_mesh_config(|text| match text {
        "good" => Ok(()),
        other => Err(format!("{other:?} is not good")),
    });
    let about = |_: &str| about.map(|about| Arc::new(about.clone()));
    let body = request.to_string();
    let reviewed = validators.review(body.as_bytes(), about, None, &Config::default());
    reviewed.map(|(_, answer)| answer)
}

fn message(response: &Value) -> &str {
    response["status"]["message"].as_str().unwrap_or_default()
}

fn warnings(response: &Value) -> String {
    response["warnings"].to_string()
}

const NAMESPACE: (&str, &str) = ("", "Namespace");
const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

fn namespace(labels: &Value) -> Value {
    json!({"metadata": {"name": "shop", "labels": labels}})
}

fn deployment(annotations: &Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"template": {
        "metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "app"}]}}}})
}

#[test]
fn a_misspelt_value_of_a_namespaces_label_is_refused() {
    let wrong = namespace(&json!({"weir.dev/injection": "enable"}));
    let response = judged(NAMESPACE, wrong.clone(), None, None);
    assert_eq!(
        message(&response),
        "weir: metadata.labels[weir.dev/injection]: \"enable\" is neither \"enabled\" nor \"disabled\""
    );
    let response = judged(NAMESPACE, wrong.clone(), Some(wrong), None);
    assert_eq!(response["allowed"], true, "it was wrong before");
    assert!(warnings(&response).contains("enable"));
}

#[test]
fn labels_that_mean_nothing_on_a_namespace_are_warned_of() {
    for (labels, part) in [
        (
            json!({"weir.dev/inject": "true"}),
            "did you mean the label weir.dev/injection",
        ),
        (
            json!({"weir.dev/injections": "enabled"}),
            "did you mean the label weir.dev/injection",
        ),
        (
            json!({"weir.dev/injection": "disabled", "weir.dev/rev": "x"}),
            "weir.dev/rev",
        ),
        (
            json!({"weir.dev/injection": "enabled", "istio-injection": "enabled"}),
            "Istio",
        ),
    ] {
        let response = judged(NAMESPACE, namespace(&labels), None, None);
        assert_eq!(response["allowed"], true);
        assert!(warnings(&response).contains(part), "{response}");
    }
    let response = judged(
        NAMESPACE,
        namespace(&json!({"weir.dev/rev": "canary"})),
        None,
        None,
    );
    assert_eq!(response, json!({"allowed": true, "uid": "u"}));
}

#[test]
fn a_template_that_would_be_refused_as_a_pod_is_refused() {
    let bad = deployment(&json!({"weir.dev/proxy-cpu": "lots"}));
    let good = deployment(&json!({"weir.dev/proxy-cpu": "10m"}));
    for about in [None, Some(namespace_with("weir.dev/injection", "enabled"))] {
        let response = judged(DEPLOYMENT, bad.clone(), None, about.as_ref());
        assert_eq!(response["allowed"], false);
        let expected = "weir: spec.template: annotation weir.dev/proxy-cpu: \"lots\" is not";
        assert!(message(&response).starts_with(expected), "{response}");
    }
    let response = judged(DEPLOYMENT, bad.clone(), Some(good.clone()), None);
    assert_eq!(response["allowed"], false);
    let response = judged(DEPLOYMENT, bad.clone(), Some(bad.clone()), None);
    assert_eq!(response["allowed"], true);
    let response = judged(DEPLOYMENT, bad, None, Some(&Namespace::default()));
    assert_eq!(response["allowed"], true, "its pods are not injected");
    assert!(warnings(&response).contains("proxy-cpu"));
    let response = judged(DEPLOYMENT, good, None, None);
    assert_eq!(response, json!({"allowed": true, "uid": "u"}));
}

fn namespace_with(label: &str, value: &str) -> Namespace {
    Namespace {
        labels: [(label.to_owned(), value.to_owned())].into(),
        ..Namespace::default()
    }
}

#[test]
fn a_wish_that_nobody_sees_is_warned_of() {
    let asks = json!({"weir.dev/inject": "true", "weir.dev/exclude-outbound-port": "1"});
    let pod = json!({"metadata": {"name": "web", "annotations": asks},
                     "spec": {"containers": [{"name": "app"}]}});
    let response = judged(("", "Pod"), pod.clone(), None, Some(&Namespace::default()));
    assert!(
        warnings(&response).contains("make it a label of the pod"),
        "{response}"
    );
    assert!(
        warnings(&response).contains("exclude-outbound-ports"),
        "{response}"
    );
    let enabled = namespace_with("weir.dev/injection", "enabled");
    let response = judged(("", "Pod"), pod, None, Some(&enabled));
    assert_eq!(
        response,
        json!({"allowed": true, "uid": "u"}),
        "the injector warned already"
    );
    let deployment = deployment(&json!({"weir.dev/inject": "true"}));
    let response = judged(DEPLOYMENT, deployment, None, Some(&Namespace::default()));
    assert!(
        warnings(&response).contains("spec.template: annotation"),
        "{response}"
    );
}

#[test]
fn settings_of_another_version_are_for_that_version_to_judge() {
    let written_for = |version: &str| {
        let labels = json!({"app.kubernetes.io/version": version});
        let map = json!({
            "metadata": {"name": "weir-config", "labels": labels},
            "data": {"injector.yaml": "setting: of-the-next-version"},
        });
        judged(("", "ConfigMap"), map, None, None)
    };
    let response = written_for("99.0.0");
    assert_eq!(response["allowed"], true, "{response}");
    let warning = response["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("99.0.0"), "{warning}");
    assert_eq!(written_for(env!("CARGO_PKG_VERSION"))["allowed"], false);
}

#[test]
fn settings_that_could_not_be_used_are_refused() {
    let map = |name: &str, data: Value| json!({"metadata": {"name": name}, "data": data});
    let kind = ("", "ConfigMap");
    for (name, data, part) in [
        (
            "weir-config",
            json!({"injector.yaml": "polciy: enabled"}),
            "data[injector.yaml]: ",
        ),
        (
            "weir-config-canary",
            json!({"injector.yaml": "policy: maybe"}),
            "maybe",
        ),
        (
            "weir-config",
            json!({"injector.yaml": "a: b: c"}),
            "data[injector.yaml]: ",
        ),
        (
            "weir-config",
            json!({"mesh.yaml": "bad"}),
            "data[mesh.yaml]: \"bad\" is not good",
        ),
    ] {
        let response = judged(kind, map(name, data), None, None);
        assert_eq!(response["allowed"], false, "{response}");
        assert!(message(&response).contains(part), "{response}");
    }
    for (name, data) in [
        (
            "weir-config",
            json!({"injector.yaml": "policy: disabled\n", "mesh.yaml": "good"}),
        ),
        ("weir-config", json!({"injector.yaml": "# nothing\n"})),
        ("other", json!({"injector.yaml": "polciy: enabled"})),
        (
            "weir-configuration",
            json!({"injector.yaml": "polciy: enabled"}),
        ),
    ] {
        let response = judged(kind, map(name, data), None, None);
        assert_eq!(response, json!({"allowed": true, "uid": "u"}));
    }
    let response = judged(
        kind,
        map("weir-config", json!({"injection.yaml": ""})),
        None,
        None,
    );
    assert!(warnings(&response).contains("known are injector.yaml, mesh.yaml"));
}

#[test]
fn another_kind_may_join_and_others_pass() {
    let response = judged(
        ("example.dev", "Deployment"),
        json!({"spec": 7}),
        None,
        None,
    );
    assert_eq!(response, json!({"allowed": true, "uid": "u"}));
    let validators = Validators::default().with("weir.dev", "Route", |subject| {
        Findings::error(format!("spec.{}: no", subject.name))
    });
    let request = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "name": "r",
        "kind": {"group": "weir.dev", "version": "v1", "kind": "Route"}, "object": {}}});
    let body = request.to_string();
    let (validation, answer) = validators
        .review(body.as_bytes(), |_| None, None, &Config::default())
        .expect("a review");
    assert_eq!(validation, Validation::Denied);
    assert_eq!(message(&answer["response"]), "weir: spec.r: no");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_object_panics(
        object in crate::review::tests::json_value(), old in crate::review::tests::json_value(),
    ) {
        let kinds = [NAMESPACE, DEPLOYMENT, ("", "Pod"), ("", "ConfigMap"), ("batch", "CronJob")];
        for kind in kinds {
            let held = json!({"metadata": object, "data": old, "spec": {"template": object}});
            let update = (object.clone(), Some(old.clone()), Some(&Namespace::default()));
            for (object, old, about) in [update, (held, None, None)] {
                if let Err(error) = reviewed(kind, object, old, about) {
                    // Of all that, only a name that Kubernetes would not take makes no review.
                    prop_assert_eq!(error.path, "request.name");
                }
            }
        }
    }
}
