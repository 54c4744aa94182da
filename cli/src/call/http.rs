//! HTTP/1.1, h2c and gRPC health checks.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Outcome, Target};

const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// An empty `HealthCheckRequest` in its frame.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// `HealthCheckResponse.status` of a server that serves, in its field.
const SERVING: &[u8] = &[0x08, 1];

/// `GET` over HTTP/1.1.
pub(super) async fn get<S>(
    stream: S,
    target: &Target,
    headers: &[String],
    outcome: &mut Outcome,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(&target.path).header("host", target.authority());
    let request = with_headers(request, headers)?.body(Full::new(Bytes::new()))?;
    read(
        sender.send_request(request).await.context("no answer")?,
        outcome,
    )
    .await
}

/// `GET` over HTTP/2 without TLS, with prior knowledge.
pub(super) async fn get_h2c<S>(
    stream: S,
    target: &Target,
    headers: &[String],
    outcome: &mut Outcome,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}{}", target.authority(), target.path));
    let request = with_headers(request.version(Version::HTTP_2), headers)?;
    let response = sender
        .send_request(request.body(Full::new(Bytes::new()))?)
        .await;
    read(response.context("no answer")?, outcome).await
}

fn with_headers(
    mut request: request::Builder,
    headers: &[String],
) -> anyhow::Result<request::Builder> {
    for header in headers {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("{header:?} is not `name: value`"))?;
        request = request.header(name.trim(), value.trim());
    }
    Ok(request)
}

async fn read(response: Response<Incoming>, outcome: &mut Outcome) -> anyhow::Result<()> {
    outcome.status = Some(response.status().as_u16());
    outcome.reason = reason(response.headers());
    let body = response
        .into_body()
        .collect()
        .await
        .context("the answer broke off")?
        .to_bytes();
    outcome.answer = serde_json::from_slice(&body).unwrap_or_else(|_| text(&body));
    Ok(())
}

/// The beginning of an answer that is not the echo application's.
fn text(body: &[u8]) -> Value {
    let shown: String = String::from_utf8_lossy(body).chars().take(200).collect();
    if shown.is_empty() {
        Value::Null
    } else {
        json!(shown)
    }
}

fn reason(headers: &HeaderMap) -> Option<String> {
    headers
        .get("x-weir-reason")?
        .to_str()
        .ok()
        .map(ToOwned::to_owned)
}

/// A gRPC health check; its status is gRPC's, 0 for OK.
pub(super) async fn check_health<S>(
    stream: S,
    target: &Target,
    outcome: &mut Outcome,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}{HEALTH_CHECK}", target.authority()))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(EMPTY_MESSAGE)))?;
    let response = sender.send_request(request).await.context("no answer")?;
    let (head, body) = response.into_parts();
    outcome.reason = reason(&head.headers);
    if head.status != http::StatusCode::OK {
        outcome.status = Some(head.status.as_u16());
        bail!("HTTP status {} instead of a gRPC answer", head.status);
    }
    let body = body.collect().await.context("the answer broke off")?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = |headers: &HeaderMap| {
        headers
            .get("grpc-status")
            .and_then(|value| value.to_str().ok()?.parse::<u16>().ok())
    };
    let status = status(&trailers)
        .or_else(|| status(&head.headers))
        .context("no grpc-status")?;
    outcome.status = Some(status);
    let header = |name| {
        head.headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    outcome.answer = json!({
        "pod": header("x-echo-pod"), "namespace": header("x-echo-namespace"), "protocol": "gRPC",
    });
    let message = body.to_bytes();
    if status == 0 && message.get(EMPTY_MESSAGE.len()..) != Some(SERVING) {
        bail!("the health check's answer is not SERVING: {message:?}");
    }
    Ok(())
}
