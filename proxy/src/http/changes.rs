//! What is changed of heads, as data that the codecs apply.

use std::net::IpAddr;

use http::HeaderValue;

use super::edits::Edits;

/// What the configuration changes about a request's head.
#[derive(Debug, Default)]
pub struct RequestChanges<'c> {
    /// Header mutations.
    pub edits: Edits<'c>,
    /// New method.
    pub method: Option<String>,
    /// New path and query.
    pub path: Option<String>,
    /// New authority.
    pub host: Option<String>,
    /// How many bytes the body has, where that is known only now.
    pub length: Option<u64>,
    /// The client's address, if it is to be appended to `x-forwarded-for`.
    pub forwarded_for: Option<IpAddr>,
    /// `x-envoy-external-address`: who asked, by all that is known.
    pub external_address: Option<IpAddr>,
    /// `x-envoy-expected-rq-timeout-ms`
    pub expected_timeout_ms: Option<u64>,
    /// `x-envoy-attempt-count`
    pub attempt: Option<u32>,
    /// The client speaks TLS with us.
    pub is_tls: bool,
}

/// What is changed of a response's head.
#[derive(Debug, Default)]
pub(crate) struct ResponseChanges<'c> {
    /// Header mutations.
    pub(crate) edits: Edits<'c>,
    /// `x-envoy-upstream-service-time`, milliseconds.
    pub(crate) service_time_ms: Option<u64>,
    /// The request's id, if it is to be copied.
    pub(crate) request_id: Option<String>,
    /// Value of `server`, where it is ours to say.
    pub(crate) server: Option<HeaderValue>,
}

// === impl RequestChanges ===

impl RequestChanges<'_> {
    /// What the client used.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.is_tls {
            true => "https",
            false => "http",
        }
    }

    /// Whether a field that came gives way to one of ours.
    pub(crate) fn replaces(&self, name: &[u8]) -> bool {
        [
            (self.attempt.is_some(), "x-envoy-attempt-count"),
            (
                self.expected_timeout_ms.is_some(),
                "x-envoy-expected-rq-timeout-ms",
            ),
            (self.external_address.is_some(), "x-envoy-external-address"),
        ]
        .iter()
        .any(|(ours, known)| *ours && name.eq_ignore_ascii_case(known.as_bytes()))
    }
}
