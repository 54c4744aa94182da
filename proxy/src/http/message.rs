//! Heads as they are sent on, where either side speaks HTTP/2.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header, request,
    response,
};
use weir_api::xds::peer::UNDELIVERED;

use super::{
    changes::{RequestChanges, ResponseChanges},
    codec::h1::{
        body::Framing,
        head::{Field, FieldKind, Semantics},
        request::Request as Http1Request,
        response::Response as Http1Response,
    },
    h2::head::{joined, with_target},
    local_reply::{phrase, with_date},
    write::{line, status_line},
};
use crate::config::{HttpConnectionManager, http::ServerHeader};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

const NOT_IN_TRAILERS: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::UPGRADE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::HOST,
];

/// Changes a request's head as the configuration says.
pub(crate) fn change_request(
    mut head: request::Parts,
    config: &HttpConnectionManager,
    changes: &RequestChanges<'_>,
) -> request::Parts {
    let headers = &mut head.headers;
    // RFC 9113 section 8.3.1: the authority is said once, and not here.
    let named = match head.uri.authority() {
        None => headers.get(header::HOST).cloned(),
        Some(_) => None,
    };
    headers.remove(header::HOST);
    let named = named.as_ref().and_then(|host| host.to_str().ok());
    let authority = changes.host.as_deref().or(named);
    for name in changes.edits.dropped() {
        headers.remove(name);
    }
    if let Some(address) = changes.forwarded_for {
        let list = match joined(headers, FORWARDED_FOR.as_str()) {
            Some(before) => format!("{before},{address}"),
            None => address.to_string(),
        };
        insert(headers, FORWARDED_FOR, list);
    }
    if let Some(address) = changes.external_address {
        insert(headers, EXTERNAL_ADDRESS, address.to_string());
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(changes.scheme()));
    }
    if let Some(ms) = changes.expected_timeout_ms {
        headers.insert(EXPECTED_TIMEOUT, number(ms));
    }
    if let Some(attempt) = changes.attempt {
        headers.insert(ATTEMPT_COUNT, attempt.into());
    }
    append(headers, "via", &config.via);
    for (name, value) in changes.edits.added() {
        append(headers, name, value);
    }
    if let Some(length) = changes.length {
        headers.insert(header::CONTENT_LENGTH, number(length));
    }
    let method = changes.method.as_deref();
    if let Some(method) = method.and_then(|method| method.parse().ok()) {
        head.method = method;
    }
    head.uri = with_target(head.uri, authority, changes.path.as_deref());
    head
}

/// Changes a response's head as the configuration says.
pub(crate) fn change_response(
    headers: &mut HeaderMap,
    config: &HttpConnectionManager,
    changes: &ResponseChanges<'_>,
) {
    headers.remove(UNDELIVERED);
    for name in changes.edits.dropped() {
        headers.remove(name);
    }
    if let Some(ms) = changes.service_time_ms {
        headers.insert(SERVICE_TIME, number(ms));
    }
    if let Some(id) = &changes.request_id {
        insert(headers, REQUEST_ID, id.clone());
    }
    complete_response(headers, config, changes.server.clone());
    append(headers, "via", &config.via);
    for (name, value) in changes.edits.added() {
        append(headers, name, value);
    }
}

/// Adds what every response has: `date` and `server`.
pub(crate) fn complete_response(
    headers: &mut HeaderMap,
    config: &HttpConnectionManager,
    server: Option<HeaderValue>,
) {
    if !headers.contains_key(header::DATE) {
        with_date(|date| headers.insert(header::DATE, date.clone()));
    }
    let keep = match config.server_header {
        ServerHeader::PassThrough => true,
        ServerHeader::AppendIfAbsent => headers.contains_key(header::SERVER),
        ServerHeader::Overwrite => false,
    };
    if !keep && let Some(name) = server {
        headers.insert(header::SERVER, name);
    }
}

/// A head without body or version: what `h2` sends.
pub(crate) fn http2_request(head: request::Parts) -> Request<()> {
    Request::from_parts(head, ())
}

