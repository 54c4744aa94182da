//! gRPC health checks (`grpc.health.v1.Health/Check`): a message of one field, written by hand.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::http::Body;

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// `HealthCheckResponse { status: SERVING }` in its frame: not compressed, two bytes long.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 0x08, 1];

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    kind.starts_with(b"application/grpc")
}

pub(super) async fn answer(path: &str, body: Incoming) -> Response<Body> {
    // A client is answered after it has said all.
    let _ = body.collect().await;
    let (message, status) = if path == CHECK {
        (Bytes::from_static(&SERVING), "0")
    } else {
        // UNIMPLEMENTED.
        (Bytes::new(), "12")
    };
    let trailers = HeaderMap::from_iter([(
        header::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static(status),
    )]);
    let body = Full::new(message).with_trailers(async move { Some(Ok::<_, Infallible>(trailers)) });
    let mut response = Response::new(body.boxed());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
