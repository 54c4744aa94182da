//! An HTTP/2 connection: many requests at a time, each a future in the connection's own task.
//!
//! One task for the connection and all its streams, rather than one each, because they wake one
//! another all the time: what many streams have to say is then framed and written at once, and a
//! turn costs one wake-up however many streams take part in it.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Request;
use tokio::time::Instant;

use super::{place::Places, premature_resets::PrematureResets};
use crate::{
    buffer::Buffer,
    config,
    exchange::{ConnectionManager, Downstream, Exchange, Http2Request, RequestMessage, Scratch},
    http::{
        codec::h2::{self, Counts, Flushed, RecvStream, SendResponse, Traffic, server},
        h2::{flood_limits, keepalive::KeepaliveTimer},
        timer::Timer,
    },
    info::{ConnectionInfo, Outcome},
    net::transport_socket::Connection,
};

/// The client's connection.
type Http2 = server::Connection<Connection>;

/// What the streams of a connection share. Nobody can hold any of it for longer than a line: what
/// changes is in cells, and what a request changes is its own.
struct Shared<'c> {
    manager: Rc<ConnectionManager>,
    context: &'c ConnectionInfo,
    requests: Cell<u64>,
    traffic: Cell<Traffic>,
    /// What became of the request that ended last.
    last: Cell<Outcome>,
    /// Streams open now.
    active: Cell<usize>,
    /// When the last stream ended.
    idle_since: Cell<Instant>,
    /// When the client was told to go elsewhere.
    left: Cell<Option<Instant>>,
    resets: PrematureResets,
}

/// A stream among those that are open, whatever ends it.
struct OpenStream<'s, 'c>(&'s Shared<'c>);

/// Serves a connection until it ends. `buffer` holds what the client has sent already.
pub(super) async fn serve(
    manager: Rc<ConnectionManager>,
    context: &mut ConnectionInfo,
    downstream: Connection,
    buffer: Buffer,
) {
    let shared = Shared::new(manager, context);
    shared.run(downstream, buffer).await;
    let Shared {
        requests,
        traffic,
        last,
        ..
    } = shared;
    let traffic = traffic.get();
    context.requests += requests.get();
    if requests.get() > 0 {
        context.http = "HTTP/2";
    }
    context.bytes_received += traffic.received;
    context.bytes_sent += traffic.sent;
    context.outcome = last.into_inner();
}

// === impl OpenStream ===

impl<'s, 'c> OpenStream<'s, 'c> {
    fn new(shared: &'s Shared<'c>) -> Self {
        shared.active.set(shared.active.get() + 1);
        shared.requests.set(shared.requests.get() + 1);
        Self(shared)
    }
}

impl Drop for OpenStream<'_, '_> {
    fn drop(&mut self) {
        let Self(shared) = self;
        shared.active.set(shared.active.get() - 1);
        if shared.active.get() == 0 {
            shared.idle_since.set(Instant::now());
        }
    }
}

// === impl Shared ===

impl<'c> Shared<'c> {
    fn new(manager: Rc<ConnectionManager>, context: &'c ConnectionInfo) -> Self {
        Self {
            manager,
            context,
            requests: Cell::new(0),
            traffic: Cell::default(),
            last: Cell::default(),
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            left: Cell::new(None),
            resets: PrematureResets::default(),
        }
    }

    async fn run(&self, downstream: Connection, buffer: Buffer) {
        let mut drained = pin!(self.context.drain.drained());
        let mut timer = Timer::default();
        let Some(mut http2) = self.handshake(downstream, &buffer, &mut timer).await else {
            return;
        };
        let (mut streams, mut places) = (FuturesUnordered::new(), Places::new());
        let keepalive = self.manager.config.http2.keepalive;
        let mut keepalive = keepalive.map(KeepaliveTimer::new).map(Box::new);
        let mut received = 0;
        let result = poll_fn(|cx| {
            if self.left.get().is_none() {
                // Once drained the future is not polled again.
                let draining = drained.as_mut().poll(cx).is_ready();
                if draining {
                    self.manager.stats.downstream_cx_drain_close.inc();
                }
                if draining || self.is_worn() || self.manager.ends_connections(self.context) {
                    self.leave(&mut http2);
                }
            }
            if let Some(keepalive) = &mut keepalive {
                let before = std::mem::replace(&mut received, self.traffic.get().received);
                if keepalive.poll(cx, &mut http2, received > before).is_ready() {
                    self.manager.context.http2_stats().keepalive_timeout.inc();
                    http2.lose();
                }
            }
            loop {
                let ended = loop {
                    match http2.poll_accept(cx) {
                        Poll::Ready(Some(Ok((request, respond)))) => {
                            streams.push(places.place(self.serve_stream(request, respond)));
                        }
                        Poll::Ready(Some(Err(error))) => break Some(Err(error)),
                        Poll::Ready(None) => break Some(Ok(())),
                        Poll::Pending => break None,
                    }
                };
                while let Poll::Ready(Some(place)) = streams.poll_next_unpin(cx) {
                    places.put_back(place);
                }
                // What streams have to say goes with this turn of the connection.
                let flushed = http2.flush(cx);
                self.count(&mut http2);
                if let Some(ended) = ended {
                    return Poll::Ready(ended);
                }
                if self.resets.are_too_many() {
                    http2.calm();
                    continue;
                }
                if flushed == Flushed::Quiet {
                    break;
                }
            }
            if streams.is_empty() {
                places.shrink();
            }
            self.poll_idle(cx, &mut timer, &mut http2)
        })
        .await;
        self.count_end(&http2, result);
        // What is still open has lost its client, and notices.
        poll_fn(|cx| {
            while let Poll::Ready(Some(_)) = streams.poll_next_unpin(cx) {}
            Poll::Ready(())
        })
        .await;
        drop(streams);
        poll_fn(|cx| Poll::Ready(http2.flush(cx))).await;
        self.count(&mut http2);
    }

