//! HTTP/1.1 and HTTP/2: answers with what came in, and as the request asks.

use std::{collections::BTreeMap, convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    grpc,
    identity::{Connection, Identity},
};

/// The longest delay a request may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// How much of a request's body is counted; what is beyond is not read.
const BODY_LIMIT: usize = 16 << 20;

pub(super) type Body = BoxBody<Bytes, Infallible>;

/// How a request wants to be answered.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    status: StatusCode,
    delay: Duration,
}

/// Serves one connection.
pub(super) async fn serve<S>(
    stream: S,
    connection: Connection,
    identity: &Arc<Identity>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, identity) = (Arc::new(connection), Arc::clone(identity));
    let service =
        service_fn(move |request| answer(request, Arc::clone(&connection), Arc::clone(&identity)));
    Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(
    request: Request<Incoming>,
    connection: Arc<Connection>,
    identity: Arc<Identity>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = if grpc::is_grpc(&head.headers) {
        grpc::answer(head.uri.path(), body).await
    } else {
        let wish = Wish::of(&head.uri, &head.headers);
        tokio::time::sleep(wish.delay).await;
        let protocol = match head.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let mut value = identity.describe(&connection, protocol);
        value["method"] = json!(head.method.as_str());
        value["path"] = json!(head.uri.path_and_query().map(ToString::to_string));
        value["host"] = host(&head.uri, &head.headers);
        value["headers"] = headers(&head.headers);
        value["body_bytes"] = json!(count(body).await);
        let mut response = Response::new(Full::new(Bytes::from(format!("{value:#}\n"))).boxed());
        *response.status_mut() = wish.status;
        let kind = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    for (name, value) in [
        ("x-echo-pod", &identity.pod),
        ("x-echo-namespace", &identity.namespace),
    ] {
        if let Ok(value) = header::HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn host(uri: &Uri, headers: &HeaderMap) -> Value {
    let header = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    json!(uri.authority().map(http::uri::Authority::as_str).or(header))
}

fn headers(headers: &HeaderMap) -> Value {
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(name.as_str()).or_default().push(value);
    }
    let joined = all
        .into_iter()
        .map(|(name, values)| (name.to_owned(), json!(values.join(", "))));
    Value::Object(joined.collect())
}

async fn count(mut body: Incoming) -> usize {
    let mut total = 0;
    while let Some(Ok(frame)) = body.frame().await {
        total += frame.data_ref().map_or(0, Bytes::len);
        if total > BODY_LIMIT {
            break;
        }
    }
    total
}

// === impl Wish ===

impl Wish {
    /// From the query (`status`, `delay`), else from headers (`x-echo-status`, `x-echo-delay`).
    fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let query = uri.query().unwrap_or_default();
        let asked = |name: &str| {
            let in_query = query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            in_query.or_else(|| headers.get(format!("x-echo-{name}"))?.to_str().ok())
        };
        let status = asked("status").and_then(|text| text.parse::<u16>().ok());
        // Informational answers are not answers.
        let status = status
            .filter(|status| *status >= 200)
            .and_then(|status| StatusCode::from_u16(status).ok());
        let delay = asked("delay").and_then(duration).unwrap_or_default();
        Self {
            status: status.unwrap_or(StatusCode::OK),
            delay: delay.min(LONGEST_DELAY),
        }
    }
}

/// `50ms`, `2s`, or a number of milliseconds.
fn duration(text: &str) -> Option<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return number.parse().ok().map(Duration::from_millis);
    }
    if let Some(number) = text.strip_suffix('s') {
        return number.parse().ok().map(Duration::from_secs);
    }
    text.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_it_wants_to_be_answered() {
        let wish = |uri: &str, header: Option<(&'static str, &str)>| {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().expect("value"));
            }
            Wish::of(&uri.parse().expect("uri"), &headers)
        };
        let expected = |status, millis| Wish {
            status: StatusCode::from_u16(status).expect("status"),
            delay: Duration::from_millis(millis),
        };
        assert_eq!(wish("/a?status=503&delay=50ms", None), expected(503, 50));
        assert_eq!(wish("/", Some(("x-echo-status", "404"))), expected(404, 0));
        assert_eq!(wish("/?delay=2s", None), expected(200, 2000));
        for odd in [
            "/?status=abc",
            "/?status=100",
            "/?status=99999",
            "/?delay=-1s",
        ] {
            assert_eq!(wish(odd, None), expected(200, 0), "{odd}");
        }
        assert_eq!(wish("/?delay=99999s", None).delay, LONGEST_DELAY);
    }
}
