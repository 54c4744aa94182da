use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use serde_json::{Value, json};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    answers::{GOOD, REFUSED},
    *,
};

/// A token that says this, with a signature that only the API server can judge.
pub(super) fn token(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({"alg": "RS256"}));
    format!("{header}.{}.c2lnbmF0dXJl", part(claims))
}

/// A token of that name, in good form.
fn named(name: &str) -> String {
    token(
        &json!({"aud": ["weir-ca"], "exp": 9_999_999_999_u64, "jti": name,
                  "sub": "system:serviceaccount:shop:web"}),
    )
}

/// An API server that knows one token, and may be away.
fn reviewer() -> (TokenReviewer, Arc<Metrics>, Arc<AtomicBool>) {
    let away = Arc::new(AtomicBool::new(false));
    let answer = async |State(away): State<Arc<AtomicBool>>, Json(review): Json<Value>| {
        if away.load(Ordering::Relaxed) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        assert_eq!(review["spec"]["audiences"], json!(["weir-ca"]));
        let status = match review["spec"]["token"].as_str() {
            Some(token) if token == named("good") => {
                json!({"authenticated": true, "audiences": ["weir-ca"], "user": {
                "username": "system:serviceaccount:shop:web",
                "extra": {"authentication.kubernetes.io/pod-name": ["web-0"]}}})
            }
            _ => json!({"authenticated": false, "error": "expired"}),
        };
        Json(
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                    "metadata": {}, "spec": {}, "status": status}),
        )
        .into_response()
    };
    let router = Router::new()
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(answer))
        .with_state(away.clone());
    let metrics = Arc::new(Metrics::default());
    let reviewer = TokenReviewer::new(Client::new(router, "default"), metrics.clone());
    (reviewer, metrics, away)
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_a_while_a_refusal_for_less() {
    let (reviewer, metrics, _) = reviewer();
    let asked = || metrics.token_reviews.load(Ordering::Relaxed);
    for _ in 0..3 {
        let identity = reviewer
            .authenticate(&named("good"), None)
            .await
            .expect("known");
        assert_eq!(identity.to_string(), "shop/web");
        assert_eq!(identity.pod.as_deref(), Some("web-0"));
        let refused = reviewer
            .authenticate(&named("bad"), None)
            .await
            .expect_err("refused");
        assert_eq!(refused, AuthError::Refused("expired".to_owned()));
    }
    assert_eq!(asked(), 2);
    tokio::time::sleep(REFUSED).await;
    for token in ["good", "bad"] {
        let _ = reviewer.authenticate(&named(token), None).await;
    }
    assert_eq!(asked(), 3);
    tokio::time::sleep(GOOD).await;
    let _ = reviewer.authenticate(&named("good"), None).await;
    assert_eq!(asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_refuses_nobody_and_is_asked_again() {
    let (reviewer, _, away) = reviewer();
    away.store(true, Ordering::Relaxed);
    let error = reviewer
        .authenticate(&named("good"), None)
        .await
        .expect_err("away");
    assert!(matches!(error, AuthError::Unavailable(_)), "{error}");
    away.store(false, Ordering::Relaxed);
    reviewer
        .authenticate(&named("good"), None)
        .await
        .expect("known");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_says_itself_that_it_is_no_good_is_not_asked_about() {
    let (reviewer, metrics, _) = reviewer();
    for wrong in ["random", "a.b.c", ""] {
        let error = reviewer
            .authenticate(wrong, None)
            .await
            .expect_err("refused");
        assert!(matches!(error, AuthError::Refused(_)), "{error}");
    }
    assert_eq!(metrics.token_reviews.load(Ordering::Relaxed), 0);
}

#[test]
fn a_token_for_something_else_is_refused_with_the_reason() {
    let status = |audience: &str, username: &str| TokenReviewStatus {
        authenticated: Some(true),
        audiences: Some(vec![audience.to_owned()]),
        user: Some(k8s_openapi::api::authentication::v1::UserInfo {
            username: Some(username.to_owned()),
            extra: Some(BTreeMap::new()),
            ..Default::default()
        }),
        error: None,
    };
    let error = identity(status(
        "https://kubernetes",
        "system:serviceaccount:shop:web",
    ));
    assert_eq!(
        error.expect_err("refused"),
        "it is not for the audience weir-ca"
    );
    let error = identity(status("weir-ca", "system:node:one")).expect_err("refused");
    assert_eq!(error, "\"system:node:one\" is no service account");
    let error = identity(TokenReviewStatus::default()).expect_err("refused");
    assert_eq!(error, "the API server does not know it");
}
