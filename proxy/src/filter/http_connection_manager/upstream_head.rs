//! Heads as they are sent on. What the configuration does not change stays as it came, byte for
//! byte: names in their case, in their order, repeated ones apart.

use std::{fmt::Display, io::Write, net::IpAddr, ops::Range};

use crate::{
    config::{HttpConnectionManager, http::ServerHeader},
    http::{
        h1::{
            head::{Field, FieldKind},
            request::Request,
            response::Response,
        },
        header_edits::HeaderEdits,
        local_reply::with_date,
    },
};

/// What is done to a request besides the configured header mutations.
#[derive(Debug)]
pub struct RequestHeadPlan<'a> {
    /// Configured header mutations.
    pub edits: &'a HeaderEdits<'a>,
    /// New path and query.
    pub path: Option<&'a str>,
    /// New `Host`.
    pub host: Option<&'a str>,
    /// The upgrade is forwarded.
    pub upgrade: bool,
    /// The client's address, if it is to be appended to `x-forwarded-for`.
    pub forwarded_for: Option<IpAddr>,
    /// A new request id.
    pub request_id: Option<&'a str>,
    /// `x-envoy-expected-rq-timeout-ms`
    pub expected_timeout_ms: Option<u128>,
    /// `x-envoy-attempt-count`
    pub attempt: Option<u32>,
}

/// What is done to a response besides the configured header mutations.
pub(super) struct ResponseHeadPlan<'a> {
    pub(super) edits: &'a HeaderEdits<'a>,
    /// Of the request.
    pub(super) minor_version: u8,
    pub(super) connection: ConnectionHeader,
    /// `x-envoy-upstream-service-time`
    pub(super) service_time_ms: Option<u128>,
    /// The request's id, if it is to be copied.
    pub(super) request_id: Option<&'a str>,
}

/// What the client is told of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionHeader {
    /// Nothing: it stays open, as HTTP/1.1 has it.
    None,
    /// `close`
    Close,
    /// `keep-alive`, which HTTP/1.0 needs said.
    KeepAlive,
    /// `upgrade`
    Upgrade,
}

/// Writes a request's head to `out`.
pub fn write_request(
    out: &mut Vec<u8>,
    request: &Request,
    manager: &HttpConnectionManager,
    plan: &RequestHeadPlan<'_>,
) {
    let path = request.text(&request.path);
    out.extend_from_slice(request.text(&request.method));
    out.push(b' ');
    match plan.path {
        Some(path) => out.extend_from_slice(path.as_bytes()),
        None if request.text(&request.method) == b"CONNECT" => {
            out.extend_from_slice(request.text(&request.target));
        }
        None if !path.starts_with(b"/") && path != b"*" => {
            out.push(b'/');
            out.extend_from_slice(path);
        }
        None => out.extend_from_slice(path),
    }
    out.extend_from_slice(if request.minor_version == 0 {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    });
    // In absolute form the target's authority wins over `Host`.
    let own = request.has_own_authority;
    let authority = own.then(|| request.text(&request.authority));
    let host = plan.host.map(str::as_bytes).or(authority);
    for field in &request.fields {
        match field.kind {
            FieldKind::Connection | FieldKind::HopByHop => {}
            FieldKind::Upgrade if !plan.upgrade => {}
            FieldKind::Te if !request.text(&field.value).eq_ignore_ascii_case(b"trailers") => {}
            FieldKind::Host if host.is_some() => {}
            FieldKind::RequestId if plan.request_id.is_some() => {}
            FieldKind::ForwardedFor if plan.forwarded_for.is_some() => {}
            _ => copy(out, &request.bytes, field, |name| {
                plan.edits.keeps(name) && !request.semantics.nominates(name)
            }),
        }
    }
    if let Some(host) = host {
        line(out, "host", host);
    }
    if plan.upgrade {
        line(out, "connection", b"Upgrade");
    }
    if let Some(address) = plan.forwarded_for {
        out.extend_from_slice(b"x-forwarded-for: ");
        if let Some(before) = request.field(FieldKind::ForwardedFor) {
            out.extend_from_slice(before);
            out.push(b',');
        }
        show(out, address);
        out.extend_from_slice(b"\r\n");
    }
    if request.field(FieldKind::ForwardedProto).is_none() {
        line(out, "x-forwarded-proto", b"http");
    }
    if let Some(id) = plan.request_id {
        line(out, "x-request-id", id.as_bytes());
    }
    if let Some(ms) = plan.expected_timeout_ms {
        line_of(out, "x-envoy-expected-rq-timeout-ms", ms);
    }
    if let Some(attempt) = plan.attempt {
        line_of(out, "x-envoy-attempt-count", attempt);
    }
    if !manager.via.is_empty() {
        line(out, "via", manager.via.as_bytes());
    }
    plan.edits
        .added
        .iter()
        .for_each(|(name, value)| line(out, name, value.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// Writes a response's head to `out`. `bytes` is what it was parsed from.
pub(super) fn write_response(
    out: &mut Vec<u8>,
    bytes: &[u8],
    response: &Response,
    manager: &HttpConnectionManager,
    plan: &ResponseHeadPlan<'_>,
) {
    let old = plan.minor_version == 0 && response.minor_version == 0;
    status_line(out, old, response.status, &bytes[response.reason.clone()]);
    let (mut has_server, mut has_date) = (false, false);
    for field in &response.fields {
        match field.kind {
            FieldKind::Connection | FieldKind::HopByHop => continue,
            FieldKind::Server if manager.server_header == ServerHeader::Overwrite => continue,
            FieldKind::XEnvoy
                if plan.service_time_ms.is_some()
                    && is(bytes, &field.name, "x-envoy-upstream-service-time") =>
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
    if let Some(id) = plan.request_id {
        line(out, "x-request-id", id.as_bytes());
    }
    if !has_date {
        with_date(|date| line(out, "date", date.as_bytes()));
    }
    if !has_server && manager.server_header != ServerHeader::PassThrough {
        line(out, "server", manager.server_name.as_bytes());
    }
    if !manager.via.is_empty() {
        line(out, "via", manager.via.as_bytes());
    }
    plan.edits
        .added
        .iter()
        .for_each(|(name, value)| line(out, name, value.as_bytes()));
    plan.connection.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Writes a status line.
pub(super) fn status_line(out: &mut Vec<u8>, old: bool, status: u16, phrase: &[u8]) {
    out.extend_from_slice(if old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    show(out, status);
    out.push(b' ');
    out.extend_from_slice(phrase);
    out.extend_from_slice(b"\r\n");
}

/// Writes a header field.
pub(super) fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
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

fn is(bytes: &[u8], name: &Range<usize>, other: &str) -> bool {
    bytes[name.clone()].eq_ignore_ascii_case(other.as_bytes())
}

// === impl ConnectionHeader ===

impl ConnectionHeader {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Close => line(out, "connection", b"close"),
            Self::KeepAlive => line(out, "connection", b"keep-alive"),
            Self::Upgrade => line(out, "connection", b"Upgrade"),
        }
    }
}
