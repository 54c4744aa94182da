//! Responses the proxy makes itself.

use std::{
    borrow::Cow,
    cell::RefCell,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use weir_api::xds::peer::{Mark, UNDELIVERED};

use super::{edits::Edits, head::Fields};
use crate::{config::http::Router, reason::Reason};

/// Header that carries the documented reason of a local reply.
pub(crate) const REASON_HEADER: &str = "x-weir-reason";

/// Header that says that a circuit breaker is open: trying again at once will not help.
pub(crate) const OVERLOADED_HEADER: &str = "x-envoy-overloaded";
/// Said of a request that `drop_overloads` has refused.
const DROP_OVERLOAD_HEADER: &str = "x-envoy-drop-overload";
/// Said of it where all are refused.
const UNCONDITIONAL_DROP_OVERLOAD_HEADER: &str = "x-envoy-unconditional-drop-overload";

/// A response the proxy makes itself.
#[derive(Debug, Clone)]
pub struct LocalReply {
    pub(crate) status: u16,
    pub(crate) reason: Reason,
    /// What only filters say.
    pub(crate) of_filter: Option<Box<FilterReply>>,
    pub(crate) body: Bytes,
    /// `location` of a redirect.
    pub(crate) location: Option<String>,
    /// What another sidecar is to know of how far the request came.
    pub(crate) mark: Option<Mark>,
}

/// What only a filter says in its reply.
#[derive(Debug, Clone, Default)]
pub struct FilterReply {
    /// `%RESPONSE_CODE_DETAILS%`, where it says more than the reason.
    pub(crate) details: Option<String>,
    /// For a gRPC client; none: what follows from the status.
    pub(crate) grpc_status: Option<u32>,
    /// Headers of its own.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What it changes of the headers that all replies have.
    pub(crate) edits: Edits<'static>,
}

// === impl LocalReply ===

impl From<Reason> for LocalReply {
    fn from(reason: Reason) -> Self {
        let body = Bytes::from_static(reason.body().as_bytes());
        Self {
            status: reason.status(),
            reason,
            of_filter: None,
            body,
            location: None,
            mark: None,
        }
    }
}

impl LocalReply {
    /// What is answered to a request that got no response in so many attempts. `is_read`: it had
    /// been read to its end.
    pub(crate) fn for_attempt(reason: Reason, is_read: bool, attempt: u32) -> Self {
        let mut reply = Self::from(reason);
        if reason == Reason::StreamIdleTimeout && is_read {
            // As Envoy: it was not the client who kept us waiting.
            reply.status = 504;
        }
        if attempt > 1 {
            let again = "before headers. retried and the latest reset reason";
            let body = reason.body().replace("before headers. reset reason", again);
            reply.body = body.into();
        }
        reply
    }

    /// The same for a gRPC client.
    /// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
    pub(crate) fn for_grpc(&self, router: &Router) -> GrpcReply {
        let of_filter = self.of_filter.as_deref();
        let grpc_status = of_filter.and_then(|filter| filter.grpc_status);
        let grpc_status = grpc_status.unwrap_or(match self.status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            431 => 8,
            _ => 2,
        });
        let mut headers = vec![
            ("content-type", "application/grpc".to_owned()),
            ("grpc-status", grpc_status.to_string()),
        ];
        if !self.body.is_empty() {
            headers.push(("grpc-message", percent_encode(&self.body)));
        }
        let kept = [
            "location",
            REASON_HEADER,
            OVERLOADED_HEADER,
            DROP_OVERLOAD_HEADER,
            UNCONDITIONAL_DROP_OVERLOAD_HEADER,
            UNDELIVERED,
        ];
        let plain = self.headers(router).into_iter();
        headers.extend(plain.filter(|(name, _)| kept.contains(name)));
        headers.extend(self.filter_headers().cloned());
        GrpcReply {
            status: 200,
            headers,
        }
    }

    /// The headers, but for those of the connection: `content-length` where there is a body.
    pub(crate) fn headers(&self, router: &Router) -> Vec<(&'static str, String)> {
        let length = (!self.body.is_empty()).then(|| self.body.len().to_string());
        let plain = length.is_some().then(|| "text/plain".to_owned());
        // What a route says is no error of ours.
        let configured = matches!(
            self.reason,
            Reason::Redirect | Reason::DirectResponse | Reason::CorsPreflight
        );
        let reason = (!configured).then(|| self.reason.code().to_owned());
        let overloaded = match self.reason {
            _ if router.suppress_envoy_headers => None,
            Reason::Overflow => Some(OVERLOADED_HEADER),
            Reason::DropOverload => Some(DROP_OVERLOAD_HEADER),
            Reason::UnconditionalDropOverload => Some(UNCONDITIONAL_DROP_OVERLOAD_HEADER),
            _ => None,
        };
        let undelivered = self.mark.map(|mark| mark.value().to_owned());
        let headers = [
            ("location", self.location.clone()),
            ("content-length", length),
            ("content-type", plain),
            (REASON_HEADER, reason),
            (
                overloaded.unwrap_or(OVERLOADED_HEADER),
                overloaded.map(|_| "true".to_owned()),
            ),
            (UNDELIVERED, undelivered),
        ];
        headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .chain(self.filter_headers().cloned())
            .collect()
    }
}

impl LocalReply {
    /// `%RESPONSE_CODE_DETAILS%`
    #[must_use]
    pub fn details(&self) -> &str {
        let details = self
            .of_filter
            .as_deref()
            .and_then(|filter| filter.details.as_deref());
        details.unwrap_or(self.reason.code())
    }

    /// What the filter changes of the headers.
    pub(crate) fn edits(&self) -> Edits<'static> {
        let of_filter = self.of_filter.as_deref();
        of_filter.map_or_else(Edits::default, |filter| filter.edits.clone())
    }

    fn filter_headers(&self) -> impl Iterator<Item = &(&'static str, String)> {
        let headers = self
            .of_filter
            .as_deref()
            .map(|filter| filter.headers.iter());
        headers.into_iter().flatten()
    }
}

/// The headers of a reply, to be read as those of any message.
pub(crate) struct ReplyFields<'r>(pub(crate) &'r [(&'static str, String)]);

// === impl ReplyFields ===

impl Fields for ReplyFields<'_> {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let mut lines = self.0.iter().filter(|(known, _)| *known == name);
        lines.any(|(_, value)| look(value.as_str().into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.0.iter().any(|(name, _)| look((*name).into()))
    }
}

/// What a gRPC client is told instead: a response of headers alone, whose `grpc-status` follows
/// from the status.
pub(crate) struct GrpcReply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// The reason phrase of a status; empty for one that has none.
pub(crate) fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or_default()
}

/// As `grpc-message` wants it: what is not printable ASCII, and `%`, in hexadecimal.
fn percent_encode(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'%' => encoded.push(char::from(*byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The value of `date`, at most half a second old.
pub(crate) fn with_date<R>(use_date: impl FnOnce(&HeaderValue) -> R) -> R {
    thread_local! {
        static DATE: RefCell<Option<(Instant, HeaderValue)>> = const { RefCell::new(None) };
    }
    const FRESH: Duration = Duration::from_millis(500);
    DATE.with_borrow_mut(|cached| {
        let date = match cached.take() {
            Some((at, date)) if at.elapsed() < FRESH => (at, date),
            _ => {
                let date = httpdate::fmt_http_date(SystemTime::now());
                let date = HeaderValue::try_from(date).expect("letters, digits, commas, colons");
                (Instant::now(), date)
            }
        };
        let result = use_date(&date.1);
        *cached = Some(date);
        result
    })
}
