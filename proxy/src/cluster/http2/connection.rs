//! A connection whose streams are shared out, and the task that drives it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::Request;
use tokio::time::Instant;

use super::Sent;
use crate::{
    buffer::Buffer,
    cluster::{Cluster, Host, Upstream},
    config,
    http::h2::io::{Flushed, Io, Socket},
    reason::Reason,
};

/// What the peer seems to allow before its SETTINGS have come: a number that nobody would choose.
const UNKNOWN: usize = 0x7fff_fffd;

/// A connection that takes requests.
pub(super) struct Http2Connection {
    host: Rc<Host>,
    cluster: Rc<Cluster>,
    /// Never sends: a handle that has is asked on behalf of what it sent last, and whoever asks takes
    /// the place of the one who waits for that. Its clones send.
    sender: RefCell<SendRequest<Bytes>>,
    /// Requests in flight.
    active: Cell<usize>,
    /// Requests that are over here and may not be over for the peer: what ends them leaves with
    /// the next turn of the connection.
    leaving: Cell<usize>,
    /// Requests it has carried.
    requests: Cell<u32>,
    /// Requests it takes before its peer's SETTINGS have come.
    before_settings: usize,
    /// When the last request ended.
    idle_since: Cell<Instant>,
    driver: RefCell<Option<Waker>>,
}

/// A place for one request on a connection.
pub(crate) struct Http2Lease(Rc<Http2Connection>);

/// A connection and what drives it.
pub(super) struct Driver {
    connection: Connection<Io, Bytes>,
    io: Io,
    cluster: Rc<Cluster>,
    /// The connection ends when nobody else has it.
    shared: Weak<Http2Connection>,
}

// === impl Http2Connection ===

impl Http2Connection {
    /// Speaks HTTP/2 on a connection that was dialled.
    pub(super) async fn new(
        upstream: Upstream,
        before_settings: usize,
    ) -> Result<(Rc<Self>, Driver), Reason> {
        let (host, cluster) = (Rc::clone(&upstream.host), Rc::clone(&upstream.cluster));
        let io = Io::new(Socket::Upstream(Box::new(upstream)), Buffer::default());
        let options = cluster.config.http2;
        let handshake = h2::client::Builder::new()
            .initial_window_size(options.initial_stream_window_size)
            .initial_connection_window_size(options.initial_connection_window_size)
            .initial_max_send_streams(UNKNOWN)
            .enable_push(false)
            .handshake(io.clone());
        let (sender, connection) = handshake.await.map_err(|_| Reason::UpstreamClosed)?;
        let shared = Rc::new(Self {
            host,
            cluster: Rc::clone(&cluster),
            sender: RefCell::new(sender),
            active: Cell::new(0),
            leaving: Cell::new(0),
            requests: Cell::new(0),
            before_settings,
            idle_since: Cell::new(Instant::now()),
            driver: RefCell::default(),
        });
        let driver = Driver {
            connection,
            io,
            cluster,
            shared: Rc::downgrade(&shared),
        };
        Ok((shared, driver))
    }

    /// Whether the peer takes another stream at once.
    pub(super) fn has_room(&self) -> bool {
        let most = self.limit().unwrap_or(self.before_settings);
        self.active.get() + self.leaving.get() < most
    }

    /// Streams at a time that peer and configuration allow; none before the peer has said.
    pub(super) fn limit(&self) -> Option<usize> {
        let of_peer = self.sender.borrow().current_max_send_streams();
        let configured = self.cluster.config.http2.max_concurrent_streams;
        (of_peer != UNKNOWN).then_some(of_peer.min(configured as usize))
    }

    /// Whether it has carried as many requests as it may.
    pub(super) fn is_worn(&self, config: &config::Cluster) -> bool {
        let limit = config.max_requests_per_connection;
        limit.is_some_and(|limit| self.requests.get() >= limit)
    }

    /// Whether it has carried none.
    pub(super) fn is_unused(&self) -> bool {
        self.requests.get() == 0
    }

    /// Whether it has ended, or its peer said that it will.
    pub(super) fn is_closed(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = self.sender.borrow_mut().poll_ready(&mut cx);
        matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether it has had no request for so long.
    pub(super) fn is_idle_for(&self, limit: Duration, now: Instant) -> bool {
        let idle = self.active.get() == 0;
        let expired = idle && now.duration_since(self.idle_since.get()) >= limit;
        if expired {
            self.cluster.stats.upstream_cx_idle_timeout.inc();
        }
        expired
    }

    /// Somebody waits for what is about to leave.
    pub(super) fn hurry(&self) {
        if self.leaving.get() > 0
            && let Some(driver) = self.driver.borrow().as_ref()
        {
            driver.wake_by_ref();
        }
    }

    fn note_driver(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }
}

// === impl Http2Lease ===

impl Http2Lease {
    pub(super) fn new(connection: &Rc<Http2Connection>) -> Self {
        connection.active.set(connection.active.get() + 1);
        connection.requests.set(connection.requests.get() + 1);
        Self(Rc::clone(connection))
    }

    /// Sends a request's head. `end`: it has no body.
    pub(crate) fn send(&self, request: Request<()>, end: bool) -> Result<Sent, h2::Error> {
        let mut sender = self.0.sender.borrow().clone();
        sender.send_request(request, end)
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        let connection = &self.0;
        let active = connection.active.get() - 1;
        connection.active.set(active);
        connection.leaving.set(connection.leaving.get() + 1);
        if active == 0 {
            connection.idle_since.set(Instant::now());
        }
        if !connection.host.http2().queue.is_empty() {
            connection.hurry();
        }
    }
}

// === impl Driver ===

impl Driver {
    /// Drives the connection until it ends. `turn` is called after each of its turns.
    pub(super) async fn run(mut self, turn: impl Fn()) {
        poll_fn(|cx| self.poll(cx, &turn)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, turn: &impl Fn()) -> Poll<()> {
        let stats = &self.cluster.stats;
        loop {
            // What is over before the turn begins leaves with it.
            let shared = self.shared.upgrade();
            let leaving = shared.as_ref().map_or(0, |shared| shared.leaving.get());
            drop(shared);
            let ended = pin!(&mut self.connection).poll(cx);
            let flushed = self.io.flush(cx);
            let traffic = self.io.take_traffic();
            stats.upstream_cx_rx_bytes_total.add(traffic.received);
            stats.upstream_cx_tx_bytes_total.add(traffic.sent);
            if let Poll::Ready(ended) = ended {
                if let Err(error) = ended
                    && !error.is_io()
                    && !error.is_remote()
                {
                    stats.upstream_cx_protocol_error.inc();
                }
                return Poll::Ready(());
            }
            if let Some(shared) = self.shared.upgrade() {
                shared.leaving.set(shared.leaving.get() - leaving);
                shared.note_driver(cx.waker());
            }
            turn();
            if flushed == Flushed::Quiet {
                return Poll::Pending;
            }
        }
    }
}
