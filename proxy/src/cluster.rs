//! Clusters as a worker uses them: endpoints, load balancing, connection pools.

mod aggregate;
mod balancer;
mod connect;
mod dns;
#[cfg(test)]
mod fixture;
mod health;
mod host;
mod host_set;
mod http2;
mod manager;
mod original_dst;
mod outlier;
mod pool;
mod priority_load;
mod ring_hash;
mod schedule;
mod stats;
mod transport_socket;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use tokio::sync::Notify;

use self::{host_set::Grouping, transport_socket::UpstreamSockets};
use crate::{
    config::{self, LoadAssignment, cluster::ClusterDiscovery},
    secrets::Secrets,
    singletons::Singletons,
    snapshot::Snapshot,
    stats::Registry,
};

pub(crate) use connect::{DialError, Upstream, micros};
pub(crate) use dns::Names;
pub(crate) use health::{ClusterHealth, HealthFlags, Healths, endpoints_of, run as keep_health};
pub use host::{Host, Tried};
pub(crate) use host_set::HostSet;
pub(crate) use http2::Http2Lease;
pub(crate) use manager::Clusters;
pub(crate) use original_dst::Said;
pub(crate) use outlier::{Outcome, Rates};
pub(crate) use ring_hash::hash_of;
pub use stats::ClusterStats;

/// A cluster in one worker.
pub struct Cluster {
    pub(crate) config: Arc<config::Cluster>,
    pub(crate) stats: Arc<ClusterStats>,
    sockets: UpstreamSockets,
    hosts: RefCell<Rc<HostSet>>,
    /// What all workers know of these.
    health: Arc<ClusterHealth>,
    balancer: balancer::Balancer,
    /// Of an aggregate: which of its clusters gets how much.
    shares: aggregate::Shares,
    original_dst: original_dst::Hosts,
    /// Upstream connections, of all hosts.
    connections: Cell<u32>,
    /// Requests in flight, of all hosts.
    requests: Cell<u32>,
    /// Requests that wait for a connection.
    pending: Cell<u32>,
    /// A connection has come free or is gone.
    freed: Notify,
    /// Retries under way.
    retries: Cell<u32>,
    /// Whether an endpoint has answered in HTTP. What speaks HTTP does not speak first, so
    /// connections that say nothing yet are not dialled for ahead of time.
    spoke_http: Cell<bool>,
}

/// A request in flight, for circuit breakers and least-request.
pub(crate) struct ActiveRequest {
    cluster: Rc<Cluster>,
    host: Rc<Host>,
}

/// A retry under way, for the circuit breaker.
pub(crate) struct ActiveRetry(Rc<Cluster>);

// === impl Cluster ===

impl Cluster {
    /// A cluster without secrets, whose stats go to `stats`. `endpoints` are those of EDS.
    #[must_use]
    pub fn new(
        config: &Arc<config::Cluster>,
        stats: Arc<ClusterStats>,
        endpoints: Option<&LoadAssignment>,
    ) -> Self {
        let registry = Arc::new(Registry::default());
        let sockets = UpstreamSockets::new(
            config,
            &registry,
            &Singletons::default(),
            &Secrets::default(),
        );
        let health = Healths::new(&registry).get(config, &Snapshot::default());
        Self::with_sockets(config, stats, (endpoints, health), sockets)
    }

    /// The same, with how bytes travel to its endpoints.
    fn with_sockets(
        config: &Arc<config::Cluster>,
        stats: Arc<ClusterStats>,
        (endpoints, health): (Option<&LoadAssignment>, Arc<ClusterHealth>),
        sockets: UpstreamSockets,
    ) -> Self {
        let cluster = Self {
            config: Arc::clone(config),
            stats,
            sockets,
            hosts: RefCell::default(),
            health,
            balancer: balancer::Balancer::new(config.lb_policy),
            shares: aggregate::Shares::default(),
            original_dst: original_dst::Hosts::default(),
            connections: Cell::new(0),
            requests: Cell::new(0),
            pending: Cell::new(0),
            freed: Notify::new(),
            retries: Cell::new(0),
            spoke_http: Cell::new(false),
        };
        let of_config = match &config.discovery {
            ClusterDiscovery::Static(endpoints) => Some(&**endpoints),
            ClusterDiscovery::Eds(_)
            | ClusterDiscovery::Dns(_)
            | ClusterDiscovery::Aggregate(_)
            | ClusterDiscovery::OriginalDst => endpoints,
        };
        if let Some(endpoints) = of_config {
            cluster.set_endpoints(endpoints);
        }
        cluster
    }

    /// Takes over a new set of endpoints. Hosts whose address stays keep their connections.
    pub(crate) fn set_endpoints(&self, endpoints: &LoadAssignment) {
        let grouping = Grouping::of(&self.config);
        let hosts = self.hosts().update(endpoints, grouping, &self.health);
        self.hosts.replace(Rc::new(hosts));
    }

