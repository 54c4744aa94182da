//! Pools of HTTP/1 connections: one stack a host, the one used last first.

use std::{rc::Rc, time::Duration};

use tokio::time::Instant;

use super::{Cluster, DialError, Host, Upstream, limits::PendingLeave};
use crate::config::circuit_breakers::RoutingPriority;

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
        !expired && !self.upstream.is_worn() && !self.upstream.connection.is_spent()
    }

    pub(super) fn is_unused_for(&self, period: Duration, now: Instant) -> bool {
        now.duration_since(self.since) >= period
    }
}

// === impl Cluster ===

impl Cluster {
    /// A connection to `host`: an idle one, else a new one. Where the circuit breaker allows no
    /// more connections, waits for one to come free, as long as few enough others wait.
    pub(crate) async fn acquire(
        self: &Rc<Self>,
        host: &Rc<Host>,
        priority: RoutingPriority,
    ) -> Result<Acquired, DialError> {
        let reused = |upstream| Acquired {
            upstream,
            reused: true,
        };
        if let Some(upstream) = self.take_idle(host) {
            return Ok(reused(upstream));
        }
        let _pending = Pending::new(self, priority).ok_or(DialError::Overflow)?;
        let leave = loop {
            let needed = !host.is_connected();
            if let Some(leave) = self.connection_leave(host.address, priority, needed) {
                break leave;
            }
            tokio::select! {
                () = host.freed() => {}
                () = self.limits.freed() => {}
            }
            if let Some(upstream) = self.take_idle(host) {
                return Ok(reused(upstream));
            }
        };
        let offered = self.offered(&["http/1.1"]);
        let upstream = Upstream::dial_with(leave, self, host, None, offered).await?;
        if !self.is_auto() || !upstream.speaks_http2 {
            self.stats.upstream_cx_http1_total.inc();
        }
        Ok(Acquired {
            upstream,
            reused: false,
        })
    }

    /// An idle connection to `host` that looks alive. Costs no system call.
    pub(crate) fn take_idle(&self, host: &Host) -> Option<Upstream> {
        loop {
            let Idle { mut upstream, .. } = host.idle().pop()?;
            if !upstream.is_worn() && !upstream.connection.is_spent() {
                return Some(upstream);
            }
        }
    }
}

// === impl Upstream ===

impl Upstream {
    /// Puts the connection back. It is closed if its host is gone or has enough of them.
    pub(super) fn put_back(self) {
        let host = Rc::clone(&self.host);
        if !self.is_worn() && !host.is_retired() && host.idle().len() < MAX_IDLE {
            let idle = Idle {
                upstream: self,
                since: Instant::now(),
            };
            host.idle().push(idle);
            host.notify();
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
pub(super) struct Pending(PendingLeave);

impl Pending {
    /// None if as many wait as the circuit breaker allows.
    pub(super) fn new(cluster: &Rc<Cluster>, priority: RoutingPriority) -> Option<Self> {
        let Some(leave) = cluster.limits.leave(priority) else {
            cluster.stats.upstream_rq_pending_overflow.inc();
            return None;
        };
        cluster.stats.upstream_rq_pending_total.inc();
        cluster.stats.upstream_rq_pending_active.inc();
        Some(Self(leave))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.stats().upstream_rq_pending_active.dec();
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
    use crate::buffer::BufferLimit;
    use crate::cluster::{LoadBalancerContext, Tried};
    use crate::config::{
        self,
        circuit_breakers::{CircuitBreakers, Thresholds},
        cluster::{ClusterDiscovery, LbPolicy, UpstreamProtocol},
        http::Http2Options,
        tls::TransportSocket,
    };

    fn cluster(thresholds: Thresholds) -> Rc<Cluster> {
        let circuit_breakers = CircuitBreakers {
            default: thresholds,
            high: Thresholds::default(),
        };
        let config = Arc::new(config::Cluster {
            name: "c".to_owned(),
            stat_name: "c".to_owned(),
            discovery: ClusterDiscovery::OriginalDst,
            original_dst: None,
            buffer_limit: BufferLimit::default(),
            connect_timeout: Duration::from_secs(5),
            lb_policy: LbPolicy::ClusterProvided,
            protocol: UpstreamProtocol::Http1,
            transport_socket: TransportSocket::RawBuffer,
            proxy_protocol: None,
            transport_socket_matches: Vec::new(),
            circuit_breakers,
            bind_source: Vec::new(),
            idle_timeout: None,
            max_connection_duration: None,
            max_requests_per_connection: None,
            tcp_keepalive: None,
            http2: Http2Options::default(),
            http_filters: None,
            auto_sni: None,
            load_balancing: config::load_balancing::LoadBalancing::default(),
            panic: config::cluster::Panic::default(),
            outlier_detection: None,
            health_check: None,
            host_changes: config::cluster::HostChanges::default(),
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
        let limits = Thresholds {
            max_connections: 1,
            max_pending_requests: 1,
            ..Default::default()
        };
        let cluster = cluster(limits);
        let host = cluster
            .pick(&LoadBalancerContext::new(address, &Tried::default()))
            .expect("a host");
        let first = cluster
            .acquire(&host, RoutingPriority::Default)
            .await
            .expect("the only connection");
        let mut second = pin!(cluster.acquire(&host, RoutingPriority::Default));
        assert!(is_pending(&mut second).await);
        assert!(matches!(
            cluster.acquire(&host, RoutingPriority::Default).await,
            Err(DialError::Overflow)
        ));
        first.upstream.put_back();
        assert!(second.await.expect("the same connection").reused);
        assert_eq!(cluster.stats.upstream_rq_pending_active.get(), 0);
        assert_eq!(cluster.stats.upstream_rq_pending_overflow.get(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_host_without_a_connection_gets_one_whatever_others_have() {
        let limits = Thresholds {
            max_connections: 1,
            ..Default::default()
        };
        let cluster = cluster(limits);
        let [(_one, first), (_other, second)] = [listen().await, listen().await];
        let [first, second] = [first, second].map(|address| {
            let host = cluster.pick(&LoadBalancerContext::new(address, &Tried::default()));
            host.expect("a host")
        });
        let acquire = |host| cluster.acquire(host, RoutingPriority::Default);
        let busy = acquire(&first).await.expect("the one there may be");
        let beyond = acquire(&second).await.expect("the only one of its host");
        let mut waiting = pin!(acquire(&second));
        assert!(is_pending(&mut waiting).await);
        // It is that of its own host that whoever waits hears of.
        busy.upstream.put_back();
        assert!(is_pending(&mut waiting).await);
        beyond.upstream.put_back();
        assert!(waiting.await.expect("the same connection").reused);
        assert_eq!(cluster.stats.upstream_cx_total.get(), 2);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_idle_connection_its_endpoint_closed_is_not_used() {
        let (listener, address) = listen().await;
        let cluster = cluster(Thresholds::default());
        let host = cluster
            .pick(&LoadBalancerContext::new(address, &Tried::default()))
            .expect("a host");
        let first = cluster
            .acquire(&host, RoutingPriority::Default)
            .await
            .expect("a connection")
            .upstream;
        let (accepted, _) = listener.accept().await.expect("accepted");
        first.put_back();
        drop(accepted);
        while cluster.take_idle(&host).map(Upstream::put_back).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(cluster.stats.upstream_cx_active.get(), 0);
    }
}
