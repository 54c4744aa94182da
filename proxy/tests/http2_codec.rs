//! Our codec of HTTP/2 and the `h2` crate, each on one end of a connection in memory: whatever is
//! sent arrives, through pipes, windows and frames of any size.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    future::{join, join_all},
    stream::FuturesUnordered,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use proptest::prelude::*;
use tokio::io::{AsyncWrite, DuplexStream};
use weir_proxy::http::codec::h2::{
    Config, Error, RecvStream, SendResponse, SendStream, Socket, client, server,
};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a pipe.
struct Pipe(DuplexStream);

/// A message: the sizes of the parts of its body, and whether trailers follow.
#[derive(Debug, Clone)]
struct Message {
    parts: Vec<usize>,
    trailers: bool,
}

/// What both sides have.
#[derive(Debug, Clone)]
struct Sizes {
    pipe: usize,
    stream_window: u32,
    connection_window: u32,
}

impl Socket for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        tokio_util::io::poll_read_buf(Pin::new(&mut self.0), cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
}

impl Message {
    fn body(&self) -> Vec<u8> {
        let length = self.parts.iter().sum();
        (0..length).map(|at: usize| (at % 251) as u8).collect()
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let name = http::HeaderName::from_static("x-parts");
        let value = HeaderValue::from(self.parts.len());
        self.trailers.then(|| HeaderMap::from_iter([(name, value)]))
    }
}

impl Sizes {
    fn config(&self) -> Config {
        Config {
            initial_window_size: self.stream_window,
            initial_connection_window_size: self.connection_window,
            ..Config::default()
        }
    }
}

// === our side ===

/// Reads a message to its end.
async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), Error> {
    let mut bytes = Vec::new();
    while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
        let data = data?;
        body.release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    let trailers = poll_fn(|cx| body.poll_trailers(cx)).await?;
    Ok((bytes, trailers))
}

/// Sends a message, as the windows allow.
async fn give(mut to: SendStream, message: &Message) -> Result<(), Error> {
    let mut body = Bytes::from(message.body());
    for (at, part) in message.parts.iter().enumerate() {
        let mut part = body.split_to(*part);
        while !part.is_empty() {
            to.reserve_capacity(part.len());
            let room = poll_fn(|cx| to.poll_capacity(cx)).await.expect("open")?;
            to.send_data(part.split_to(room.min(part.len())), false)?;
        }
        if at + 1 == message.parts.len() && !message.trailers {
            return to.send_data(Bytes::new(), true);
        }
    }
    match message.trailers() {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Bytes::new(), true),
    }
}

/// Sends back what comes, once all of it has.
async fn echo(request: Request<RecvStream>, mut respond: SendResponse) {
    let Ok((bytes, trailers)) = read(request.into_body()).await else {
        return;
    };
    let message = Message {
        parts: vec![bytes.len()],
        trailers: trailers.is_some(),
    };
    let to = respond
        .send_response(Response::new(()), false)
        .expect("open");
    let sent = give(to, &message).await;
    assert!(sent.is_ok() || sent.is_err_and(|error| error.is_remote()));
}

