//! An HTTP/2 client with prior knowledge.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{SendStream, client::SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::upstream::read;

/// What came back.
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// A connection to the proxy.
pub(crate) struct Client(pub(crate) SendRequest<Bytes>);

// === impl Client ===

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the proxy listens");
        let (sender, connection) = h2::client::handshake(stream).await.expect("preface");
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Self(sender)
    }

    /// Sends a request with a body and trailers, and reads the response.
    pub(crate) async fn send(
        &mut self,
        request: Request<()>,
        body: Bytes,
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, h2::Error> {
        let mut sender = self.0.clone().ready().await?;
        let end = body.is_empty() && trailers.is_none();
        let (response, mut stream) = sender.send_request(request, end)?;
        if !end {
            tokio::task::spawn_local(async move {
                let sent = give(&mut stream, body, trailers.is_none()).await;
                if let (true, Some(trailers)) = (sent, trailers) {
                    let _ = stream.send_trailers(trailers);
                }
            });
        }
        let (head, body) = response.await?.into_parts();
        let (body, trailers) = read(body).await?;
        let head = Response::from_parts(head, ());
        Ok(Answer {
            head,
            body,
            trailers,
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Answer, h2::Error> {
        self.send(get(path), Bytes::new(), None).await
    }
}

/// Sends `data` as the flow control allows. False if the peer takes no more.
pub(crate) async fn give(stream: &mut SendStream<Bytes>, mut data: Bytes, end: bool) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else {
            return false;
        };
        let part = data.split_to(room.min(data.len()));
        if stream.send_data(part, end && data.is_empty()).is_err() {
            return false;
        }
    }
    true
}

pub(crate) fn get(path: &str) -> Request<()> {
    request("GET", path)
}

pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://example.test{path}");
    let request = Request::builder().method(method).uri(uri);
    request.body(()).expect("a request")
}

// === impl Answer ===

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.head.headers().get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

/// Sends an HTTP/1 request and reads the answer until the proxy closes.
pub(crate) async fn http1(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the proxy listens");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}