    /// The hosts as their health is now.
    fn current(&self) -> Rc<HostSet> {
        let hosts = self.hosts();
        if !hosts.is_behind(&self.health) {
            return hosts;
        }
        let grouping = Grouping::of(&self.config);
        let hosts = Rc::new(hosts.regroup(grouping, &self.health));
        self.hosts.replace(Rc::clone(&hosts));
        hosts
    }

    /// The host for a connection or a request. `hash` is the client's, for a cluster that goes by
    /// it. `original_destination` is where an `ORIGINAL_DST` cluster leads. Those `tried` have just failed; they are picked again only if there is no other.
    pub fn pick(
        &self,
        original_destination: impl Into<Option<SocketAddr>>,
        hash: Option<u64>,
        tried: &Tried,
    ) -> Option<Rc<Host>> {
        if let ClusterDiscovery::OriginalDst = self.config.discovery {
            let host = original_destination
                .into()
                .map(|it| self.original_dst.host(it));
            if host.is_none() {
                self.stats.upstream_cx_none_healthy.inc();
            }
            return host;
        }
        let hosts = self.current();
        let choice = self.balancer.choose(&hosts, hash);
        if choice.is_some_and(|choice| choice.in_panic) {
            self.stats.lb_healthy_panic.inc();
        }
        let picked = choice.and_then(|choice| {
            let host = self.balancer.pick(choice, hash, tried)?;
            Some((host, choice.priority))
        });
        let Some((host, priority)) = picked else {
            self.stats.upstream_cx_none_healthy.inc();
            return None;
        };
        if priority > 0 {
            self.stats.lb_lower_priority.inc();
        }
        Some(host)
    }

    /// Counts a request in; none if the circuit breaker is open.
    pub(crate) fn begin_request(self: &Rc<Self>, host: &Rc<Host>) -> Option<ActiveRequest> {
        if self.requests.get() >= self.config.circuit_breakers.max_requests {
            self.stats.upstream_rq_pending_overflow.inc();
            return None;
        }
        self.requests.set(self.requests.get() + 1);
        host.add_active(1);
        self.stats.upstream_rq_active.inc();
        Some(ActiveRequest {
            cluster: Rc::clone(self),
            host: Rc::clone(host),
        })
    }

    /// Counts a retry in; none if the circuit breaker is open.
    pub(crate) fn begin_retry(self: &Rc<Self>) -> Option<ActiveRetry> {
        if self.retries.get() >= self.config.circuit_breakers.max_retries {
            return None;
        }
        self.retries.set(self.retries.get() + 1);
        Some(ActiveRetry(Rc::clone(self)))
    }

    /// All hosts there are now.
    pub(crate) fn hosts(&self) -> Rc<HostSet> {
        Rc::clone(&self.hosts.borrow())
    }

    /// Whether what a connection to `destination` would reach has answered in HTTP.
    pub(crate) fn spoke_http(&self, destination: SocketAddr) -> bool {
        match self.config.discovery {
            ClusterDiscovery::OriginalDst => self.original_dst.host(destination).spoke_http(),
            _ => self.spoke_http.get(),
        }
    }

    /// An endpoint has answered in HTTP.
    pub(crate) fn note_http(&self) {
        self.spoke_http.set(true);
    }

    /// What a connection to `destination` reaches has answered in HTTP. Of an `ORIGINAL_DST`
    /// cluster, that says nothing about what it reaches elsewhere.
    pub(crate) fn note_http_at(&self, destination: SocketAddr) {
        match self.config.discovery {
            ClusterDiscovery::OriginalDst => self.original_dst.host(destination).note_http(),
            _ => self.note_http(),
        }
    }

    /// Closes pooled connections, now and as they come back: the cluster is gone or replaced.
    fn retire(&self) {
        self.hosts().all().for_each(|host| host.retire());
        self.original_dst.retire();
    }

    /// Closes pooled connections that are spent or idle for too long. Returns how many are left.
    fn reap(&self, now: tokio::time::Instant) -> usize {
        let idle_timeout = self.config.idle_timeout;
        let hosts = self.hosts();
        let left: usize = hosts.all().map(|host| host.reap(now, idle_timeout)).sum();
        left + self.original_dst.reap(now, idle_timeout)
    }
}

// === impl ActiveRequest ===

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.cluster.requests.set(self.cluster.requests.get() - 1);
        self.host.add_active(-1);
        self.cluster.stats.upstream_rq_active.dec();
    }
}

// === impl ActiveRetry ===

impl Drop for ActiveRetry {
    fn drop(&mut self) {
        self.0.retries.set(self.0.retries.get() - 1);
    }
}
