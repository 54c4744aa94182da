//! Pools of HTTP/2 connections: the requests of all clients of a worker share them. A host has
//! one, until as many streams are open as its peer allows; then another.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use http::Request;
use tokio::{sync::Notify, time::Instant};

use super::{Cluster, ClusterStats, Clusters, Host, Upstream};
use crate::{
    buffer::Buffer,
    config,
    http::h2::io::{Flushed, Io, Socket},
    reason::Reason,
};

/// Streams opened on a connection whose SETTINGS have not arrived, at most: what RFC 9113 section
/// 6.5.2 recommends peers to allow at least.
const BEFORE_SETTINGS: usize = 100;

/// The HTTP/2 connections of a host.
pub(crate) struct Http2Pool {
    connections: RefCell<Vec<Rc<Http2Connection>>>,
    dials: RefCell<Vec<Rc<Dial>>>,
    /// Streams that a new connection takes before its SETTINGS have arrived: fewer than usual if
    /// the host has shown that it allows fewer.
    before_settings: Cell<usize>,
}

/// A connection that takes requests.
pub(crate) struct Http2Connection {
    sender: RefCell<SendRequest<Bytes>>,
    /// Requests in flight.
    active: Cell<usize>,
    /// Requests it has carried.
    requests: Cell<u32>,
    /// When the last request ended.
    idle_since: Cell<Instant>,
    stats: Arc<ClusterStats>,
}

/// A connection that is being made.
#[derive(Default)]
struct Dial {
    /// Requests that wait for it.
    waiting: Cell<usize>,
    result: RefCell<Option<Result<Rc<Http2Connection>, Reason>>>,
    done: Notify,
}

/// A place for one request on a connection.
pub(crate) struct Http2Lease(Rc<Http2Connection>);

/// A request on its way: its response to come, and where its body goes.
pub(crate) type Sent = (ResponseFuture, h2::SendStream<Bytes>);

// === impl Http2Pool ===

impl Default for Http2Pool {
    fn default() -> Self {
        Self {
            connections: RefCell::default(),
            dials: RefCell::default(),
            before_settings: Cell::new(BEFORE_SETTINGS),
        }
    }
}

impl Http2Pool {
    /// A place on a connection there is.
    fn lease(&self, config: &config::Cluster) -> Option<Http2Lease> {
        let mut connections = self.connections.borrow_mut();
        let mut at = 0;
        while let Some(connection) = connections.get(at) {
            if connection.is_worn(config) || connection.is_closed() {
                connections.swap_remove(at);
            } else if connection.has_room() {
                return Some(Http2Lease::new(connection));
            } else {
                let limit = connection.limit().clamp(1, BEFORE_SETTINGS);
                self.before_settings.set(limit);
                at += 1;
            }
        }
        None
    }

    /// A place behind others: the peer will say when there is one.
    fn lease_crowded(&self) -> Option<Http2Lease> {
        let connections = self.connections.borrow();
        let fewest = connections.iter().min_by_key(|one| one.active.get());
        fewest.map(Http2Lease::new)
    }

    /// The dial to wait for, if one has room for another request.
    fn dial_under_way(&self) -> Option<Rc<Dial>> {
        let dials = self.dials.borrow();
        let mut dials = dials.iter();
        dials
            .find(|dial| dial.waiting.get() < self.before_settings.get())
            .cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty() && self.dials.borrow().is_empty()
    }

    /// Lets go of all connections: each ends with its last request.
    pub(super) fn retire(&self) {
        let connections = self.connections.take();
        drop(connections);
    }

    /// Closes connections that have ended or were idle for too long. Returns how many are left.
    pub(super) fn reap(&self, now: Instant, idle_timeout: Option<Duration>) -> usize {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| {
            let idle = connection.active.get() == 0
                && idle_timeout
                    .is_some_and(|limit| now.duration_since(connection.idle_since.get()) >= limit);
            if idle {
                connection.stats.upstream_cx_idle_timeout.inc();
            }
            !idle && !connection.is_closed()
        });
        connections.len()
    }
}

// === impl Cluster ===

impl Cluster {
    /// A place for a request on a connection to `host` that is there.
    pub(crate) fn lease_http2(&self, host: &Host) -> Option<Http2Lease> {
        host.http2().lease(&self.config)
    }

