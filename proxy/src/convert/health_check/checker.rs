//! What a health check asks of a host.

use std::ops::Range;

use weir_api::xds::envoy::{
    config::core::v3::{HeaderValueOption, RequestMethod, health_check as pb},
    r#type::v3::{CodecClientType, Int64Range},
};

use super::super::{
    at::{At, take},
    header::addition,
    matcher::string_matcher,
    value::{enumeration, header_name, header_value},
};
use crate::config::{
    format::Part,
    header::{HeaderAddition, HeaderChanges},
    health_check::{Checker, GrpcCheck, HttpCheck, TcpCheck},
};

/// Envoy's default of `response_buffer_size`.
const RESPONSE_BUFFER_SIZE: u64 = 1024;
/// Envoy takes at most this many additions.
const MAX_ADDITIONS: usize = 1000;

pub(super) fn checker(at: &At<'_>, message: pb::HealthChecker) -> Option<Checker> {
    match message {
        pb::HealthChecker::HttpHealthCheck(message) => {
            let check = http(&at.field("http_health_check"), message)?;
            Some(Checker::Http(Box::new(check)))
        }
        pb::HealthChecker::TcpHealthCheck(message) => {
            Some(Checker::Tcp(tcp(&at.field("tcp_health_check"), message)))
        }
        pb::HealthChecker::GrpcHealthCheck(message) => {
            Some(Checker::Grpc(grpc(&at.field("grpc_health_check"), message)))
        }
        pb::HealthChecker::CustomHealthCheck(custom) => {
            at.field("custom_health_check")
                .unsupported(format!("{:?}", custom.name));
            None
        }
    }
}

fn http(at: &At<'_>, message: pb::HttpHealthCheck) -> Option<HttpCheck> {
    take!(at, message => pb::HttpHealthCheck {
        supported: host, path, send, receive, response_buffer_size, request_headers_to_add,
            request_headers_to_remove, expected_statuses, retriable_statuses, codec_client_type,
            service_name_matcher, method;
    });
    let at_path = at.field("path");
    if path.is_empty() {
        at_path.error("must not be empty");
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        at_path.error(format!("{path:?}: not a path"));
    }
    let method = method_of(&at.field("method"), method);
    let send = send.map(|message| payload(&at.field("send"), message));
    if send.is_some() && method.is_some_and(|method| !has_body(method)) {
        let method = method.unwrap_or_default();
        at.field("send")
            .error(format!("a request with method {method} has no body"));
    }
    let receive = payloads(&at.field("receive"), receive);
    let size = response_buffer_size.map_or(RESPONSE_BUFFER_SIZE, |size| size.value);
    let expected: usize = receive.iter().map(Vec::len).sum();
    if size != 0 && expected as u64 > size {
        at.field("receive").error(format!(
            "{expected} bytes: must not be above response_buffer_size, {size}"
        ));
    }
    let headers = HeaderChanges {
        remove: removals(
            &at.field("request_headers_to_remove"),
            &request_headers_to_remove,
        ),
        add: additions(&at.field("request_headers_to_add"), request_headers_to_add),
    };
    let mut expected_statuses = statuses(&at.field("expected_statuses"), &expected_statuses);
    if expected_statuses.is_empty() {
        expected_statuses.push(200..201);
    }
    let codec = enumeration(&at.field("codec_client_type"), codec_client_type);
    if codec == Some(CodecClientType::Http3) {
        at.field("codec_client_type").unsupported("HTTP3");
    }
    let service_name = service_name_matcher
        .map(|message| string_matcher(&at.field("service_name_matcher"), message));
    Some(HttpCheck {
        host: (!host.is_empty()).then(|| header_value(&at.field("host"), host)),
        path,
        method: method?,
        send: send.unwrap_or_default(),
        receive,
        response_buffer_size: Some(size).filter(|size| *size > 0),
        headers,
        expected_statuses,
        retriable_statuses: statuses(&at.field("retriable_statuses"), &retriable_statuses),
        is_http2: codec? == CodecClientType::Http2,
        service_name: match service_name {
            Some(None) => return None,
            Some(matcher) => matcher,
            None => None,
        },
    })
}