/// An HTTP/1 request's head for an HTTP/2 endpoint. None if it cannot be said in HTTP/2.
pub(crate) fn request_from_http1(request: &Http1Request, scheme: &str) -> Option<request::Parts> {
    use crate::http::head::RequestHead;
    let path = match request.path() {
        path if path.starts_with('/') || path == "*" => path.to_owned(),
        path => format!("/{path}"),
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(request.authority())
        .path_and_query(path);
    let method = Method::from_bytes(request.method().as_bytes()).ok()?;
    let head = Request::builder().method(method).uri(uri.build().ok()?);
    let (mut head, ()) = head.version(Version::HTTP_11).body(()).ok()?.into_parts();
    let headers = &mut head.headers;
    copy_fields(headers, &request.bytes, &request.fields, &request.semantics);
    if let Some(Framing::Length(length)) = request.semantics.framing {
        headers.insert(header::CONTENT_LENGTH, number(length));
    }
    let te = request
        .fields
        .iter()
        .filter(|field| field.kind == FieldKind::Te);
    if te
        .into_iter()
        .any(|field| takes_trailers(request.text(&field.value)))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Some(head)
}

/// Whether a `TE` lists `trailers`, all that HTTP/2 can say of it (RFC 9113 section 8.2.2).
fn takes_trailers(te: &[u8]) -> bool {
    let codings = te.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    { codings }.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// An HTTP/1 response's head for an HTTP/2 client. `bytes` is what it was parsed from.
pub(crate) fn response_from_http1(bytes: &[u8], response: &Http1Response) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = response.status.try_into().unwrap_or(head.status);
    copy_fields(
        &mut head.headers,
        bytes,
        &response.fields,
        &response.semantics,
    );
    if let Some(Framing::Length(length)) = response.semantics.framing
        && may_have_length(head.status)
    {
        head.headers.insert(header::CONTENT_LENGTH, number(length));
    }
    head
}

/// Whether a response may say how long it is (RFC 9110 section 8.6).
pub(crate) fn may_have_length(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

/// What is left of trailers where they are sent on: no field that is of one connection, frames the
/// message or says where it goes (RFC 9110 section 6.5.1).
pub(crate) fn end_to_end(trailers: &mut HeaderMap) {
    let nominated = joined(trailers, header::CONNECTION.as_str()).map(Cow::into_owned);
    for name in nominated.iter().flat_map(|list| list.split(',')) {
        if let Ok(name) = HeaderName::try_from(name.trim()) {
            trailers.remove(name);
        }
    }
    for name in NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

/// Writes a request's head for an HTTP/1 endpoint, but for the line that ends it.
pub(crate) fn write_http1_request(out: &mut Vec<u8>, head: &request::Parts) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = head.uri.authority().map_or("", |a| a.as_str());
    line(out, "host", authority.as_bytes());
    if let Some(crumbs) = joined(&head.headers, "cookie") {
        line(out, "cookie", crumbs.as_bytes());
    }
    for (name, value) in &head.headers {
        if name != header::COOKIE {
            line(out, name.as_str(), value.as_bytes());
        }
    }
}

/// Writes a response's head for an HTTP/1 client, but for the line that ends it.
pub(crate) fn write_http1_response(out: &mut Vec<u8>, old: bool, head: &response::Parts) {
    let status = head.status.as_u16();
    status_line(out, old, status, phrase(status).as_bytes());
    write_http1_headers(out, &head.headers);
}

/// Writes headers as HTTP/1 has them.
pub(crate) fn write_http1_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        line(out, name.as_str(), value.as_bytes());
    }
}

/// Copies what neither ends at this hop nor says where the message goes and where it ends.
fn copy_fields(headers: &mut HeaderMap, bytes: &[u8], fields: &[Field], semantics: &Semantics) {
    headers.reserve(fields.len());
    for field in fields {
        let anew = matches!(
            field.kind,
            FieldKind::Connection
                | FieldKind::HopByHop
                | FieldKind::Upgrade
                | FieldKind::TransferEncoding
                | FieldKind::ContentLength
                | FieldKind::Te
                | FieldKind::Host
        );
        if anew || semantics.nominates(&bytes[field.name.clone()]) {
            continue;
        }
        let name = HeaderName::from_bytes(&bytes[field.name.clone()]);
        let value = HeaderValue::from_bytes(&bytes[field.value.clone()]);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
}

/// Digits. Few of them, as most are, take no memory of their own.
fn number(number: u64) -> HeaderValue {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    if let Some(digit) = usize::try_from(number).ok().and_then(|n| DIGITS.get(n)) {
        return HeaderValue::from_static(digit);
    }
    let (mut text, mut length) = ([0; 20], 0);
    let mut left = number;
    while left > 0 {
        length += 1;
        text[20 - length] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    HeaderValue::from_bytes(&text[20 - length..]).expect("digits")
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    // Text that makes no header is left out.
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
        headers.insert(name, value);
    }
}

/// Adds a header, if it has a value and makes one.
pub(crate) fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        && (!value.is_empty() || name != header::VIA)
    {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        for value in [0, 7, 9, 10, 15_000, u64::MAX] {
            assert_eq!(number(value), value.to_string());
        }
    }
}