async fn serve(pipe: DuplexStream, config: Config) {
    let mut http2 = server::Connection::new(Pipe(pipe), &[], config);
    let mut streams = FuturesUnordered::new();
    poll_fn(|cx| {
        loop {
            match http2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => streams.push(echo(request, respond)),
                Poll::Ready(Some(Err(error))) => {
                    assert!(error.is_io(), "{error}");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
        while http2.flush(cx) == weir_proxy::http::codec::h2::Flushed::PollAgain {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}

// === the other side ===

async fn their_read(mut body: h2::RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, body.trailers().await?))
}

async fn their_give(mut to: h2::SendStream<Bytes>, message: &Message) -> Result<(), h2::Error> {
    let mut body = Bytes::from(message.body());
    for part in &message.parts {
        let mut part = body.split_to(*part);
        while !part.is_empty() {
            to.reserve_capacity(part.len());
            let room = poll_fn(|cx| to.poll_capacity(cx)).await.expect("open")?;
            to.send_data(part.split_to(room.min(part.len())), false)?;
        }
    }
    match message.trailers() {
        Some(trailers) => to.send_trailers(trailers),
        None => to.send_data(Bytes::new(), true),
    }
}

async fn their_server(pipe: DuplexStream, sizes: Sizes) {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(sizes.stream_window)
        .initial_connection_window_size(sizes.connection_window);
    let mut http2 = builder.handshake(pipe).await.expect("preface");
    let mut streams = FuturesUnordered::new();
    poll_fn(|cx| {
        while let Poll::Ready(Some(accepted)) = http2.poll_accept(cx) {
            let (request, mut respond) = accepted.expect("a request");
            streams.push(async move {
                let (bytes, trailers) = their_read(request.into_body()).await.expect("a body");
                let to = respond
                    .send_response(Response::new(()), false)
                    .expect("open");
                let message = Message {
                    parts: vec![bytes.len()],
                    trailers: trailers.is_some(),
                };
                their_give(to, &message).await.expect("taken");
            });
        }
        while let Poll::Ready(Some(())) = streams.poll_next_unpin(cx) {}
        http2.poll_closed(cx).map(drop)
    })
    .await;
}

fn post() -> Request<()> {
    let request = Request::post("http://h/path").header("x-always", "the same");
    request.body(()).expect("a request")
}

/// Our client's messages to their server.
async fn ours_to_theirs(messages: &[Message], sizes: &Sizes) {
    let (near, far) = tokio::io::duplex(sizes.pipe);
    let theirs = their_server(far, sizes.clone());
    let (mut sender, mut connection) = client::handshake(Pipe(near), sizes.config());
    let ours = poll_fn(move |cx| connection.poll(cx));
    let exchange = async {
        let exchanges = messages.iter().map(|message| {
            let (response, to) = sender.send_request(post(), false).expect("room");
            async move {
                let (sent, response) = join(give(to, message), response).await;
                sent.expect("taken");
                let echoed = read(response.expect("a response").into_body()).await;
                let (bytes, trailers) = echoed.expect("a body");
                assert_eq!(bytes, message.body());
                assert_eq!(trailers.is_some(), message.trailers);
            }
        });
        join_all(exchanges.collect::<Vec<_>>()).await;
    };
    until(exchange, theirs, ours).await;
}

/// Their client's messages to our server.
async fn theirs_to_ours(messages: &[Message], sizes: &Sizes) {
    let (near, far) = tokio::io::duplex(sizes.pipe);
    let ours = serve(far, sizes.config());
    let (ready, handshake) = tokio::sync::oneshot::channel();
    let theirs = async {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(sizes.stream_window)
            .initial_connection_window_size(sizes.connection_window);
        let (sender, connection) = builder.handshake(near).await.expect("preface");
        assert!(ready.send(sender).is_ok());
        connection.await
    };
    let exchange = async {
        let sender: h2::client::SendRequest<Bytes> = handshake.await.expect("preface");
        let exchanges = messages.iter().map(|message| {
            let sender = sender.clone();
            async move {
                let mut sender = sender.ready().await.expect("room");
                let (response, to) = sender.send_request(post(), false).expect("room");
                let (sent, response) = join(their_give(to, message), response).await;
                sent.expect("taken");
                let echoed = their_read(response.expect("a response").into_body()).await;
                let (bytes, trailers) = echoed.expect("a body");
                assert_eq!(bytes, message.body());
                assert_eq!(trailers.is_some(), message.trailers);
            }
        });
        join_all(exchanges).await;
    };
    until(exchange, theirs, ours).await;
}

/// Drives both connections until the exchange is over.
async fn until<A, B>(
    exchange: impl Future<Output = ()>,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) {
    let (mut exchange, mut one, mut other) = (pin!(exchange), pin!(one), pin!(other));
    let (mut one_ended, mut other_ended) = (false, false);
    let over = poll_fn(|cx| {
        one_ended = one_ended || one.as_mut().poll(cx).is_ready();
        other_ended = other_ended || other.as_mut().poll(cx).is_ready();
        exchange.as_mut().poll(cx)
    });
    let over = tokio::time::timeout(PATIENCE, over).await;
    over.expect("nothing waits for ever");
}

fn message() -> impl Strategy<Value = Message> {
    let part = prop_oneof![0_usize..20, 1000_usize..40_000];
    (proptest::collection::vec(part, 0..4), any::<bool>())
        .prop_map(|(parts, trailers)| Message { parts, trailers })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let window = || prop_oneof![1_u32..200, 10_000_u32..200_000];
    (
        prop_oneof![20_usize..300, 10_000_usize..100_000],
        window(),
        65_535_u32..200_000,
    )
        .prop_map(|(pipe, stream_window, connection_window)| Sizes {
            pipe,
            stream_window: if pipe < 300 {
                stream_window.max(1000)
            } else {
                stream_window.max(50)
            },
            connection_window,
        })
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn their_server_reads_what_we_send(
        messages in proptest::collection::vec(message(), 1..12), sizes in sizes(),
    ) {
        run(ours_to_theirs(&messages, &sizes));
    }

    #[test]
    fn our_server_reads_what_they_send(
        messages in proptest::collection::vec(message(), 1..12), sizes in sizes(),
    ) {
        run(theirs_to_ours(&messages, &sizes));
    }
}
