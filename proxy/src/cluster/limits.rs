//! Circuit breakers: bounds of what a cluster has in flight, which hold for all workers together.
//!
//! A worker borrows of a bound, a few at a time, and gives back what it holds beyond that: taking a
//! request in costs it a subtraction of its own, and now and then one atomic operation. What others have borrowed and do
//! not use is at most a 16th of the bound, so a cluster refuses at the earliest at 15/16 of it, and
//! never above. Bounds that are too small to be shared out (below 32 a worker) are exact.
//!
//! Connections may be more, as with Envoy: a host that was picked has one in each worker in any case,
//! for requests that wait for it would be served by no other.

mod recent;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    cell::OnceCell,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use self::{stats::LimitGauges, worker::WorkerLimits};
use super::{Cluster, ClusterStats};
use crate::{
    config::{self, circuit_breakers::RoutingPriority},
    singletons::Singletons,
    stats::{Registry, Scope, Within},
};

use shared::SharedLimits;
pub(super) use worker::Leave;

/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Connections, from their dial on.
    Connections,
    /// Requests that wait for a connection.
    PendingRequests,
    /// Requests in flight.
    Requests,
    /// Retries in flight.
    Retries,
}

/// The bounds of a cluster, as one worker keeps to them.
pub(super) struct Limits {
    of_cluster: Arc<OfCluster>,
    default: Rc<WorkerLimits>,
    high: OnceCell<Rc<WorkerLimits>>,
    stats: Arc<ClusterStats>,
    /// A connection is gone, so that another may be made.
    freed: Rc<Notify>,
}

/// The bounds of both priorities, for all workers.
struct OfCluster {
    default: Arc<SharedLimits>,
    high: Arc<SharedLimits>,
    #[expect(
        dead_code,
        reason = "the registry finds it as long as the cluster is used"
    )]
    gauges: [Arc<Within<LimitGauges>>; 2],
}

/// Leave to have a request in flight.
pub(super) type RequestLeave = Leave<{ Resource::Requests as usize }>;

/// Leave to have a request wait for a connection.
pub(super) type PendingLeave = Leave<{ Resource::PendingRequests as usize }>;

/// Leave to have a retry in flight.
pub(crate) type RetryLeave = Leave<{ Resource::Retries as usize }>;

/// Leave to have a connection.
pub(super) struct ConnectionLeave {
    #[expect(dead_code, reason = "held")]
    leave: Leave<{ Resource::Connections as usize }>,
    /// Where connections to one host are bounded.
    to_host: Option<Arc<AtomicU64>>,
}

// === impl Resource ===

impl Resource {
    const ALL: [Self; 4] = [
        Self::Connections,
        Self::PendingRequests,
        Self::Requests,
        Self::Retries,
    ];
    const COUNT: usize = Self::ALL.len();
}

// === impl Limits ===

impl Limits {
    pub(super) fn new(
        config: &Arc<config::Cluster>,
        stats: &Arc<ClusterStats>,
        registry: &Registry,
        singletons: &Singletons,
    ) -> Self {
        // They are those of this configuration: with another one, counts begin anew, as Envoy's do.
        let name = format!("circuit_breakers {} {:p}", config.name, Arc::as_ptr(config));
        let of_cluster = singletons.get(&name, || OfCluster::new(config, registry));
        let freed = Rc::default();
        Self {
            default: Rc::new(WorkerLimits::new(&of_cluster.default, stats, &freed)),
            of_cluster,
            high: OnceCell::new(),
            stats: Arc::clone(stats),
            freed,
        }
    }

    fn of(&self, priority: RoutingPriority) -> &Rc<WorkerLimits> {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => {
                let shared = &self.of_cluster.high;
                let make = || Rc::new(WorkerLimits::new(shared, &self.stats, &self.freed));
                self.high.get_or_init(make)
            }
        }
    }

    /// Leave to have one more in flight; none if the circuit breaker is open.
    pub(super) fn leave<const RESOURCE: usize>(
        &self,
        priority: RoutingPriority,
    ) -> Option<Leave<RESOURCE>> {
        self.of(priority).leave()
    }

    /// Requests that this worker has in flight.
    pub(super) fn requests(&self) -> u32 {
        let of = |limits: &Rc<WorkerLimits>| limits.in_use(Resource::Requests);
        of(&self.default) + self.high.get().map_or(0, of)
    }

    /// Until a connection is gone.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

// === impl OfCluster ===

impl OfCluster {
    fn new(config: &config::Cluster, registry: &Registry) -> Self {
        let breakers = &config.circuit_breakers;
        let [default, high] =
            [breakers.default, breakers.high].map(|of| Arc::new(SharedLimits::new(of)));
        let gauges = [("default", &default), ("high", &high)].map(|(priority, limits)| {
            let scope = Scope::cluster(&config.stat_name);
            let prefix = format!("circuit_breakers.{priority}.");
            registry.register_within(scope, prefix, LimitGauges(Arc::clone(limits)))
        });
        Self {
            default,
            high,
            gauges,
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Leave to have a connection to a host, if the circuit breaker allows it. `needed`: in any case;
    /// an idle one to another host makes way.
    pub(super) fn connection_leave(
        &self,
        host: SocketAddr,
        priority: RoutingPriority,
        needed: bool,
    ) -> Option<ConnectionLeave> {
        let limits = self.limits.of(priority);
        let leave = match limits.leave() {
            Some(leave) => leave,
            None => {
                self.stats.upstream_cx_overflow.inc();
                if !needed {
                    return None;
                }
                self.close_idle();
                limits.leave_in_any_case()
            }
        };
        let thresholds = self.config.circuit_breakers.of(priority);
        let to_host = match thresholds.max_connections_per_host {
            Some(max) => Some(limits.shared.connect_to(host, max, needed)?),
            None => None,
        };
        Some(ConnectionLeave { leave, to_host })
    }
}

// === impl ConnectionLeave ===

impl Drop for ConnectionLeave {
    fn drop(&mut self) {
        if let Some(count) = &self.to_host {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
