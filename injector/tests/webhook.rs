//! The webhook as an API server or a stranger sees it over HTTP.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_injector::{
    Config,
    config::Policy,
    webhook::{Injector, MAX_BODY_BYTES, router},
};

const JSON: &str = "application/json";

fn injector() -> Arc<Injector> {
    Arc::new(Injector::new(Config::default()))
}

async fn post(injector: &Arc<Injector>, content_type: &str, body: Vec<u8>) -> (StatusCode, String) {
    let request = Request::post("/inject?timeout=5s")
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
        let (answered, message) = post(&injector(), content_type, body).await;
        assert_eq!(answered, status, "{message}");
        assert!(
            message.contains(part) && message.lines().count() == 1,
            "{message}"
        );
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
