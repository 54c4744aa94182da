//! gRPC checks: `grpc.health.v1.Health/Check`.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;

use super::{
    client::{Ask, Client, Payload},
    http::{USER_AGENT, ready},
    probe::Context,
    session::{Failure, FailureKind, Verdict},
};
use crate::{
    cluster::health::CheckTarget,
    config::health_check::GrpcCheck,
    http::grpc::{PREFIX, framed, is_grpc, timeout_text},
};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// A response has a field of one byte; what is this long says something else.
const MAX_MESSAGE: usize = 16 * 1024;
/// `HealthCheckResponse.ServingStatus`
const SERVING: u64 = 1;

/// Asks once, on `kept` or on a new connection, which is then kept if the next check may use it.
pub(super) async fn check(
    check: &GrpcCheck,
    context: &Context,
    target: &CheckTarget,
    kept: &mut Option<Client>,
) -> Verdict {
    let network = Verdict::Failure(Failure::of(FailureKind::Network));
    let Some(mut client) = ready(kept.take(), context, target, true).await else {
        return network;
    };
    let ask = Ask {
        method: "POST",
        authority: context.authority(target, check.authority.as_deref()),
        path: PATH,
        is_http2: true,
        is_tls: context.sockets.is_tls(context.said(target)),
        headers: &[
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("grpc-timeout", &timeout_text(context.timeout())),
        ],
        changes: &check.initial_metadata,
        body: Payload::streamed(request(&check.service_name)),
    };
    let Some(request) = ask.request() else {
        return network;
    };
    let Ok(response) = client.send(request).await else {
        return network;
    };
    let serves = serves(response).await;
    if context.reuses_connection() {
        *kept = Some(client);
    }
    match serves {
        Some(true) => Verdict::Success { is_degraded: false },
        Some(false) => Verdict::Failure(Failure::of(FailureKind::Active)),
        None => network,
    }
}

/// A `HealthCheckRequest` behind its prefix.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    framed(&message)
}

fn put_varint(into: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        into.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.put_u8(number as u8);
}

/// Whether the response says that the service is served; none if the stream does not end well.
async fn serves(response: http::Response<hyper::body::Incoming>) -> Option<bool> {
    let (head, mut body) = response.into_parts();
    let content_type = head.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type.map(http::HeaderValue::as_bytes);
    let is_grpc = content_type.is_some_and(is_grpc);
    if head.status != http::StatusCode::OK || !is_grpc {
        return Some(false);
    }
    let (mut message, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) if message.len() + data.len() > MAX_MESSAGE => return Some(false),
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let is_ok = |headers: &HeaderMap| {
        let status = headers.get("grpc-status");
        status.is_some_and(|status| status.as_bytes() == b"0")
    };
    Some(trailers.as_ref().is_some_and(is_ok) && status_of(&message) == Some(SERVING))
}

/// The status of the one `HealthCheckResponse` that is all of `body`.
fn status_of(body: &[u8]) -> Option<u64> {
    let (prefix, mut message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_response_is_one_message_with_a_status() {
        for (body, status) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            // Fields that nobody knows.
            (&[0, 0, 0, 0, 7, 18, 1, 0, 24, 1, 8, 1], Some(1)),
            // Compressed, cut, two messages, no end, a group.
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 0], None),
            (&[0, 0, 0, 0, 2, 8, 0x81], None),
            (&[0, 0, 0, 0, 2, 11, 1], None),
            (&[0, 0, 0], None),
        ] {
            assert_eq!(status_of(body), status, "{body:?}");
        }
    }

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(request(""), Bytes::from_static(&[0, 0, 0, 0, 0]));
        assert_eq!(
            request("a.B"),
            Bytes::from_static(b"\0\0\0\0\x05\x0a\x03a.B")
        );
        let long = request(&"s".repeat(300));
        assert_eq!(&long[..8], b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    proptest! {
        #[test]
        fn no_answer_makes_reading_panic(body: Vec<u8>) {
            let _ = status_of(&body);
        }
    }
}
