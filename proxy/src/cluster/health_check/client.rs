//! HTTP of checks, in either version.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioExecutor;
use tokio::task::AbortHandle;

use super::{io::Io, probe::Context};
use crate::{
    cluster::health::CheckTarget,
    config::format::Part,
    config::header::{AppendAction, HeaderChanges},
};

/// Largest head of a response, Envoy's default.
const MAX_HEAD: usize = 60 * 1024;
/// Largest frame payload that is buffered of HTTP/2: what the protocol begins with.
const WINDOW: u32 = 65_535;

/// A connection that checks of a host share.
pub(super) struct Client {
    sender: Sender,
    driver: AbortHandle,
}

enum Sender {
    Http1(http1::SendRequest<Payload>),
    Http2(http2::SendRequest<Payload>),
}

/// What a check asks.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
    pub(super) is_http2: bool,
    pub(super) is_tls: bool,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) changes: &'a HeaderChanges,
    pub(super) body: Payload,
}

/// What a check sends as a body.
pub(super) struct Payload {
    bytes: Bytes,
    says_length: bool,
}

// === impl Payload ===

impl Payload {
    /// With its length in the head.
    pub(super) fn measured(bytes: Bytes) -> Self {
        Self {
            bytes,
            says_length: true,
        }
    }

    /// Without, as a stream is sent.
    pub(super) fn streamed(bytes: Bytes) -> Self {
        Self {
            bytes,
            says_length: false,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.says_length {
            true => SizeHint::with_exact(self.bytes.len() as u64),
            false => SizeHint::default(),
        }
    }
}

// === impl Client ===

impl Client {
    pub(super) async fn connect(
        context: &Context,
        target: &CheckTarget,
        is_http2: bool,
    ) -> Option<Self> {
        let io = Io::connect(context, target).await;
        let io = io.map_err(|error| context.note(target, &error)).ok()?;
        let boundary = context.boundary.clone();
        let (sender, driver) = if is_http2 {
            let made = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .max_header_list_size(MAX_HEAD as u32)
                .handshake(io)
                .await;
            let (sender, connection) = made.ok()?;
            let driver = tokio::spawn(boundary.contain(connection)).abort_handle();
            (Sender::Http2(sender), driver)
        } else {
            let made = http1::Builder::new()
                .max_buf_size(MAX_HEAD)
                .handshake(io)
                .await;
            let (sender, connection) = made.ok()?;
            let driver = tokio::spawn(boundary.contain(connection)).abort_handle();
            (Sender::Http1(sender), driver)
        };
        Some(Self { sender, driver })
    }

    /// Whether it takes another request; false once the host has closed it.
    pub(super) async fn is_ready(&mut self) -> bool {
        let ready = match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await,
            Sender::Http2(sender) => sender.ready().await,
        };
        ready.is_ok()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Payload>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

// === impl Ask ===

impl Ask<'_> {
    /// The request; none if it cannot be written.
    pub(super) fn request(self) -> Option<Request<Payload>> {
        let host = HeaderValue::from_bytes(self.authority.as_bytes()).ok()?;
        let scheme = if self.is_tls { "https" } else { "http" };
        let whole = Uri::builder()
            .scheme(scheme)
            .authority(self.authority)
            .path_and_query(self.path)
            .build();
        let mut headers = HeaderMap::new();
        // A name of a cluster may be none of a host: then HTTP/2 carries it as HTTP/1 does.
        let (uri, version) = match whole {
            Ok(whole) if self.is_http2 => (whole, Version::HTTP_2),
            _ => {
                headers.insert(HOST, host);
                (self.path.parse().ok()?, Version::HTTP_11)
            }
        };
        let says_length = matches!(self.method, "OPTIONS" | "PATCH" | "POST" | "PUT");
        if !self.is_http2 && says_length && self.body.is_end_stream() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        for (name, value) in self.headers {
            headers.insert(*name, HeaderValue::from_str(value).ok()?);
        }
        change(&mut headers, self.changes);
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method.parse().ok()?;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Removals come first, then what is overwritten, then what is added; what is there is what was there
/// before either, all as in Envoy. What cannot stand in a header was refused with the configuration.
fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    for name in &changes.remove {
        headers.remove(name.as_str());
    }
    let (mut added, mut overwritten) = (Vec::new(), Vec::new());
    for addition in &changes.add {
        let literals = addition.value.parts.iter().map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Command { .. } => "",
        });
        let value: String = literals.collect();
        let name = HeaderName::from_bytes(addition.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) else {
            continue;
        };
        if value.is_empty() && !addition.keep_empty_value {
            continue;
        }
        let is_there = headers.contains_key(&name);
        match addition.append {
            AppendAction::AddIfAbsent if is_there => {}
            AppendAction::OverwriteIfExists if !is_there => {}
            AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => {
                added.push((name, value));
            }
            AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => {
                overwritten.push((name, value));
            }
        }
    }
    for (name, value) in overwritten {
        headers.insert(name, value);
    }
    for (name, value) in added {
        headers.append(name, value);
    }
}