    /// A place for a request on a connection to `host`: one there is, else a new one.
    pub(crate) async fn acquire_http2(
        self: &Rc<Self>,
        host: &Rc<Host>,
        clusters: &Rc<Clusters>,
    ) -> Result<Http2Lease, Reason> {
        loop {
            if let Some(lease) = self.lease_http2(host) {
                return Ok(lease);
            }
            let pool = host.http2();
            let dial = match pool.dial_under_way() {
                Some(dial) => dial,
                None => self.start_dial(host, clusters),
            };
            dial.waiting.set(dial.waiting.get() + 1);
            match dial.finished().await {
                // It may be in no pool: the host is gone, but these requests were meant for it.
                Ok(connection) if connection.has_room() => {
                    return Ok(Http2Lease::new(&connection));
                }
                Ok(_) => {}
                Err(Reason::Overflow) => return pool.lease_crowded().ok_or(Reason::Overflow),
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Makes a connection in a task of its own: the request that asked may be gone before it is
    /// there, and others wait for it too.
    fn start_dial(self: &Rc<Self>, host: &Rc<Host>, clusters: &Rc<Clusters>) -> Rc<Dial> {
        let dial = Rc::new(Dial::default());
        host.http2().dials.borrow_mut().push(Rc::clone(&dial));
        let (cluster, host) = (Rc::clone(self), Rc::clone(host));
        let (clusters, result) = (Rc::clone(clusters), Rc::clone(&dial));
        tokio::task::spawn_local(async move {
            let connected = cluster.connect_http2(&host).await;
            let pool = host.http2();
            pool.dials
                .borrow_mut()
                .retain(|dial| !Rc::ptr_eq(dial, &result));
            match connected {
                Ok((sender, connection, io)) => {
                    let pooled = Rc::new(Http2Connection::new(sender, &cluster.stats));
                    if !host.is_retired() {
                        pool.connections.borrow_mut().push(Rc::clone(&pooled));
                        clusters.watch_pools();
                    }
                    result.finish(Ok(pooled));
                    // What is held here would keep the connection from ending when the last
                    // request lets go of it.
                    drop((result, host, clusters));
                    drive(connection, &io, &cluster).await;
                }
                Err(reason) => result.finish(Err(reason)),
            }
        });
        dial
    }

    async fn connect_http2(
        self: &Rc<Self>,
        host: &Rc<Host>,
    ) -> Result<(SendRequest<Bytes>, Connection<Io, Bytes>, Io), Reason> {
        let upstream = Upstream::dial(self, host).await;
        let upstream = upstream.map_err(|error| error.reason())?;
        self.stats.upstream_cx_http2_total.inc();
        let io = Io::new(Socket::Upstream(Box::new(upstream)), Buffer::default());
        let options = self.config.http2;
        let handshake = h2::client::Builder::new()
            .initial_window_size(options.initial_stream_window_size)
            .initial_connection_window_size(options.initial_connection_window_size)
            .initial_max_send_streams(host.http2().before_settings.get())
            .enable_push(false)
            .handshake(io.clone());
        let (sender, connection) = handshake.await.map_err(|_| Reason::UpstreamClosed)?;
        Ok((sender, connection, io))
    }
}

/// Drives a connection until it ends.
async fn drive(mut connection: Connection<Io, Bytes>, io: &Io, cluster: &Cluster) {
    let stats = &cluster.stats;
    poll_fn(|cx| {
        loop {
            let ended = pin!(&mut connection).poll(cx);
            let flushed = io.flush(cx);
            let traffic = io.take_traffic();
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
            if flushed == Flushed::Quiet {
                return Poll::Pending;
            }
        }
    })
    .await;
}

// === impl Http2Connection ===

impl Http2Connection {
    fn new(sender: SendRequest<Bytes>, stats: &Arc<ClusterStats>) -> Self {
        Self {
            stats: Arc::clone(stats),
            sender: RefCell::new(sender),
            active: Cell::new(0),
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
        }
    }

    /// Whether the peer takes another stream at once.
    fn has_room(&self) -> bool {
        self.active.get() < self.limit()
    }

    /// Streams at a time that the peer allows.
    fn limit(&self) -> usize {
        self.sender.borrow().current_max_send_streams()
    }

    /// Whether it has carried as many requests as it may.
    fn is_worn(&self, config: &config::Cluster) -> bool {
        let limit = config.max_requests_per_connection;
        limit.is_some_and(|limit| self.requests.get() >= limit)
    }

    /// Whether it has ended, or its peer said that it will.
    fn is_closed(&self) -> bool {
        let mut sender = self.sender.borrow_mut();
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        if ready.is_pending() {
            // This handle's last request waits for its turn; another handle may go behind it.
            let other = sender.clone();
            *sender = other;
        }
        matches!(ready, Poll::Ready(Err(_)))
    }
}

// === impl Http2Lease ===

impl Http2Lease {
    fn new(connection: &Rc<Http2Connection>) -> Self {
        connection.active.set(connection.active.get() + 1);
        connection.requests.set(connection.requests.get() + 1);
        Self(Rc::clone(connection))
    }

    /// Sends a request's head. `end`: it has no body.
    pub(crate) fn send(&self, request: Request<()>, end: bool) -> Result<Sent, h2::Error> {
        self.0.sender.borrow_mut().send_request(request, end)
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        let active = self.0.active.get() - 1;
        self.0.active.set(active);
        if active == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

// === impl Dial ===

impl Dial {
    fn finish(&self, result: Result<Rc<Http2Connection>, Reason>) {
        self.result.replace(Some(result));
        self.done.notify_waiters();
    }

    async fn finished(&self) -> Result<Rc<Http2Connection>, Reason> {
        let done = self.done.notified();
        if self.result.borrow().is_none() {
            done.await;
        }
        let result = self.result.borrow().clone();
        result.unwrap_or(Err(Reason::UpstreamClosed))
    }
}
