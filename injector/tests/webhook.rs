//! The webhook as an API server or a stranger sees it over HTTP.

use std::sync::{Arc, Mutex};

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_api::inbound_demands::InboundDemands;
use weir_injector::{
    Cluster, Config, Decision, Namespace,
    config::Policy,
    review::Outcome,
    webhook::{Injector, MAX_BODY_BYTES, router},
};

const JSON: &str = "application/json";

fn injector() -> Arc<Injector> {
    Arc::new(Injector::new(Config::default()))
}

async fn post(injector: &Arc<Injector>, content_type: &str, body: Vec<u8>) -> (StatusCode, String) {
    post_to("/inject?timeout=5s", injector, content_type, body).await
}

async fn post_to(
    path: &str,
    injector: &Arc<Injector>,
    content_type: &str,
    body: Vec<u8>,
) -> (StatusCode, String) {
    let request = Request::post(path)
        .header("content-type", content_type)
        .body(Body::from(body))
        .expect("request");
    let response = router(Arc::clone(injector))
        .oneshot(request)
        .await
        .expect("response");
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("body");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

fn review() -> Vec<u8> {
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app"}]}});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": "CREATE", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "object": pod,
    }});
    review.to_string().into_bytes()
}

#[tokio::test]
async fn a_review_is_answered_with_a_review() {
    for content_type in [JSON, "Application/JSON; charset=utf-8"] {
        let (status, body) = post(&injector(), content_type, review()).await;
        assert_eq!(status, StatusCode::OK);
        let answer: Value = serde_json::from_str(&body).expect("json");
        assert_eq!(answer["response"]["uid"], "u-1");
        assert!(answer["response"]["patch"].is_string());
    }
}

