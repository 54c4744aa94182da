//! gRPC on calls: one message there and one back, or a stream of messages there.

#[cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "its tests alone send streams: no filter and no log does"
    )
)]
mod client_stream;

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{Answer, Call, CallError, Origin, Wanted};
use crate::{
    cluster::Clusters,
    config::service::GrpcService,
    format::Values,
    http::{
        grpc::{PREFIX, framed, is_grpc, only_message, timeout_text},
        message::append,
    },
};

#[cfg(test)]
pub(crate) use client_stream::ClientStream;

/// Largest message that is taken where the configuration sets no bound: what gRPC libraries take.
const MAX_MESSAGE: usize = 4 << 20;

/// Why a call of gRPC brought no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrpcError {
    /// The call itself failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server answered with a status other than OK: its code and what it said.
    #[error("gRPC status {0}: {1}")]
    Status(u8, String),
    /// What came is none of gRPC.
    #[error("the response is none of gRPC")]
    Malformed,
}

/// A call with one message there and one back.
#[derive(Debug)]
pub(crate) struct Unary {
    cluster: String,
    call: Call,
}

// === impl Unary ===

impl Unary {
    /// `message` for the method at `path` (`/package.Service/Method`). `values` are for initial metadata
    /// that asks for some.
    ///
    /// # Errors
    /// If the service's authority cannot be said.
    pub(crate) fn new(
        service: &GrpcService,
        path: &'static str,
        message: &[u8],
        default_timeout: Duration,
        values: &dyn Values,
    ) -> Result<Self, GrpcError> {
        let timeout = service.timeout.unwrap_or(default_timeout);
        let call = Call {
            head: head(service, path, Some(timeout), values).ok_or(GrpcError::Malformed)?,
            body: framed(message),
            trailers: None,
            timeout,
            wanted: Wanted::UpTo(max_message(service).saturating_add(PREFIX)),
            origin: Origin {
                destination: None,
                is_http2: true,
            },
        };
        Ok(Self {
            cluster: service.cluster.clone(),
            call,
        })
    }

    /// Sends it, and returns the message that comes back.
    pub(crate) async fn send(self, clusters: Rc<Clusters>) -> Result<Bytes, GrpcError> {
        let answer = self.call.send(clusters, &self.cluster).await?;
        message_of(&answer)
    }
}

fn max_message(service: &GrpcService) -> usize {
    service.max_receive_message_length.unwrap_or(MAX_MESSAGE)
}

/// The head of a call. None if its authority is none.
fn head(
    service: &GrpcService,
    path: &'static str,
    timeout: Option<Duration>,
    values: &dyn Values,
) -> Option<http::request::Parts> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority(service)?);
    uri.path_and_query = Some(PathAndQuery::from_static(path));
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    if let Some(timeout) = timeout {
        let text = HeaderValue::try_from(timeout_text(timeout)).ok()?;
        headers.insert("grpc-timeout", text);
    }
    for (name, format) in &service.initial_metadata {
        let mut value = String::new();
        format.render(values, "", &mut value);
        append(headers, name, &value);
    }
    Some(request.into_parts().0)
}

/// What is configured, else the name of the cluster, as with Envoy; but that what cannot stand in an
/// authority becomes `_`.
fn authority(service: &GrpcService) -> Option<Authority> {
    if !service.authority.is_empty() {
        return service.authority.parse().ok();
    }
    let stands = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let name: String = { service.cluster.chars() }
        .map(|c| if stands(c) { c } else { '_' })
        .collect();
    Authority::try_from(name).ok()
}

/// The message of a response that says that all is well.
fn message_of(answer: &Answer) -> Result<Bytes, GrpcError> {
    status_of(&answer.head, answer.trailers.as_ref())?;
    only_message(&answer.body).ok_or(GrpcError::Malformed)
}

/// Whether a response says that all is well: in its trailers, or in its head if there is nothing else.
fn status_of(head: &http::response::Parts, trailers: Option<&HeaderMap>) -> Result<(), GrpcError> {
    let content_type = head.headers.get(header::CONTENT_TYPE);
    if head.status != http::StatusCode::OK {
        return Err(GrpcError::Status(
            status_of_http(head.status.as_u16()),
            format!("HTTP status {}", head.status.as_u16()),
        ));
    }
    if !content_type.is_some_and(|kind| is_grpc(kind.as_bytes())) {
        return Err(GrpcError::Malformed);
    }
    let said = trailers.unwrap_or(&head.headers);
    let status = said.get("grpc-status").ok_or(GrpcError::Malformed)?;
    let status = status.to_str().ok().and_then(|text| text.parse().ok());
    match status {
        Some(0) => Ok(()),
        Some(code) => {
            let message = said.get("grpc-message").map(HeaderValue::as_bytes);
            let message = String::from_utf8_lossy(message.unwrap_or_default());
            Err(GrpcError::Status(code, message.into_owned()))
        }
        None => Err(GrpcError::Malformed),
    }
}

/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn status_of_http(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
