//! The request as it came, in the form of its version of HTTP.

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, request, uri::PathAndQuery};

use super::{
    bridge::Source,
    trust::{is_trusted, sanitize},
};
use crate::{
    config::HttpConnectionManager,
    http::{
        codec::{
            h1::{
                head::{Field, FieldKind},
                request::Request,
            },
            h2::{RecvStream, TooLarge},
        },
        head::RequestHead,
        path::{Applied, BadPath},
        route::is_grpc,
    },
    info::request_id::RequestId,
    reason::Reason,
};

/// A request whose head has been read.
pub(crate) enum RequestMessage<'e> {
    /// In place; its body is still in the connection.
    Http1(&'e mut Request),
    /// A stream.
    Http2(Http2Request<'e>),
}

/// A request of a stream.
pub(crate) struct Http2Request<'e> {
    /// None once it has been sent and nobody will ask for it again.
    pub(super) head: &'e mut Option<request::Parts>,
    /// None once somebody reads it.
    pub(super) body: Option<RecvStream>,
    is_head: bool,
    is_grpc: bool,
    is_safe: bool,
}

// === impl Http2Request ===

impl<'e> Http2Request<'e> {
    /// A request of a stream. `head` is some.
    pub(crate) fn new(head: &'e mut Option<request::Parts>, body: RecvStream) -> Self {
        let of_head = |is: fn(&request::Parts) -> bool| head.as_ref().is_some_and(is);
        Self {
            is_head: of_head(|head| head.method == Method::HEAD),
            is_grpc: of_head(|head| is_grpc(head)),
            is_safe: of_head(|head| head.method.is_safe()),
            head,
            body: Some(body),
        }
    }

    fn objection(&mut self, config: &HttpConnectionManager) -> Option<Reason> {
        let head = self.head.as_mut()?;
        sanitize(config, &mut head.headers);
        if head.method == Method::CONNECT {
            return Some(Reason::UpgradeRefused);
        }
        let is_too_large = head.extensions.get::<TooLarge>().is_some();
        if is_too_large || head.headers.len() > config.max_headers_count as usize {
            return Some(Reason::HeadTooLarge);
        }
        normalize(config, head).err()
    }
}

/// Brings the path into the form that is routed.
fn normalize(config: &HttpConnectionManager, head: &mut request::Parts) -> Result<(), Reason> {
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let applied = config.path.apply(path.as_bytes());
    let applied = applied.map_err(|BadPath| Reason::BadPath)?;
    let redirects = matches!(applied, Applied::Redirect(_));
    if let Applied::New(path) | Applied::Redirect(path) = applied {
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path));
        uri.path_and_query = Some(path.map_err(|_| Reason::BadRequest)?);
        head.uri = Uri::from_parts(uri).map_err(|_| Reason::BadRequest)?;
    }
    match redirects {
        true => Err(Reason::PathNormalized),
        false => Ok(()),
    }
}

// === impl RequestMessage ===

impl RequestMessage<'_> {
    /// What routes and formats see of it.
    pub(super) fn head(&self) -> Option<&dyn RequestHead> {
        match self {
            Self::Http1(request) => Some(&**request),
            Self::Http2(request) => request.head.as_ref().map(|head| head as &dyn RequestHead),
        }
    }

    /// What is wrong with the request before it is routed. Brings it into the form that is routed.
    pub(super) fn objection(&mut self, config: &HttpConnectionManager) -> Option<Reason> {
        match self {
            Self::Http1(request) => objection_to_http1(request, config),
            Self::Http2(request) => request.objection(config),
        }
    }

    /// Gives the request an id, in place of any that it came with.
    pub(super) fn set_id(&mut self, id: &RequestId) {
        match self {
            Self::Http1(request) => {
                request.set_field(FieldKind::RequestId, "x-request-id", id.as_str());
            }
            Self::Http2(request) => {
                if let (Some(head), Ok(id)) =
                    (&mut *request.head, HeaderValue::from_str(id.as_str()))
                {
                    head.headers.insert("x-request-id", id);
                }
            }
        }
    }

    pub(super) fn is_head(&self) -> bool {
        match self {
            Self::Http1(request) => request.is_head(),
            Self::Http2(request) => request.is_head,
        }
    }

    pub(super) fn is_grpc(&self) -> bool {
        match self {
            Self::Http1(request) => is_grpc(&**request),
            Self::Http2(request) => request.is_grpc,
        }
    }

    /// Whether it may be repeated without the client knowing (RFC 9110 section 9.2.1).
    pub(super) fn is_safe(&self) -> bool {
        match self {
            Self::Http1(request) => {
                matches!(request.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
            }
            Self::Http2(request) => request.is_safe,
        }
    }

    /// Whether the next request may follow at once: there is no body, and no tunnel is asked for.
    pub(super) fn has_no_body(&self) -> bool {
        match self {
            Self::Http1(request) => request.body().has_ended() && !request.is_connect(),
            Self::Http2(request) => request.body.as_ref().is_none_or(RecvStream::is_end_stream),
        }
    }

    /// Whether the head is there to be sent again.
    pub(super) fn has_head(&self) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(request) => request.head.is_some(),
        }
    }

    /// The body, for who frames it anew.
    pub(super) fn take_body(&mut self) -> Source {
        match self {
            Self::Http1(request) => Source::http1(request.body()),
            Self::Http2(request) => match request.body.take() {
                Some(body) => Source::Http2(body),
                None => Source::Taken,
            },
        }
    }
}

fn objection_to_http1(request: &mut Request, config: &HttpConnectionManager) -> Option<Reason> {
    let bytes = &request.bytes;
    let trusted = |field: &Field| is_trusted(config, field.kind, &bytes[field.name.clone()]);
    request.fields.retain(trusted);
    if !request.is_connect() {
        match config.path.apply(request.text(&request.path)) {
            Ok(Applied::Same) => {}
            Ok(Applied::New(path)) => request.set_path(&path),
            Ok(Applied::Redirect(path)) => {
                request.set_path(&path);
                return Some(Reason::PathNormalized);
            }
            Err(BadPath) => return Some(Reason::BadPath),
        }
    }
    if request.minor_version == 0 {
        let host = &config.default_host_for_http_10;
        if !host.is_empty() && request.authority.is_empty() {
            request.set_authority(host.as_bytes());
        }
        if !config.accept_http_10 {
            return Some(Reason::UpgradeRequired);
        }
        // As Envoy: there is no host to ask an HTTP/1.1 endpoint by.
        return request.authority.is_empty().then_some(Reason::BadRequest);
    }
    // RFC 9112 section 3.2: a request without Host is a bad one.
    let has_host = request.field(FieldKind::Host).is_some();
    (!has_host && request.authority.is_empty()).then_some(Reason::BadRequest)
}
