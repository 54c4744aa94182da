//! The webhook as an HTTP service. TLS, the listening socket and limits on connections belong to
//! the one who serves the router.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;

use crate::{
    Config, Decision, ReviewError, WrongType, decide, metrics::Metrics, review, review::Reviewed,
};

/// Largest body that is read. An object the API server stores is at most 1.5 MiB; a review holds it
/// once or twice.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// What the handlers share: the configuration in force, and the counters.
#[derive(Debug)]
pub struct Injector {
    config: ArcSwap<Config>,
    metrics: Metrics,
}

/// The routes of the webhook: `POST /inject`.
///
/// ```
/// use std::sync::Arc;
/// use weir_injector::{Config, webhook::{Injector, router}};
///
/// let injector = Arc::new(Injector::new(Config::default()));
/// let app = router(Arc::clone(&injector));
/// // Serve `app` over TLS. Later, with a configuration that was read and checked:
/// injector.set_config(Config::default());
/// let mut text = String::new();
/// injector.metrics().write_prometheus(&mut text);
/// # let _ = app;
/// ```
pub fn router(injector: Arc<Injector>) -> Router {
    Router::new()
        .route("/inject", post(admit))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(injector)
}

// === impl Injector ===

impl Injector {
    /// An injector with this configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            metrics: Metrics::default(),
        }
    }

    /// Replaces the configuration. Reviews under way keep the one they began with.
    pub fn set_config(&self, config: Config) {
        self.config.store(Arc::new(config));
    }

    /// What is decided about a pod under the configuration in force.
    pub fn decide(&self, pod: &Value, namespace: &str) -> Result<Decision, WrongType> {
        decide(pod, namespace, &self.config.load())
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers one review and counts it.
    pub fn review(&self, body: &[u8]) -> Result<Reviewed, ReviewError> {
        let began = Instant::now();
        let reviewed = review(body, &self.config.load());
        match &reviewed {
            Ok(reviewed) => self.metrics.reviewed(reviewed.outcome, began.elapsed()),
            Err(_) => self.metrics.malformed(),
        }
        reviewed
    }
}

async fn admit(State(injector): State<Arc<Injector>>, headers: HeaderMap, body: Bytes) -> Response {
    let refuse = |status: StatusCode, message: String| {
        tracing::debug!(%status, message, "refused a request that is no AdmissionReview");
        (status, message).into_response()
    };
    if body.is_empty() {
        injector.metrics.malformed();
        return refuse(StatusCode::BAD_REQUEST, "empty body".to_owned());
    }
    if !is_json(&headers) {
        injector.metrics.malformed();
        let message = "the content type must be application/json".to_owned();
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    match injector.review(&body) {
        Ok(Reviewed { outcome, response }) => {
            tracing::debug!(?outcome, "reviewed");
            (
                [(header::CONTENT_TYPE, "application/json")],
                response.to_string(),
            )
                .into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}
