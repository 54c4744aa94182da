//! Pools of HTTP/2 connections: the requests of all clients of a worker share them. A host has
//! one, until as many streams are open as its peer allows; then another, or requests wait their
//! turn.

mod connection;
mod queue;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::time::Instant;

use self::{
    connection::Http2Connection,
    queue::{Queue, Turn},
};
use super::{Cluster, Clusters, Host, Upstream, limits::ConnectionLeave, pool::Pending};
use crate::{
    config::circuit_breakers::RoutingPriority,
    http::codec::h2::{ResponseFuture, SendStream},
    reason::Reason,
};

pub(crate) use connection::Http2Lease;

/// Streams that a host's connections are expected to take before any has said: what RFC 9113
/// section 6.5.2 recommends peers to allow at least.
const USUAL: usize = 100;

/// The HTTP/2 connections of a host.
pub(crate) struct Http2Pool {
    connections: RefCell<Vec<Rc<Http2Connection>>>,
    /// Requests that wait for a place.
    queue: Queue,
    /// Connections that are being made.
    dials: Cell<usize>,
    /// Streams that a connection takes, as one of them said last.
    usual: Cell<usize>,
}

/// A request on its way: its response to come, and where its body goes.
pub(crate) type Sent = (ResponseFuture, SendStream);

// === impl Http2Pool ===

impl Default for Http2Pool {
    fn default() -> Self {
        Self {
            connections: RefCell::default(),
            queue: Queue::default(),
            dials: Cell::new(0),
            usual: Cell::new(USUAL),
        }
    }
}

impl Http2Pool {
    /// A place on a connection there is.
    fn lease(&self) -> Option<Http2Lease> {
        let mut connections = self.connections.borrow_mut();
        let mut at = 0;
        while let Some(connection) = connections.get(at) {
            if connection.is_worn() || connection.is_closed() {
                connections.swap_remove(at);
            } else if connection.has_room() {
                return Some(Http2Lease::new(connection));
            } else {
                at += 1;
            }
        }
        None
    }

    /// Whether those who wait need another connection. There are never more dials than
    /// connections, so that what an endpoint allows is learnt before it is dialled often.
    fn needs_dial(&self) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let connections = self.connections.borrow();
        let mut known = connections.iter().filter_map(|one| one.limit());
        if let Some(limit) = known.next_back() {
            self.usual.set(limit.max(1));
        }
        let silent = connections.iter().filter(|one| one.limit().is_none());
        let to_come = (self.dials.get() + silent.count()).saturating_mul(self.usual.get());
        to_come < self.queue.len() && self.dials.get() < connections.len().max(1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty() && self.dials.get() == 0 && self.queue.is_empty()
    }

    /// Lets go of all connections that nobody waits for: each ends with its last request.
    pub(super) fn retire(&self) {
        if self.queue.is_empty() {
            let connections = self.connections.take();
            drop(connections);
        }
    }

    /// Lets go of a connection that carries no request, which ends it. Whether there was one.
    pub(super) fn close_idle(&self) -> bool {
        let mut connections = self.connections.borrow_mut();
        let idle = connections
            .iter()
            .position(|one| one.is_idle_for(Duration::ZERO, Instant::now()));
        let closed = idle.map(|at| connections.swap_remove(at));
        drop(connections);
        closed.is_some()
    }

    /// Closes connections that have ended or were idle for too long. Returns how many are left.
    pub(super) fn reap(&self, now: Instant, idle_timeout: Option<Duration>) -> usize {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| {
            let expired = idle_timeout.is_some_and(|limit| connection.is_idle_for(limit, now));
            !expired && !connection.is_closed() && !connection.is_worn()
        });
        connections.len()
    }
}

// === impl Cluster ===

impl Cluster {
    /// A place for a request on a connection to `host` that is there, unless others wait for one.
    pub(crate) fn lease_http2(&self, host: &Host) -> Option<Http2Lease> {
        let pool = host.http2();
        match pool.queue.is_empty() {
            true => pool.lease(),
            false => None,
        }
    }

    /// A place for a request on a connection to `host`: one there is, else one on a new
    /// connection, or one that another request leaves.
    pub(crate) async fn acquire_http2(
        self: &Rc<Self>,
        host: &Rc<Host>,
        priority: RoutingPriority,
        clusters: &Rc<Clusters>,
    ) -> Result<Http2Lease, Reason> {
        let pending = Pending::new(self, priority).ok_or(Reason::Overflow)?;
        let turn = Turn::new(host, priority);
        self.share_out(host);
        self.dial_for_queue(host, clusters);
        let lease = turn.await;
        drop(pending);
        lease
    }

