//! Heads as they are sent on. What frames the message, and what is of one hop alone, is written as
//! it was understood; whatever else the configuration does not change stays as it came, byte for
//! byte: names in their case, in their order, repeated ones apart.

use std::{fmt::Display, io::Write};

use super::codec::h1::{
    body::Framing,
    head::{Field, FieldKind, lists},
    request::Request,
    response::Response,
};
use crate::{
    config::{HttpConnectionManager, http::ServerHeader},
    http::{
        changes::{RequestChanges, ResponseChanges},
        local_reply::with_date,
    },
};

/// What the head of a response says of the connection that it goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Http1Head {
    /// The client speaks HTTP/1.0.
    pub(crate) old: bool,
    /// How the body is framed, or one would be that is not sent.
    pub(crate) framing: Option<Framing>,
    pub(crate) connection: ConnectionHeader,
}

/// What the client is told of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionHeader {
    /// Nothing: it stays open, as HTTP/1.1 has it.
    None,
    /// `close`
    Close,
    /// `keep-alive`, which HTTP/1.0 needs said.
    KeepAlive,
    /// `upgrade`
    Upgrade,
    /// Both.
    UpgradeAndClose,
}

/// Writes a request's head to `out`. `upgrade`: what the client asks to switch to is passed on.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &Request,
    config: &HttpConnectionManager,
    changes: &RequestChanges<'_>,
    upgrade: bool,
) {
    request_line(out, request, changes);
    // The target's authority wins over `Host`.
    let own = request.has_own_authority;
    let authority = own.then(|| request.text(&request.authority));
    let host = changes.host.as_deref().map(str::as_bytes).or(authority);
    let is_framed = !request.is_connect();
    let length = changes.length.map(Framing::Length);
    let mut framing = length.or(request.semantics.framing).filter(|_| is_framed);
    let mut te = false;
    for field in &request.fields {
        let name = request.text(&field.name);
        match field.kind {
            FieldKind::Connection | FieldKind::HopByHop => {}
            FieldKind::ContentLength | FieldKind::TransferEncoding => {
                // A body that is framed anew has another field for it, below.
                if says(field.kind, framing) {
                    frame(out, name, framing.take());
                }
            }
            FieldKind::Upgrade if !upgrade => {}
            // Of what the client takes we can pass on one thing alone.
            FieldKind::Te => {
                let trailers = lists(request.text(&field.value), b"trailers");
                if trailers && !te && changes.edits.keeps(name) {
                    bytes_line(out, name, b"trailers");
                    te = true;
                }
            }
            FieldKind::Host if host.is_some() => {}
            FieldKind::ForwardedFor if changes.forwarded_for.is_some() => {}
            FieldKind::XEnvoy if changes.replaces(name) => {}
            _ => copy(out, &request.bytes, field, |name| {
                changes.edits.keeps(name) && !request.semantics.nominates(name)
            }),
        }
    }
    if framing.is_some() {
        frame(out, b"content-length", framing);
    }
    if let Some(host) = host {
        line(out, "host", host);
    }
    if upgrade {
        line(out, "connection", b"Upgrade");
    }
    added_request_fields(out, request, config, changes);
    out.extend_from_slice(b"\r\n");
}

fn request_line(out: &mut Vec<u8>, request: &Request, changes: &RequestChanges<'_>) {
    let path = request.text(&request.path);
    let method = changes.method.as_deref().map(str::as_bytes);
    out.extend_from_slice(method.unwrap_or(request.text(&request.method)));
    out.push(b' ');
    match (&changes.path, &changes.host) {
        (_, Some(host)) if request.is_connect() => out.extend_from_slice(host.as_bytes()),
        _ if request.is_connect() => out.extend_from_slice(request.text(&request.authority)),
        (Some(path), _) => out.extend_from_slice(path.as_bytes()),
        _ => {
            if !path.starts_with(b"/") && path != b"*" {
                out.push(b'/');
            }
            out.extend_from_slice(path);
        }
    }
    out.extend_from_slice(match request.is_sent_on_as_http11() {
        true => b" HTTP/1.1\r\n",
        false => b" HTTP/1.0\r\n",
    });
}

