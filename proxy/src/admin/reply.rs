//! What a handler answers.

use http::{HeaderValue, Response, StatusCode, header};

use super::body::{Body, Rest};

/// What a handler answers.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    content_type: &'static str,
    pub(super) body: String,
    /// What follows it, of a page that is too long to be held.
    rest: Option<Rest>,
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
            rest: None,
        }
    }

    /// The same, and what follows it.
    pub(super) fn followed_by(self, rest: Rest) -> Self {
        Self {
            rest: Some(rest),
            ..self
        }
    }

    /// As gzip to who takes it, where that is worth it: a page that has more than one piece.
    pub(super) fn into_response(self, takes_gzip: bool) -> Response<Body> {
        let is_gzip = takes_gzip && self.rest.is_some();
        let mut response = Response::new(Body::new(self.body, self.rest, is_gzip));
        *response.status_mut() = self.status;
        if is_gzip {
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            let vary = HeaderValue::from_static("accept-encoding");
            response.headers_mut().insert(header::VARY, vary);
        }
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
