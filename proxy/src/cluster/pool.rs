//! Pools of HTTP/1 connections: one stack a host, the one used last first.

use std::{rc::Rc, time::Duration};

use tokio::time::Instant;

use super::{Cluster, DialError, Host, Upstream};

/// Idle connections a host keeps. More than this were opened by a burst, and are closed after it.
const MAX_IDLE: usize = 1024;

/// A connection without a request.
pub(crate) struct Idle {
    upstream: Upstream,
    since: Instant,
}

/// A connection ready for a request, and where it came from.
pub(crate) struct Acquired {
    pub(crate) upstream: Upstream,
    /// It has carried requests before, so the endpoint may be closing it at this moment.
    pub(crate) reused: bool,
}

// === impl Idle ===

impl Idle {
    pub(super) fn is_usable(&mut self, now: Instant, idle_timeout: Option<Duration>) -> bool {
        let expired = idle_timeout.is_some_and(|limit| now.duration_since(self.since) >= limit);
        if expired {
            self.upstream.cluster.stats.upstream_cx_idle_timeout.inc();
        }
        !expired && !self.upstream.connection.is_spent()
    }

    pub(super) fn is_unused_for(&self, period: Duration, now: Instant) -> bool {
        now.duration_since(self.since) >= period
    }
}

// === impl Cluster ===

impl Cluster {
    /// A connection to `host`: an idle one, else a new one. Where the circuit breaker allows no
    /// more connections, waits for one to come free, as long as few enough others wait.
    pub(crate) async fn acquire(self: &Rc<Self>, host: &Rc<Host>) -> Result<Acquired, DialError> {
        let reused = |upstream| Acquired {
            upstream,
            reused: true,
        };
        if let Some(upstream) = self.take_idle(host) {
            return Ok(reused(upstream));
        }
        let _pending = Pending::new(self).ok_or(DialError::Overflow)?;
        while !self.may_dial() {
            self.stats.upstream_cx_overflow.inc();
            self.freed.notified().await;
            if let Some(upstream) = self.take_idle(host) {
                return Ok(reused(upstream));
            }
        }
        let upstream = Upstream::dial(self, host, &["http/1.1"]).await?;
        self.stats.upstream_cx_http1_total.inc();
        Ok(Acquired {
            upstream,
            reused: false,
        })
    }

    /// Whether the circuit breaker allows another connection. An idle one of another host makes
    /// way for it.
    fn may_dial(&self) -> bool {
        let allows = || self.connections.get() < self.config.circuit_breakers.max_connections;
        allows() || {
            let idle = self.hosts().all().find_map(|host| host.idle().pop());
            drop(idle);
            allows()
        }
    }

    /// An idle connection to `host` that looks alive. Costs no system call.
    pub(crate) fn take_idle(&self, host: &Host) -> Option<Upstream> {
        loop {
            let Idle { mut upstream, .. } = host.idle().pop()?;
            if !upstream.connection.is_spent() {
                return Some(upstream);
            }
        }
    }
}

// === impl Upstream ===

impl Upstream {
    /// Puts the connection back. It is closed if its host is gone or has enough of them.
    pub(super) fn put_back(self) {
        let limit = self.cluster.config.max_requests_per_connection;
        let worn = limit.is_some_and(|limit| self.requests >= limit);
        let (host, cluster) = (Rc::clone(&self.host), Rc::clone(&self.cluster));
        if !worn && !host.is_retired() && host.idle().len() < MAX_IDLE {
            let idle = Idle {
                upstream: self,
                since: Instant::now(),
            };
            host.idle().push(idle);
            cluster.freed.notify_one();
        }
    }

    /// Puts a connection back that was dialled before it was known what for. A host that has an
    /// idle connection needs no other: the requests may go to another cluster altogether.
    pub(super) fn put_back_spare(self) {
        if self.host.idle().is_empty() {
            self.put_back();
        }
    }
}

/// A request that waits for a connection.
pub(super) struct Pending<'c>(&'c Cluster);

impl<'c> Pending<'c> {
    /// None if as many wait as the circuit breaker allows.
    pub(super) fn new(cluster: &'c Cluster) -> Option<Self> {
        if cluster.pending.get() >= cluster.config.circuit_breakers.max_pending_requests {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return None;
        }
        cluster.pending.set(cluster.pending.get() + 1);
        cluster.stats.upstream_rq_pending_total.inc();
        cluster.stats.upstream_rq_pending_active.inc();
        Some(Self(cluster))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.set(self.0.pending.get() - 1);
        self.0.stats.upstream_rq_pending_active.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        net::SocketAddr,
        pin::pin,
        sync::Arc,
        task::Poll,
    };

    use tokio::net::TcpListener;

    use super::*;
    use crate::cluster::Tried;
    use crate::config::{
        self,
        cluster::{CircuitBreakers, ClusterDiscovery, LbPolicy, UpstreamProtocol},
        http::Http2Options,
        tls::TransportSocket,
    };

    fn cluster(circuit_breakers: CircuitBreakers) -> Rc<Cluster> {
        let config = Arc::new(config::Cluster {
            name: "c".to_owned(),
            stat_name: "c".to_owned(),
            discovery: ClusterDiscovery::OriginalDst,
            original_dst: None,
            connect_timeout: Duration::from_secs(5),
            lb_policy: LbPolicy::ClusterProvided,
            protocol: UpstreamProtocol::Http1,
            transport_socket: TransportSocket::RawBuffer,
            transport_socket_matches: Vec::new(),
            circuit_breakers,
            bind_source: Vec::new(),
            idle_timeout: None,
            max_requests_per_connection: None,
            tcp_keepalive: None,
            http2: Http2Options::default(),
            http_filters: None,
            auto_sni: None,
            panic: config::cluster::Panic::default(),
            outlier_detection: None,
        });
        Rc::new(Cluster::new(&config, Arc::default(), None))
    }

    async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
        poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn beyond_the_circuit_breaker_requests_wait_for_a_connection() {
        let (_listener, address) = listen().await;
        let limits = CircuitBreakers {
            max_connections: 1,
            max_pending_requests: 1,
            ..Default::default()
        };
        let cluster = cluster(limits);
        let host = cluster
            .pick(address, None, &Tried::default())
            .expect("a host");
        let first = cluster.acquire(&host).await.expect("the only connection");
        let mut second = pin!(cluster.acquire(&host));
        assert!(is_pending(&mut second).await);
        assert!(matches!(
            cluster.acquire(&host).await,
            Err(DialError::Overflow)
        ));
        first.upstream.put_back();
        assert!(second.await.expect("the same connection").reused);
        assert_eq!(cluster.stats.upstream_rq_pending_active.get(), 0);
        assert_eq!(cluster.stats.upstream_rq_pending_overflow.get(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_idle_connection_its_endpoint_closed_is_not_used() {
        let (listener, address) = listen().await;
        let cluster = cluster(CircuitBreakers::default());
        let host = cluster
            .pick(address, None, &Tried::default())
            .expect("a host");
        let first = cluster.acquire(&host).await.expect("a connection").upstream;
        let (accepted, _) = listener.accept().await.expect("accepted");
        first.put_back();
        drop(accepted);
        while cluster.take_idle(&host).map(Upstream::put_back).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(cluster.stats.upstream_cx_active.get(), 0);
    }
}