fn added_request_fields(
    out: &mut Vec<u8>,
    request: &Request,
    config: &HttpConnectionManager,
    changes: &RequestChanges<'_>,
) {
    if let Some(address) = changes.forwarded_for {
        out.extend_from_slice(b"x-forwarded-for: ");
        for before in request.all(FieldKind::ForwardedFor) {
            out.extend_from_slice(before);
            out.push(b',');
        }
        show(out, address);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(address) = changes.external_address {
        line_of(out, "x-envoy-external-address", address);
    }
    if request.field(FieldKind::ForwardedProto).is_none() {
        line(out, "x-forwarded-proto", changes.scheme().as_bytes());
    }
    if let Some(ms) = changes.expected_timeout_ms {
        line_of(out, "x-envoy-expected-rq-timeout-ms", ms);
    }
    if let Some(attempt) = changes.attempt {
        line_of(out, "x-envoy-attempt-count", attempt);
    }
    via(out, config);
    for (name, value) in changes.edits.added() {
        line(out, name, value.as_bytes());
    }
}

/// Writes a response's head to `out`. `bytes` is what it was parsed from.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    bytes: &[u8],
    response: &Response,
    config: &HttpConnectionManager,
    plan: &ResponseChanges<'_>,
    head: &Http1Head,
) {
    let reason = &bytes[response.reason.clone()];
    status_line(out, head.old, response.status, reason);
    let (mut has_server, mut has_date) = (false, false);
    let mut framing = head.framing;
    for field in &response.fields {
        let name = &bytes[field.name.clone()];
        match field.kind {
            FieldKind::Connection | FieldKind::HopByHop | FieldKind::Undelivered => continue,
            FieldKind::ContentLength | FieldKind::TransferEncoding => {
                frame(out, name, framing.take());
                continue;
            }
            FieldKind::Upgrade if !head.connection.upgrades() => continue,
            FieldKind::Server if config.server_header == ServerHeader::Overwrite => continue,
            FieldKind::XEnvoy
                if plan.service_time_ms.is_some()
                    && name.eq_ignore_ascii_case(b"x-envoy-upstream-service-time") =>
            {
                continue;
            }
            FieldKind::RequestId if plan.request_id.is_some() => continue,
            FieldKind::Server => has_server = true,
            FieldKind::Date => has_date = true,
            _ => {}
        }
        copy(out, bytes, field, |name| {
            plan.edits.keeps(name) && !response.semantics.nominates(name)
        });
    }
    if let Some(ms) = plan.service_time_ms {
        line_of(out, "x-envoy-upstream-service-time", ms);
    }
    if let Some(id) = &plan.request_id {
        line(out, "x-request-id", id.as_bytes());
    }
    if !has_date {
        with_date(|date| line(out, "date", date.as_bytes()));
    }
    if !has_server && config.server_header != ServerHeader::PassThrough {
        line(out, "server", config.server_name.as_bytes());
    }
    via(out, config);
    plan.edits
        .added()
        .for_each(|(name, value)| line(out, name, value.as_bytes()));
    head.connection.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of an informational response, which has no body (RFC 9110 section 15.2).
pub(crate) fn informational(out: &mut Vec<u8>, bytes: &[u8], response: &Response) {
    status_line(out, false, response.status, &bytes[response.reason.clone()]);
    let fields = response.fields.iter();
    for field in fields.filter(|field| field.kind.may_be_trailer()) {
        copy(out, bytes, field, |name| {
            !response.semantics.nominates(name)
        });
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes what every response of our own has.
pub(crate) fn own_fields(out: &mut Vec<u8>, config: &HttpConnectionManager) {
    with_date(|date| line(out, "date", date.as_bytes()));
    if config.server_header != ServerHeader::PassThrough {
        line(out, "server", config.server_name.as_bytes());
    }
    via(out, config);
}

/// Writes our `via`, if we have one.
fn via(out: &mut Vec<u8>, config: &HttpConnectionManager) {
    if !config.via.is_empty() {
        line(out, "via", config.via.as_bytes());
    }
}

/// Whether a field is the one that says how a message is framed.
fn says(kind: FieldKind, framing: Option<Framing>) -> bool {
    matches!(
        (kind, framing),
        (FieldKind::ContentLength, Some(Framing::Length(_)))
            | (FieldKind::TransferEncoding, Some(Framing::Chunked))
    )
}

/// Writes the field that frames a message, by the name that it came under.
fn frame(out: &mut Vec<u8>, name: &[u8], framing: Option<Framing>) {
    match framing {
        Some(Framing::Length(length)) => {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            show(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Some(Framing::Chunked) => bytes_line(out, name, b"chunked"),
        Some(Framing::UntilClose) | None => {}
    }
}

/// Writes a status line.
pub(crate) fn status_line(out: &mut Vec<u8>, old: bool, status: u16, phrase: &[u8]) {
    out.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    show(out, status);
    out.push(b' ');
    out.extend_from_slice(phrase);
    out.extend_from_slice(b"\r\n");
}

/// Writes a header field.
pub(crate) fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes_line(out, name.as_bytes(), value);
}

fn bytes_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a header field whose value has no text yet.
fn line_of(out: &mut Vec<u8>, name: &str, value: impl Display) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    show(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a value without a text of its own in between.
fn show(out: &mut Vec<u8>, value: impl Display) {
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{value}");
}

/// Copies a field as it came, if `keep` says so.
fn copy(out: &mut Vec<u8>, bytes: &[u8], field: &Field, keep: impl FnOnce(&[u8]) -> bool) {
    if keep(&bytes[field.name.clone()]) {
        out.extend_from_slice(&bytes[field.name.start..field.value.end.max(field.name.end)]);
        if field.value.is_empty() {
            out.truncate(out.len() - (field.value.end.max(field.name.end) - field.name.end));
            out.push(b':');
        }
        out.extend_from_slice(b"\r\n");
    }
}

// === impl ConnectionHeader ===

impl ConnectionHeader {
    /// Whether `Upgrade` goes with it: neither is sent without the other (RFC 9110 section 7.8).
    fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::UpgradeAndClose)
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Close => line(out, "connection", b"close"),
            Self::KeepAlive => line(out, "connection", b"keep-alive"),
            Self::Upgrade => line(out, "connection", b"Upgrade"),
            Self::UpgradeAndClose => line(out, "connection", b"Upgrade, close"),
        }
    }
}
