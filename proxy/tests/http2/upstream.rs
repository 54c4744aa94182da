//! Endpoints on loopback.

use std::{convert::Infallible, future::Future, net::SocketAddr};

use bytes::Bytes;
use futures_util::future;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

/// Accepts connections and serves each by `serve`.
pub(crate) async fn accept<F: Future<Output = ()> + 'static>(
    serve: impl Fn(TcpStream) -> F + 'static,
) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = socket.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::task::spawn_local(serve(stream));
        }
    });
    address
}

/// Speaks HTTP/1 and HTTP/2, and says what came: the request's body, its method and path as
/// `x-got`, its headers each as `x-got-<name>`; the trailers come back as trailers.
pub(crate) async fn echo() -> SocketAddr {
    accept(|stream| async move {
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let served = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
        let _ = served.await;
    })
    .await
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(());
    let headers = response.headers_mut();
    let got = format!("{} {} {:?}", head.method, head.uri, head.version);
    headers.insert("x-got", got.parse().expect("a value"));
    for (name, value) in &head.headers {
        let name = format!("x-got-{name}").parse::<http::HeaderName>();
        headers.append(name.expect("a name"), value.clone());
    }
    if let Some(status) = head.headers.get("x-status") {
        let status = StatusCode::from_bytes(status.as_bytes());
        *response.status_mut() = status.expect("a status");
    }
    let body = match body.collect().await {
        Ok(whole) => {
            let trailers = whole.trailers().cloned();
            let bytes = Full::new(whole.to_bytes());
            match trailers {
                Some(trailers) => bytes
                    .with_trailers(future::ready(Some(Ok(trailers))))
                    .boxed(),
                None => bytes.boxed(),
            }
        }
        Err(_) => Full::default().boxed(),
    };
    Ok(response.map(|()| body))
}

/// Speaks HTTP/2 and serves each stream by `serve`.
pub(crate) async fn http2<F: Future<Output = ()> + 'static>(
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + 'static,
) -> SocketAddr {
    accept(move |stream| {
        let serve = serve.clone();
        async move {
            let Ok(mut http2) = h2::server::handshake(stream).await else {
                return;
            };
            while let Some(Ok((request, respond))) = http2.accept().await {
                tokio::task::spawn_local(serve(request, respond));
            }
        }
    })
    .await
}

/// Reads a body to its end.
pub(crate) async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, body.trailers().await?))
}
