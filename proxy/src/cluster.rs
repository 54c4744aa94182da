//! Clusters as a worker uses them: endpoints, load balancing, connection pools.

mod aggregate;
mod auto;
mod balancer;
mod client_hash;
mod connect;
mod context;
mod dns;
mod edf;
#[cfg(test)]
mod fixture;
mod forward_proxy;
mod group;
mod hashing;
mod health;
mod health_check;
mod host;
mod host_set;
mod http2;
mod limits;
mod manager;
mod original_dst;
mod outlier;
mod override_host;
mod pool;
mod priority_load;
mod random;
mod stats;
mod transport_socket;

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use self::{
    balancer::Balancer,
    limits::{Limits, RequestLeave},
    transport_socket::UpstreamSockets,
};
use crate::{
    config::{self, LoadAssignment, circuit_breakers::RoutingPriority, cluster::ClusterDiscovery},
    dns_cache::DnsCaches,
    info::ConnectionInfo,
    net::proxy_header::Client,
    secrets::Secrets,
    singletons::Singletons,
    snapshot::Snapshot,
    stats::Registry,
};

pub(crate) use auto::Place;
pub(crate) use client_hash::{ClientHash, Subject};
pub(crate) use connect::{DialError, Upstream, micros};
pub use context::LoadBalancerContext;
pub(crate) use dns::Names;
pub(crate) use forward_proxy::{ForwardProxies, Unresolved};
pub(crate) use health::{ClusterHealth, HealthFlags, Healths, endpoints_of, run as keep_health};
pub(crate) use health_check::Surroundings as HealthSurroundings;
pub use host::{Host, Tried};
pub(crate) use host_set::HostSet;
pub(crate) use http2::Http2Lease;
pub(crate) use limits::RetryLeave;
pub use manager::Clusters;
pub(crate) use original_dst::Said;
pub(crate) use outlier::{Outcome, Rates};
pub use override_host::OverrideHost;
pub use stats::ClusterStats;

/// A cluster in one worker.
pub struct Cluster {
    pub(crate) config: Arc<config::Cluster>,
    pub(crate) stats: Arc<ClusterStats>,
    sockets: UpstreamSockets,
    hosts: RefCell<Rc<HostSet>>,
    /// What all workers know of these.
    health: Arc<ClusterHealth>,
    balancer: Balancer,
    /// Of an aggregate: which of its clusters gets how much.
    shares: aggregate::Shares,
    original_dst: original_dst::Hosts,
    /// Of one whose hosts are the names that requests bring.
    forward_proxy: Option<Box<forward_proxy::Hosts>>,
    /// What may be in flight.
    limits: Limits,
    /// Whether an endpoint has answered in HTTP. What speaks HTTP does not speak first, so
    /// connections that say nothing yet are not dialled for ahead of time.
    spoke_http: Cell<bool>,
}

/// What a cluster is made of.
struct Parts {
    /// How bytes travel to its endpoints.
    sockets: UpstreamSockets,
    /// What may be in flight.
    limits: Limits,
    balancer: Balancer,
    forward_proxy: Option<Box<forward_proxy::Hosts>>,
}

/// A request in flight, for circuit breakers and least-request.
pub(crate) struct ActiveRequest {
    leave: RequestLeave,
    host: Rc<Host>,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster without secrets, whose stats go to `stats`. `endpoints` are those of EDS.
    #[must_use]
    pub fn new(
        config: &Arc<config::Cluster>,
        stats: Arc<ClusterStats>,
        endpoints: Option<&Arc<LoadAssignment>>,
    ) -> Self {
        let registry = Arc::new(Registry::default());
        let sockets = UpstreamSockets::new(
            config,
            &registry,
            &Singletons::default(),
            &Secrets::default(),
        );
        let health = Healths::new(&registry).get(config, &Snapshot::default());
        let limits = Limits::new(config, &stats, &registry, &Singletons::default());
        let caches = DnsCaches::default();
        let parts = Parts {
            sockets,
            limits,
            balancer: Balancer::default(),
            forward_proxy: forward_proxy::Hosts::of(config, &caches, &registry),
        };
        Self::with_parts(config, stats, (endpoints, health), parts)
    }