#[tokio::test]
async fn what_is_no_review_is_refused_with_one_clear_line() {
    let too_large = vec![b' '; MAX_BODY_BYTES + 1];
    for (content_type, body, status, part) in [
        (JSON, Vec::new(), StatusCode::BAD_REQUEST, "empty body"),
        (
            "text/plain",
            review(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/json",
        ),
        (
            "",
            review(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/json",
        ),
        (JSON, too_large, StatusCode::PAYLOAD_TOO_LARGE, ""),
        (
            JSON,
            b"{}".to_vec(),
            StatusCode::BAD_REQUEST,
            "missing field `apiVersion`",
        ),
        (
            JSON,
            b"\xff\xfe".to_vec(),
            StatusCode::BAD_REQUEST,
            "not an admission.k8s.io/v1",
        ),
    ] {
        for path in ["/inject", "/validate"] {
            let (answered, message) = post_to(path, &injector(), content_type, body.clone()).await;
            assert_eq!(answered, status, "{path}: {message}");
            assert!(
                message.contains(part) && message.lines().count() == 1,
                "{path}: {message}"
            );
        }
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_not_served() {
    for (method, path, status) in [
        ("GET", "/inject", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty());
        let response = router(injector()).oneshot(request.expect("request")).await;
        assert_eq!(response.expect("response").status(), status);
    }
}

#[tokio::test]
async fn a_new_configuration_holds_from_the_next_review_on() {
    let injector = injector();
    let (_, before) = post(&injector, JSON, review()).await;
    assert!(before.contains("\"patch\""));
    injector.set_config(Config {
        policy: Policy::Disabled,
        ..Config::default()
    });
    let (_, after) = post(&injector, JSON, review()).await;
    assert!(!after.contains("\"patch\"") && after.contains("the policy is disabled"));
    let mut metrics = String::new();
    injector.metrics().write_prometheus(&mut metrics);
    for line in [
        "weir_injection_reviews_total{outcome=\"injected\",reason=\"policy_enabled\"} 1",
        "weir_injection_reviews_total{outcome=\"skipped\",reason=\"policy_disabled\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn decisions_are_told_but_not_those_of_dry_runs() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let injector = Injector::new(Config::default())
        .with_on_decision(move |decided| heard.lock().expect("a lock").push(decided.clone()));
    let injector = Arc::new(injector);
    let mut request: Value = serde_json::from_slice(&review()).expect("json");
    let job = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "tidy", "uid": "u",
                      "controller": true}]);
    request["request"]["object"]["metadata"]["ownerReferences"] = job;
    for (namespace, dry_run) in [("shop", true), ("kube-system", false), ("shop", false)] {
        request["request"]["namespace"] = namespace.into();
        request["request"]["dryRun"] = dry_run.into();
        let (status, _) = post(&injector, JSON, request.to_string().into_bytes()).await;
        assert_eq!(status, StatusCode::OK);
    }
    let told = told.lock().expect("a lock");
    let outcomes: Vec<_> = told
        .iter()
        .map(|decided| (decided.namespace.as_str(), decided.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("kube-system", Outcome::Skipped(Decision::SystemNamespace)),
            ("shop", Outcome::Injected(Decision::PolicyEnabled)),
        ]
    );
    let owner = told[0].owner.as_ref().expect("an owner");
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Job", "u"));
    assert_eq!(told[0].pod, "web");
}

#[tokio::test]
async fn the_clusters_oldest_kubelet_chooses_the_kind_of_sidecar() {
    let injector = injector();
    let kind = async || {
        let (_, body) = post(&injector, JSON, review()).await;
        let answer: Value = serde_json::from_str(&body).expect("json");
        let patch = answer["response"]["patch"].as_str().expect("a patch");
        let patch = BASE64_STANDARD.decode(patch).expect("base64");
        let patch = String::from_utf8(patch).expect("text");
        !patch.contains("restartPolicy")
    };
    assert!(!kind().await, "native where nothing is known");
    for (minor, classic) in [(28, true), (29, false)] {
        injector.set_cluster(Cluster {
            least_kubelet: Some((1, minor)),
            ..Cluster::default()
        });
        injector.set_config(Config::default());
        assert_eq!(kind().await, classic, "1.{minor}");
    }
}

#[tokio::test]
async fn objects_are_validated_and_counted() {
    let injector = injector();
    for (injection, allowed) in [("enabled", true), ("on", false)] {
        let labels = json!({"weir.dev/injection": injection});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u-1", "operation": "CREATE", "name": "shop",
            "kind": {"group": "", "version": "v1", "kind": "Namespace"},
            "object": {"metadata": {"name": "shop", "labels": labels}},
        }});
        let body = review.to_string().into_bytes();
        let (status, body) = post_to("/validate", &injector, JSON, body).await;
        assert_eq!(status, StatusCode::OK);
        let answer: Value = serde_json::from_str(&body).expect("json");
        assert_eq!(answer["response"]["allowed"], allowed, "{answer}");
    }
    let mut metrics = String::new();
    injector.metrics().write_prometheus(&mut metrics);
    for outcome in ["allowed", "denied"] {
        let line = format!("weir_validation_reviews_total{{outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn the_sidecar_is_told_what_rules_demand_of_its_pod() {
    let strict = r#"{"mode":"STRICT"}"#;
    let injector = Injector::new(Config::default()).with_rules(move |namespace, labels, pod| {
        assert!(pod["spec"]["containers"].is_array(), "{pod}");
        let selected = namespace == "shop" && labels.get("app") == Some(&"web");
        Some(match selected {
            true => InboundDemands {
                tls: strict.parse().ok()?,
                ..InboundDemands::default()
            },
            false => InboundDemands::default(),
        })
    });
    for (labels, is_told) in [
        (json!({"app": "web"}), true),
        (json!({"app": "other", "number": 1}), false),
        (Value::Null, false),
    ] {
        let mut asked: Value = serde_json::from_slice(&review()).expect("json");
        asked["request"]["object"]["metadata"]["labels"] = labels.clone();
        let reviewed = injector.review(asked.to_string().as_bytes());
        let answer = reviewed.expect("a review").response;
        let patch = answer["response"]["patch"].as_str().unwrap_or_default();
        let patch = BASE64_STANDARD.decode(patch).expect("base64");
        let patch = String::from_utf8(patch).expect("text");
        let told = r#"{"name":"WEIR_INBOUND_TLS","value":"{\"mode\":\"STRICT\"}"}"#;
        assert_eq!(patch.contains(told), is_told, "{labels}: {patch}");
        assert_eq!(patch.contains("WEIR_INBOUND_TLS"), is_told, "{labels}");
    }
}

#[tokio::test]
async fn what_is_known_of_namespaces_is_looked_up() {
    let injector = Injector::new(Config::default()).with_namespaces(|name| {
        let level = "pod-security.kubernetes.io/enforce".to_owned();
        let labels = [
            (level, "restricted".to_owned()),
            ("weir.dev/injection".to_owned(), "disabled".to_owned()),
        ];
        (name == "shop").then(|| {
            Arc::new(Namespace {
                labels: labels.into(),
                ..Namespace::default()
            })
        })
    });
    let pod = json!({"spec": {"containers": [{"name": "app"}]}});
    let decided = injector.decide(&pod, "shop").expect("a pod");
    assert_eq!(decided, Decision::NamespaceDisabled);
    let decided = injector.decide(&pod, "other").expect("a pod");
    assert_eq!(decided, Decision::PolicyEnabled);
    let (_, body) = post(&Arc::new(injector), JSON, review()).await;
    assert!(
        !body.contains("Pod Security level"),
        "told to anybody: {body}"
    );
}

#[tokio::test]
async fn names_that_kubernetes_does_not_take_are_refused() {
    for (field, name) in [
        ("namespace", "kube-system/secrets/foo?x="),
        ("namespace", "Shop"),
        ("name", "../../secrets"),
        ("name", "web?x"),
    ] {
        let mut review: Value = serde_json::from_slice(&review()).expect("JSON");
        review["request"][field] = name.into();
        for path in ["/inject", "/validate"] {
            let body = review.to_string().into_bytes();
            let (status, message) = post_to(path, &injector(), JSON, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{name}: {message}");
            assert!(
                message.contains(&format!("request.{field}: no name")),
                "{message}"
            );
        }
    }
}

/// As large as a review may be.
#[tokio::test]
async fn what_a_stranger_writes_large_is_answered_soon_and_keeps_nobody_waiting() {
    const LARGE: usize = 2_900_000;
    let keys = |prefix: &str, count: usize| -> Value {
        let keys = (0..count).map(|at| (format!("weir.dev/{prefix}{at}"), json!("")));
        Value::Object(keys.collect())
    };
    let ports: Vec<_> = (1..60_000_u16).map(|port| port.to_string()).collect();
    let ports = format!("{0},{0},{0}", ports.join(","));
    for (what, annotations) in [
        (
            "a long key",
            json!({format!("weir.dev/{}", "a".repeat(LARGE)): ""}),
        ),
        ("many keys", keys("proxy-cpu", 100_000)),
        (
            "many ports",
            json!({"weir.dev/exclude-inbound-ports": ports}),
        ),
    ] {
        for (path, kind) in [("/inject", "Pod"), ("/validate", "Namespace")] {
            let written = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {"uid": "u-1", "operation": "CREATE", "namespace": "shop",
                    "kind": {"kind": kind},
                    "object": {"metadata": {"annotations": annotations},
                               "spec": {"containers": [{"name": "app"}]}}}});
            let (injector, body) = (injector(), written.to_string().into_bytes());
            assert!(body.len() <= MAX_BODY_BYTES, "{what}");
            let began = std::time::Instant::now();
            let large = post_to(path, &injector, JSON, body);
            let small = async {
                let answer = post(&injector, JSON, review()).await;
                (answer.0, began.elapsed())
            };
            let ((status, _), (other, small)) = tokio::join!(large, small);
            assert_eq!((status, other), (StatusCode::OK, StatusCode::OK), "{what}");
            // Seconds without optimisation.
            let large = began.elapsed();
            assert!(large.as_secs() < 5, "{what} to {path}: {large:?}");
            assert!(small < large, "{what} to {path}: {small:?} of {large:?}");
        }
    }
}