    /// Answers a request.
    async fn serve_stream(&self, request: Request<RecvStream>, respond: SendResponse) {
        let _open = OpenStream::new(self);
        let (head, body) = request.into_parts();
        let (mut head, mut scratch) = (Some(head), Scratch::default());
        let request = Http2Request::new(&mut head, body);
        let mut exchange = Exchange::new(
            &self.manager,
            self.context,
            Downstream::Http2(respond),
            RequestMessage::Http2(request),
            &mut scratch,
        );
        exchange.run().await;
        if exchange.info.response_code == 0 {
            self.resets.note_reset(&self.manager, exchange.began);
        } else {
            self.resets.note_answered();
        }
        self.last.set(std::mem::take(&mut exchange.info));
    }

    async fn handshake(
        &self,
        downstream: Connection,
        buffer: &Buffer,
        timer: &mut Timer,
    ) -> Option<Http2> {
        let config = &self.manager.config;
        let mut http2 = Http2::new(
            downstream,
            buffer.filled(),
            codec_config(config, self.context),
        );
        let timeout = config.request_headers_timeout.or(config.idle_timeout);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let done = poll_fn(|cx| {
            let done = http2.poll_handshake(cx);
            http2.flush(cx);
            if let Poll::Ready(done) = done {
                return Poll::Ready(done.map_err(Some));
            }
            timer.poll(cx, deadline).map(|()| Err(None))
        });
        match done.await {
            Ok(()) => Some(http2),
            Err(None) => {
                self.manager.stats.downstream_cx_idle_timeout.inc();
                None
            }
            // What came behind the preface has been taken in as well.
            Err(Some(error)) => {
                self.count(&mut http2);
                self.count_end(&http2, Err(error));
                None
            }
        }
    }

    /// Why the connection ended, if that is the client's doing.
    fn count_end(&self, http2: &Http2, result: Result<(), h2::Error>) {
        let (stats, http2_stats) = (&self.manager.stats, self.manager.context.http2_stats());
        if self.resets.are_too_many() {
            stats.downstream_rq_too_many_premature_resets.inc();
        } else if let Some(flood) = http2.flood() {
            http2_stats.flood(flood).inc();
        } else if let Err(error) = result
            && !error.is_io()
            && !error.is_remote()
        {
            stats.downstream_cx_protocol_error.inc();
        }
    }

    /// Whether the connection has carried as many requests as it may.
    fn is_worn(&self) -> bool {
        let limit = self.manager.config.max_requests_per_connection;
        limit.is_some_and(|limit| self.requests.get() >= u64::from(limit))
    }

    fn count(&self, http2: &mut Http2) {
        let traffic = http2.take_traffic();
        let stats = &self.manager.stats;
        stats.downstream_cx_rx_bytes_total.add(traffic.received);
        stats.downstream_cx_tx_bytes_total.add(traffic.sent);
        let before = self.traffic.get();
        self.traffic.set(Traffic {
            received: before.received + traffic.received,
            sent: before.sent + traffic.sent,
        });
        let counts = http2.take_counts();
        if counts != Counts::default() {
            self.manager.context.http2_stats().add(&counts);
            let unseen = u64::from(counts.unseen);
            stats.downstream_rq_total.add(unseen);
            stats.downstream_rq_http2_total.add(unseen);
            stats.downstream_rq_rx_reset.add(unseen);
            for _ in 0..unseen {
                self.resets.note_reset(&self.manager, Instant::now());
            }
        }
    }

    /// Tells the client to go elsewhere; what is open goes on.
    fn leave(&self, http2: &mut Http2) {
        self.left.set(Some(Instant::now()));
        http2.graceful_shutdown();
    }

    /// Tells the client to go when nothing has happened for too long, or the connection is old.
    /// Ready when it has been told and does not go.
    fn poll_idle(
        &self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        http2: &mut Http2,
    ) -> Poll<Result<(), h2::Error>> {
        let config = &self.manager.config;
        let is_idle = self.active.get() == 0;
        if let Some(left) = self.left.get() {
            let since = left.max(self.idle_since.get());
            let deadline = is_idle.then(|| since + config.drain_timeout);
            return timer.poll(cx, deadline).map(Ok);
        }
        let idle = config.idle_timeout.filter(|_| is_idle);
        let idle = idle.map(|timeout| self.idle_since.get() + timeout);
        let age = config.max_connection_duration;
        let old = age.map(|age| Instant::from_std(self.context.start) + age);
        let deadline = [idle, old].into_iter().flatten().min();
        if timer.poll(cx, deadline).is_ready() {
            if deadline == idle {
                self.manager.stats.downstream_cx_idle_timeout.inc();
            }
            self.leave(http2);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// The connection's settings.
fn codec_config(config: &config::HttpConnectionManager, connection: &ConnectionInfo) -> h2::Config {
    h2::Config {
        initial_window_size: config.http2.initial_stream_window_size,
        initial_connection_window_size: config.http2.initial_connection_window_size,
        max_concurrent_streams: config.http2.max_concurrent_streams,
        max_header_list_size: config.max_request_headers_bytes,
        flood_limits: flood_limits(&config.http2),
        buffer_limit: connection.listener.buffer_limit,
        ..h2::Config::default()
    }
}