    /// Gives those who wait for `host` the places there are.
    fn share_out(&self, host: &Host) {
        let pool = host.http2();
        while !pool.queue.is_empty()
            && let Some(lease) = pool.lease()
        {
            pool.queue.serve(lease);
        }
        if host.is_retired() {
            pool.retire();
        }
    }

    /// Makes another connection where those who wait need one.
    fn dial_for_queue(self: &Rc<Self>, host: &Rc<Host>, clusters: &Rc<Clusters>) {
        let pool = host.http2();
        while pool.needs_dial() {
            // The first is made in any case, as nobody else would serve.
            let first = pool.dials.get() == 0 && pool.connections.borrow().is_empty();
            let priority = pool.queue.priority();
            let Some(leave) = self.connection_leave(host.address, priority, first) else {
                return;
            };
            pool.dials.set(pool.dials.get() + 1);
            let (cluster, host, clusters) = (Rc::clone(self), Rc::clone(host), Rc::clone(clusters));
            tokio::task::spawn_local(cluster.run_http2(host, clusters, leave, first));
        }
    }

    /// Makes a connection and drives it, in a task of its own: the request that asked may be gone
    /// before it is there, and others wait for it too.
    async fn run_http2(
        self: Rc<Self>,
        host: Rc<Host>,
        clusters: Rc<Clusters>,
        leave: ConnectionLeave,
        first: bool,
    ) {
        let pool = host.http2();
        let boundary = clusters.boundary.clone();
        let connected = boundary
            .contain(self.connect_http2(&host, &clusters, leave, first))
            .await;
        // Those who wait must hear of its end, also if that was a panic.
        let connected = connected.unwrap_or(Err(Reason::UpstreamReset));
        pool.dials.set(pool.dials.get() - 1);
        match connected {
            Ok(connected) => self.drive_http2(host, clusters, connected).await,
            Err(reason) => self.lost(&host, reason),
        }
    }

    /// Takes over a connection that was made for another protocol and speaks this one.
    pub(super) fn adopt_http2(
        self: &Rc<Self>,
        host: &Rc<Host>,
        upstream: Upstream,
        clusters: &Rc<Clusters>,
    ) -> Http2Lease {
        self.stats.upstream_cx_http2_total.inc();
        let (connection, driver) = Http2Connection::new(upstream, 1);
        let lease = Http2Lease::new(&connection);
        let (cluster, host, clusters) = (Rc::clone(self), Rc::clone(host), Rc::clone(clusters));
        tokio::task::spawn_local(cluster.drive_http2(host, clusters, (connection, driver)));
        lease
    }

    /// Shares a connection out, and drives it to its end.
    async fn drive_http2(
        self: Rc<Self>,
        host: Rc<Host>,
        clusters: Rc<Clusters>,
        (connection, driver): (Rc<Http2Connection>, connection::Driver),
    ) {
        let (pool, boundary) = (host.http2(), clusters.boundary.clone());
        pool.connections.borrow_mut().push(Rc::clone(&connection));
        clusters.watch_pools();
        let turn = || {
            self.share_out(&host);
            self.dial_for_queue(&host, &clusters);
        };
        turn();
        // What is held here would keep the connection from ending when the last request lets go
        // of it.
        let shared = Rc::downgrade(&connection);
        drop(connection);
        boundary.contain(driver.run(turn)).await;
        if let Some(connection) = shared.upgrade() {
            let same = |other: &Rc<Http2Connection>| Rc::ptr_eq(other, &connection);
            pool.connections.borrow_mut().retain(|other| !same(other));
            if connection.is_unused() {
                self.lost(&host, Reason::UpstreamClosed);
            }
        }
        self.dial_for_queue(&host, &clusters);
    }

    async fn connect_http2(
        self: &Rc<Self>,
        host: &Rc<Host>,
        clusters: &Rc<Clusters>,
        leave: ConnectionLeave,
        first: bool,
    ) -> Result<(Rc<Http2Connection>, connection::Driver), Reason> {
        let offered = self.offered(&["h2"]);
        let upstream = Upstream::dial_with(leave, self, host, None, offered).await;
        let upstream = upstream.map_err(|error| error.reason())?;
        let upstream = self.only_http2(upstream, clusters)?;
        self.stats.upstream_cx_http2_total.inc();
        // One stream any peer allows. Where there are connections, those who wait have others to
        // hope for than an endpoint that has said nothing.
        Ok(Http2Connection::new(upstream, usize::from(first)))
    }

    /// A connection could not be made, or ended before it was of use. Those who wait wait on as
    /// long as another may serve them.
    fn lost(&self, host: &Host, reason: Reason) {
        let pool = host.http2();
        if pool.dials.get() == 0 && pool.connections.borrow().is_empty() {
            pool.queue.fail(reason);
        }
    }
}
