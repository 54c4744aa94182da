//! The handlers of the routes.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    Injector, SMALL_BYTES,
    bodies::{Held, Unread},
};
use crate::{ReviewError, review::Reviewed};

pub(super) async fn inject(
    state: State<Arc<Injector>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(state.0, &headers, body, |injector, body| {
        let Reviewed {
            outcome, response, ..
        } = injector.review(body)?;
        tracing::debug!(?outcome, "reviewed");
        Ok(response)
    })
    .await
}

pub(super) async fn validate(
    state: State<Arc<Injector>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(state.0, &headers, body, Injector::validate).await
}

async fn respond(
    injector: Arc<Injector>,
    headers: &HeaderMap,
    body: Body,
    review: fn(&Injector, &[u8]) -> Result<Value, ReviewError>,
) -> Response {
    let refuse = |status: StatusCode, message: String| {
        tracing::debug!(%status, message, "refused a request that is no AdmissionReview");
        (status, message).into_response()
    };
    let body = match injector.bodies.read(body).await {
        Ok(body) if body.bytes.is_empty() => {
            injector.metrics.malformed();
            return refuse(StatusCode::BAD_REQUEST, "empty body".to_owned());
        }
        Ok(body) => body,
        Err(unread) => {
            match unread {
                Unread::Full => injector.metrics.overloaded(),
                Unread::TooLarge | Unread::Broken => injector.metrics.malformed(),
            }
            return refuse(unread.status(), unread.to_string());
        }
    };
    if !is_json(headers) {
        injector.metrics.malformed();
        let message = "the content type must be application/json".to_owned();
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    }
    match reviewed(injector, body, review).await {
        Ok(response) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, response.to_string()).into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Reviews a small body here, and a large one on a thread that nobody else waits for.
async fn reviewed(
    injector: Arc<Injector>,
    body: Held,
    review: fn(&Injector, &[u8]) -> Result<Value, ReviewError>,
) -> Result<Value, ReviewError> {
    if body.bytes.len() <= SMALL_BYTES {
        return review(&injector, &body.bytes);
    }
    // The semaphore is never closed, so this waits and does not fail.
    let permit = Arc::clone(&injector.large).acquire_owned().await;
    let reviewed = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        review(&injector, &body.bytes)
    });
    reviewed.await.unwrap_or_else(|error| {
        Err(ReviewError {
            path: "top level".to_owned(),
            reason: error.to_string(),
        })
    })
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
