//! A connection whose streams are shared out, and the task that drives it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tokio::time::Instant;

use super::Sent;
use crate::{
    cluster::{Cluster, Host, Upstream},
    http::{
        codec::h2::{self, client},
        h2::{flood_limits, keepalive::KeepaliveTimer},
    },
};

/// Largest head of a response, bytes as RFC 9113 section 6.5.2 counts them.
const MAX_RESPONSE_HEAD: u32 = 1 << 20;

/// A connection that takes requests.
pub(super) struct Http2Connection {
    host: Rc<Host>,
    cluster: Rc<Cluster>,
    sender: RefCell<client::SendRequest>,
    /// Requests in flight.
    active: Cell<usize>,
    /// Of those: which have their place and have not opened their stream.
    unsent: Cell<usize>,
    /// Requests it has carried.
    requests: Cell<u32>,
    /// Requests it takes before its peer's SETTINGS have come.
    before_settings: usize,
    /// Our address.
    local: Option<SocketAddr>,
    since: Instant,
    /// When the last request ended.
    idle_since: Cell<Instant>,
}

/// A place for one request on a connection.
pub(crate) struct Http2Lease {
    connection: Rc<Http2Connection>,
    is_sent: Cell<bool>,
}

/// A connection and what drives it.
pub(super) struct Driver {
    connection: client::Connection<Upstream>,
    cluster: Rc<Cluster>,
    /// Asks whether the endpoint is there, where that is configured.
    keepalive: Option<Box<KeepaliveTimer>>,
    has_received: bool,
}

// === impl Http2Connection ===

impl Http2Connection {
    /// Speaks HTTP/2 on a connection that was dialled.
    pub(super) fn new(mut upstream: Upstream, before_settings: usize) -> (Rc<Self>, Driver) {
        let (host, cluster) = (Rc::clone(&upstream.host), Rc::clone(&upstream.cluster));
        let options = cluster.config.http2;
        let config = h2::Config {
            initial_window_size: options.initial_stream_window_size,
            initial_connection_window_size: options.initial_connection_window_size,
            initial_max_send_streams: before_settings,
            max_header_list_size: MAX_RESPONSE_HEAD,
            flood_limits: flood_limits(&options),
            buffer_limit: cluster.config.buffer_limit,
            ..h2::Config::default()
        };
        let local = upstream.local_addr();
        let (sender, connection) = client::handshake(upstream, config);
        let shared = Rc::new(Self {
            host,
            cluster: Rc::clone(&cluster),
            sender: RefCell::new(sender),
            active: Cell::new(0),
            unsent: Cell::new(0),
            requests: Cell::new(0),
            before_settings,
            local,
            since: Instant::now(),
            idle_since: Cell::new(Instant::now()),
        });
        (
            shared,
            Driver {
                connection,
                cluster,
                keepalive: options.keepalive.map(KeepaliveTimer::new).map(Box::new),
                has_received: false,
            },
        )
    }

    /// Whether the peer takes another stream at once.
    pub(super) fn has_room(&self) -> bool {
        let most = self.limit().unwrap_or(self.before_settings);
        // Streams that were given up may be open still, until what ends them has left.
        self.active.get() < most && self.unsent.get() < self.sender.borrow().room()
    }

    /// Streams at a time that peer and configuration allow; none before the peer has said.
    pub(super) fn limit(&self) -> Option<usize> {
        let of_peer = self.sender.borrow().max_send_streams()?;
        let configured = self.cluster.config.http2.max_concurrent_streams;
        Some(of_peer.min(configured as usize))
    }

    /// Whether it takes no further request.
    pub(super) fn is_worn(&self) -> bool {
        self.cluster.has_worn(self.requests.get(), self.since)
    }

    /// Whether it has carried none.
    pub(super) fn is_unused(&self) -> bool {
        self.requests.get() == 0
    }

    /// Asks the endpoint whether it is there, before the first request for long.
    fn ask_if_idle(&self) {
        let keepalive = self.cluster.config.http2.keepalive;
        let limit = keepalive.and_then(|keepalive| keepalive.connection_idle_interval);
        if let Some(limit) = limit
            && self.active.get() == 1
            && self.idle_since.get().elapsed() >= limit
        {
            self.sender.borrow().ask();
        }
    }

    /// Whether it has ended, or its peer said that it will.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.borrow().closed().is_some()
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
}

// === impl Http2Lease ===

impl Http2Lease {
    pub(super) fn new(connection: &Rc<Http2Connection>) -> Self {
        connection.active.set(connection.active.get() + 1);
        connection.unsent.set(connection.unsent.get() + 1);
        connection.requests.set(connection.requests.get() + 1);
        Self {
            connection: Rc::clone(connection),
            is_sent: Cell::new(false),
        }
    }

    /// Our address.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.local
    }

    /// Sends a request's head. `end`: it has no body.
    pub(crate) fn send(&self, request: Request<()>, end: bool) -> Result<Sent, h2::Error> {
        self.leave_reserve();
        self.connection.ask_if_idle();
        self.connection
            .sender
            .borrow_mut()
            .send_request(request, end)
    }

    /// The place is no longer kept, but taken or given up.
    fn leave_reserve(&self) {
        if !self.is_sent.replace(true) {
            let unsent = &self.connection.unsent;
            unsent.set(unsent.get() - 1);
        }
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        self.leave_reserve();
        let connection = &self.connection;
        let active = connection.active.get() - 1;
        connection.active.set(active);
        if active == 0 {
            connection.idle_since.set(Instant::now());
        }
        if !connection.host.http2().queue.is_empty() {
            connection.sender.borrow().wake();
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
        if let Some(keepalive) = &mut self.keepalive {
            let has_received = std::mem::take(&mut self.has_received);
            let connection = &mut self.connection;
            if keepalive.poll(cx, connection, has_received).is_ready() {
                connection.lose();
                stats.http2.inc("keepalive_timeout");
            }
        }
        let ended = self.connection.poll(cx);
        let traffic = self.connection.take_traffic();
        self.has_received |= traffic.received > 0;
        stats.upstream_cx_rx_bytes_total.add(traffic.received);
        stats.upstream_cx_tx_bytes_total.add(traffic.sent);
        if let Poll::Ready(Err(error)) = ended
            && !error.is_io()
            && !error.is_remote()
        {
            stats.upstream_cx_protocol_error.inc();
        }
        if ended.is_pending() {
            turn();
        }
        ended.map(drop)
    }
}