    /// The same, of parts.
    fn with_parts(
        config: &Arc<config::Cluster>,
        stats: Arc<ClusterStats>,
        (endpoints, health): (Option<&Arc<LoadAssignment>>, Arc<ClusterHealth>),
        Parts {
            sockets,
            limits,
            balancer,
            forward_proxy,
        }: Parts,
    ) -> Self {
        let cluster = Self {
            config: Arc::clone(config),
            stats,
            sockets,
            hosts: RefCell::default(),
            health,
            balancer,
            shares: aggregate::Shares::default(),
            original_dst: original_dst::Hosts::default(),
            forward_proxy,
            limits,
            spoke_http: Cell::new(false),
        };
        let of_config = match &config.discovery {
            ClusterDiscovery::Static(endpoints) => Some(endpoints),
            ClusterDiscovery::Eds(_)
            | ClusterDiscovery::Dns(_)
            | ClusterDiscovery::Aggregate(_)
            | ClusterDiscovery::ForwardProxy(_)
            | ClusterDiscovery::OriginalDst => endpoints,
        };
        cluster.health.note_worker(&cluster.stats);
        if let Some(endpoints) = of_config {
            cluster.set_endpoints(endpoints);
        }
        cluster
    }

    /// Takes over a new set of endpoints. Hosts whose address stays keep their connections.
    pub fn set_endpoints(&self, endpoints: &Arc<LoadAssignment>) {
        let cluster = (&*self.config, &self.balancer);
        // Those that stay for their health are known to all workers.
        let all = self.health.checked_endpoints();
        let endpoints = all.as_ref().unwrap_or(endpoints);
        let hosts = self.hosts().update(endpoints, cluster, &self.health);
        self.hosts.replace(Rc::new(hosts));
    }

    /// The hosts as their health is now.
    fn current(&self) -> Rc<HostSet> {
        let hosts = self.hosts();
        if !hosts.is_behind(&self.health, &self.balancer) {
            return hosts;
        }
        if let Some(all) = self.health.checked_endpoints()
            && !hosts.is_of(&all)
        {
            self.set_endpoints(&all);
            return self.hosts();
        }
        hosts.all().for_each(|host| host.heed_failures());
        self.regroup()
    }

    /// Groups the hosts anew.
    fn regroup(&self) -> Rc<HostSet> {
        let cluster = (&*self.config, &self.balancer);
        let hosts = Rc::new(self.hosts().regroup(cluster, &self.health));
        self.hosts.replace(Rc::clone(&hosts));
        hosts
    }

    /// Counts a request in; none if the circuit breaker is open.
    pub(crate) fn begin_request(
        self: &Rc<Self>,
        host: &Rc<Host>,
        priority: RoutingPriority,
    ) -> Option<ActiveRequest> {
        let Some(leave) = self.limits.leave(priority) else {
            self.stats.upstream_rq_pending_overflow.inc();
            return None;
        };
        host.add_active(1);
        self.stats.upstream_rq_active.inc();
        Some(ActiveRequest {
            leave,
            host: Rc::clone(host),
        })
    }

    /// Counts a retry in; none if the circuit breaker is open.
    pub(crate) fn begin_retry(self: &Rc<Self>, priority: RoutingPriority) -> Option<RetryLeave> {
        self.limits.leave(priority)
    }

    /// Whether endpoints may be told of clients.
    pub(crate) fn tells_of_clients(&self) -> bool {
        let mut others = self.config.transport_socket_matches.iter();
        self.config.proxy_protocol.is_some() || others.any(|it| it.proxy_protocol.is_some())
    }

    /// The host as it is dialled for a client, where the endpoint is told of that.
    pub(crate) fn told_of(&self, host: Rc<Host>, client: &Rc<Client>) -> Rc<Host> {
        let said = host.transport_socket_match.as_deref();
        match self.sockets.proxy_protocol(said) {
            Some(_) => host.of_client(client),
            None => host,
        }
    }

    /// As [`Self::told_of`], for the client of a connection.
    pub(crate) fn of_client(&self, host: Rc<Host>, connection: &ConnectionInfo) -> Rc<Host> {
        match self.tells_of_clients() {
            true => self.told_of(host, &Rc::new(connection.as_client())),
            false => host,
        }
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
        if let Some(hosts) = &self.forward_proxy {
            hosts.retire();
        }
    }

    /// Closes a connection that carries no request, so that another can be made. Whether there was
    /// one.
    fn close_idle(&self) -> bool {
        let hosts = self.hosts();
        let of_names = self.forward_proxy.as_ref();
        hosts.all().any(|host| host.close_idle())
            || self.original_dst.close_idle()
            || of_names.is_some_and(|hosts| hosts.close_idle())
    }

    /// Closes pooled connections that are spent or idle for too long. Returns how many are left.
    fn reap(&self, now: tokio::time::Instant) -> usize {
        let idle_timeout = self.config.idle_timeout;
        let hosts = self.hosts();
        let left: usize = hosts.all().map(|host| host.reap(now, idle_timeout)).sum();
        let of_names = self.forward_proxy.as_ref();
        left + self.original_dst.reap(now, idle_timeout)
            + of_names.map_or(0, |hosts| hosts.reap(now, idle_timeout))
    }
}

// === impl ActiveRequest ===

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.host.add_active(-1);
        self.leave.stats().upstream_rq_active.dec();
    }
}