fn tcp(at: &At<'_>, message: pb::TcpHealthCheck) -> TcpCheck {
    take!(at, message => pb::TcpHealthCheck {
        supported: send, receive;
        refused: proxy_protocol_config;
    });
    let send = send.map(|message| payload(&at.field("send"), message));
    TcpCheck {
        send: send.unwrap_or_default(),
        receive: payloads(&at.field("receive"), receive),
    }
}

fn grpc(at: &At<'_>, message: pb::GrpcHealthCheck) -> GrpcCheck {
    take!(at, message => pb::GrpcHealthCheck {
        supported: service_name, authority, initial_metadata;
    });
    GrpcCheck {
        service_name,
        authority: (!authority.is_empty()).then(|| header_value(&at.field("authority"), authority)),
        initial_metadata: HeaderChanges {
            remove: Vec::new(),
            add: additions(&at.field("initial_metadata"), initial_metadata),
        },
    }
}

fn method_of(at: &At<'_>, method: i32) -> Option<&'static str> {
    let name = match enumeration(at, method)? {
        RequestMethod::MethodUnspecified | RequestMethod::Get => "GET",
        RequestMethod::Connect => {
            at.error("CONNECT: must be another");
            return None;
        }
        method => method.as_str_name(),
    };
    Some(name)
}

fn has_body(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "DELETE" | "TRACE")
}

fn payloads(at: &At<'_>, messages: Vec<pb::Payload>) -> Vec<Vec<u8>> {
    let messages = messages.into_iter().enumerate();
    let payloads = messages.map(|(index, message)| payload(&at.index(index), message));
    payloads.collect()
}

/// Text is in hexadecimal.
fn payload(at: &At<'_>, message: pb::Payload) -> Vec<u8> {
    take!(at, message => pb::Payload { supported: payload; });
    match at.field("payload").required(payload) {
        None => Vec::new(),
        Some(pb::payload::Payload::Binary(bytes)) => bytes,
        Some(pb::payload::Payload::Text(text)) => {
            let at = at.field("text");
            let bytes = hexadecimal(text.as_bytes());
            match bytes {
                Some(bytes) if !bytes.is_empty() => bytes,
                _ => {
                    at.error(format!("{text:?}: must be bytes in hexadecimal"));
                    Vec::new()
                }
            }
        }
    }
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match *pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// Ranges of statuses, without their end.
fn statuses(at: &At<'_>, ranges: &[Int64Range]) -> Vec<Range<u16>> {
    let ranges = ranges.iter().enumerate();
    let range = |(index, range): (usize, &Int64Range)| {
        let Int64Range { start, end } = *range;
        let is_sound = (100..end).contains(&start) && end <= 600;
        if !is_sound {
            let at = at.index(index);
            at.error(format!(
                "{start} to {end}: must be from 100 to 600, and not empty"
            ));
        }
        let bound = |number: i64| u16::try_from(number).unwrap_or(0);
        bound(start)..bound(end)
    };
    ranges.map(range).collect()
}

fn removals(at: &At<'_>, names: &[String]) -> Vec<String> {
    let checked = |(index, name): (usize, &String)| {
        let at = at.index(index);
        let name = header_name(&at, name);
        if name.starts_with(':') || name == "host" {
            at.error(format!(
                "{name:?}: pseudo headers and host may not be removed"
            ));
        }
        name
    };
    names.iter().enumerate().map(checked).collect()
}

/// There is no client and no request that a value could be about, so that it stands as it is.
fn additions(at: &At<'_>, messages: Vec<HeaderValueOption>) -> Vec<HeaderAddition> {
    if messages.len() > MAX_ADDITIONS {
        let count = messages.len();
        at.error(format!("{count} headers: must be at most {MAX_ADDITIONS}"));
    }
    let messages = messages.into_iter().enumerate();
    let converted = messages.filter_map(|(index, message)| {
        let at = at.index(index);
        let added = addition(&at, message)?;
        let is_literal = |part: &Part| matches!(part, Part::Literal(_));
        if !added.value.parts.iter().all(is_literal) {
            at.field("header")
                .field("value")
                .unsupported("a command, as a check is no client's request");
        }
        Some(added)
    });
    converted.collect()
}
