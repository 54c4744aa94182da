//! What a service is asked over HTTP: the request's method, host and path, and some of its headers.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use super::{super::Decoding, Settings, decision::is_of_the_hop};
use crate::{
    call::Call,
    config::{
        header::HeaderAddition,
        http_filter::{
            ExtAuthz,
            ext_authz::{AskedPath, AuthorizationService, HttpService},
        },
        matcher::StringMatcher,
    },
    http::{
        edits::{Edited, Edits, rendered_for},
        head::RequestHead,
    },
};

/// Says whether what is sent of the body is not all of it.
pub(super) const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const EXPECTED_TIMEOUT: &str = "x-envoy-expected-rq-timeout-ms";
const INTERNAL: &str = "x-envoy-internal";
/// Largest answer that is taken. Envoy bounds it by the cluster's buffers, of 1 MiB.
const MAX_ANSWER: usize = 1 << 20;

/// The call; none if it cannot be said.
pub(super) fn call(
    config: &ExtAuthz,
    settings: &Settings<'_>,
    service: &HttpService,
    d: &Decoding<'_, '_>,
) -> Option<Call> {
    let request = Edited::new(d.head, &*d.edits);
    let (body, is_partial) = match settings.body {
        Some(settings) => body(d, settings.max_request_bytes as usize),
        None => (Bytes::new(), None),
    };
    let path: Cow<'_, str> = match &service.path {
        AskedPath::Behind(prefix) => format!("{prefix}{}", request.path()).into(),
        AskedPath::Always(path) => path.as_str().into(),
    };
    let uri = Uri::builder()
        .scheme("http")
        .authority(request.authority())
        .path_and_query(&*path);
    let mut asked = Request::new(body);
    *asked.uri_mut() = uri.build().ok()?;
    *asked.method_mut() = Method::from_bytes(request.method().as_bytes()).ok()?;
    let scheme = scheme(d);
    *asked.headers_mut() = headers(config, &request, scheme);
    if let Some(is_partial) = is_partial {
        let text = if is_partial { "true" } else { "false" };
        let partial = HeaderName::from_static(PARTIAL_BODY);
        asked
            .headers_mut()
            .insert(partial, HeaderValue::from_static(text));
    }
    add(asked.headers_mut(), &service.headers_to_add, d);
    // As Envoy, which says these of every request.
    let length = HeaderValue::from(asked.body().len());
    asked.headers_mut().insert(header::CONTENT_LENGTH, length);
    let timeout = service.server.timeout;
    let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    asked.headers_mut().insert(EXPECTED_TIMEOUT, ms.into());
    asked
        .headers_mut()
        .insert(INTERNAL, HeaderValue::from_static("true"));
    Some(Call::new(asked, timeout, MAX_ANSWER))
}

/// The scheme that a request came by.
pub(super) fn scheme(d: &Decoding<'_, '_>) -> &'static str {
    match d.stream.connection.tls {
        Some(_) => "https",
        None => "http",
    }
}

/// Up to `most` bytes of the body, and whether there are more; none: nothing was read of it.
pub(super) fn body(d: &Decoding<'_, '_>, most: usize) -> (Bytes, Option<bool>) {
    let Some(read) = &d.body else {
        return (Bytes::new(), None);
    };
    let mut body = read.parts.concat();
    let is_partial = !read.is_whole || body.len() > most;
    body.truncate(most);
    (body.into(), Some(is_partial))
}

/// Whether the service may see a header, or a pseudo header. As in Envoy that is the filter's to say, and
/// the default follows from the filter's own service also where a route has another one.
pub(super) fn is_sent(config: &ExtAuthz, name: &str) -> bool {
    let listed = config.allowed_headers.as_deref().unwrap_or_default();
    let (always, of_service): (_, &[StringMatcher]) = match &config.service {
        AuthorizationService::Grpc(_) => (config.allowed_headers.is_none(), &[]),
        AuthorizationService::Http(service) => (
            matches!(name, "authorization" | ":method" | ":path" | ":authority"),
            &service.allowed_headers,
        ),
    };
    let mut lists = listed.iter().chain(of_service);
    let is_allowed = always || lists.any(|matcher| matcher.matches(name));
    let mut disallowed = config.disallowed_headers.iter();
    is_allowed && !disallowed.any(|matcher| matcher.matches(name))
}

fn headers(config: &ExtAuthz, request: &dyn RequestHead, scheme: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in names(request) {
        if is_of_the_hop(&name)
            || matches!(&*name, "host" | PARTIAL_BODY)
            || !is_sent(config, &name)
        {
            continue;
        }
        let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        let mut lines = Vec::new();
        request.any_line(&name, &mut |line| {
            lines.push(line.into_owned());
            false
        });
        if !config.encode_raw_headers {
            lines = vec![lines.join(",")];
        }
        for line in lines {
            if let Ok(value) = HeaderValue::try_from(line) {
                headers.append(key.clone(), value);
            }
        }
    }
    if !headers.contains_key(FORWARDED_PROTO) && is_sent(config, FORWARDED_PROTO) {
        // It will be there when the request leaves.
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    headers
}

/// The names of a request's headers, each once, in order.
pub(super) fn names(request: &dyn RequestHead) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    request.any_name(&mut |name| {
        if !names.iter().any(|known| *known == name) {
            names.push(name.into_owned());
        }
        false
    });
    names
}

/// What the filter adds takes the place of what was there.
fn add(headers: &mut HeaderMap, additions: &[HeaderAddition], d: &Decoding<'_, '_>) {
    let render = rendered_for(d.stream.info, d.head);
    for addition in additions {
        let value = render(&addition.value, &Edits::default());
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(addition.name.as_bytes()),
            HeaderValue::try_from(value),
        ) {
            headers.insert(name, value);
        }
    }
}
