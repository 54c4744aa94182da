//! What a handler answers.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// What a handler answers.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    content_type: &'static str,
    pub(super) body: String,
}

// === impl Reply ===

impl Reply {
    pub(super) fn text(body: impl Into<String>) -> Self {
        Self::new("text/plain; charset=UTF-8", body.into())
    }

    pub(super) fn html(body: impl Into<String>) -> Self {
        Self::new("text/html; charset=UTF-8", body.into())
    }

    pub(super) fn json(body: &serde_json::Value) -> Self {
        let mut text = format!("{body:#}");
        text.push('\n');
        Self::new("application/json", text)
    }

    pub(super) fn error(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            ..Self::text(body)
        }
    }

    fn new(content_type: &'static str, body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body,
        }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static(self.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        let no_cache = HeaderValue::from_static("no-cache, max-age=0");
        headers.insert(header::CACHE_CONTROL, no_cache);
        let no_sniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
        response
    }
}
