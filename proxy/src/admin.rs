//! The admin interface: Envoy's paths and formats over HTTP/1.1, on the control thread.
//!
//! Only the admin address itself ([`Face::Admin`]) shows configuration or changes anything; it is
//! meant for loopback, and refuses requests that a web page could have made. The other faces are
//! read-only and may be exposed.

mod body;
mod certs;
mod clusters;
mod config_dump;
mod connections;
mod control;
mod explain;
mod flows;
mod guard;
mod guards;
mod help;
mod histogram;
mod listeners;
pub mod prometheus;
mod query;
mod redact;
mod reply;
mod routes;
mod runtime;
mod serve;
mod server_info;
mod stats;
mod time;

use std::{collections::BTreeSet, fmt, net::SocketAddr, num::NonZeroUsize, sync::Arc};

use tokio::sync::watch;
use weir_api::xds::envoy::config::bootstrap::v3 as proto;

use crate::{
    boundary::Boundary,
    config::Bootstrap,
    connection_log::ConnectionLog,
    flows::Flows,
    handle::Handle,
    mesh_metrics::MeshMetrics,
    options::{LogFilter, Options},
    secrets::Secrets,
    server_stats::ServerStats,
    worker::Phase,
    xds::{Inventory, Stats as DiscoveryStats},
};

pub(crate) use guards::Guards;
pub(crate) use serve::{bind, serve};

/// What a listening address of the process's own HTTP server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Everything.
    Admin,
    /// `GET /stats/prometheus`.
    Prometheus,
    /// `GET /healthz/ready`.
    Readiness,
    /// `GET /stats/prometheus` and `GET /healthz/ready`.
    Status,
}

/// What the admin interface reads, and what it may change.
#[derive(Debug)]
pub(crate) struct Admin {
    handle: Handle,
    address: Option<SocketAddr>,
    static_clusters: BTreeSet<String>,
    source: proto::Bootstrap,
    started: std::time::SystemTime,
    config_path: String,
    concurrency: NonZeroUsize,
    log_filter: Option<LogFilter>,
    notes: Vec<watch::Receiver<String>>,
    ready: Option<watch::Receiver<bool>>,
    mesh_metrics: Option<Arc<MeshMetrics>>,
    flows: Option<Arc<Flows>>,
    logs: Vec<Arc<ConnectionLog>>,
    stats: ServerStats,
    discovery_stats: Arc<DiscoveryStats>,
    inventory: Option<Arc<Inventory>>,
    secrets: Arc<Secrets>,
    guards: Guards,
}

/// State as `/ready` and `/server_info` name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    Draining,
    PreInitializing,
}

// === impl Admin ===

impl Admin {
    pub(crate) fn new(
        handle: Handle,
        bootstrap: &Bootstrap,
        options: Options,
        logs: Vec<Arc<ConnectionLog>>,
        address: Option<SocketAddr>,
        inventory: Option<Arc<Inventory>>,
        secrets: Arc<Secrets>,
    ) -> Self {
        let stats = ServerStats::new(handle.registry());
        let workers = i64::try_from(options.concurrency.get()).unwrap_or(i64::MAX);
        stats.server.concurrency.set(workers);
        let (listeners, clusters) = (bootstrap.listeners.len(), bootstrap.clusters.len());
        stats.listeners.listener_added.add(listeners as u64);
        stats
            .listeners
            .listener_create_success
            .add((listeners * logs.len()) as u64);
        stats.clusters.cluster_added.add(clusters as u64);
        Self {
            discovery_stats: Arc::new(DiscoveryStats::new(handle.registry())),
            inventory,
            secrets,
            guards: Guards::new(handle.registry(), &options.read_only.probes),
            static_clusters: bootstrap.clusters.iter().map(|c| c.name.clone()).collect(),
            started: std::time::SystemTime::now(),
            handle,
            address,
            source: options.source,
            config_path: options.config_path,
            concurrency: options.concurrency,
            log_filter: options.log_filter,
            notes: options.notes,
            ready: options.ready,
            mesh_metrics: options.mesh_metrics,
            flows: options.flows,
            logs,
            stats,
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(crate) fn concurrency(&self) -> NonZeroUsize {
        self.concurrency
    }

    pub(crate) fn stats(&self) -> &ServerStats {
        &self.stats
    }

    pub(crate) fn discovery_stats(&self) -> Arc<DiscoveryStats> {
        Arc::clone(&self.discovery_stats)
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.guards
    }

    pub(crate) fn boundary(&self) -> &Boundary {
        self.handle.boundary()
    }

    fn state(&self) -> State {
        match self.handle.phase() {
            Phase::Draining { .. } | Phase::Stopped => State::Draining,
            Phase::Active if self.handle.snapshot().is_waiting() => State::PreInitializing,
            Phase::Active if self.ready.as_ref().is_none_or(|ready| *ready.borrow()) => State::Live,
            Phase::Active => State::PreInitializing,
        }
    }

    /// Brings the gauges that are not moved by events up to date.
    fn refresh(&self) {
        let snapshot = self.handle.snapshot();
        let set = |gauge: &crate::stats::Gauge, value: usize| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let listeners = snapshot.listeners.len() + self.destinations(&snapshot).count();
        set(&self.stats.listeners.total_listeners_active, listeners);
        set(
            &self.stats.clusters.active_clusters,
            snapshot.clusters.len(),
        );
        let connections = self.handle.active_connections();
        self.stats.refresh(self.handle.phase(), connections);
        self.guards.refresh();
    }
}

// === impl Face ===

impl Face {
    /// All there are.
    pub(crate) const ALL: [Self; 4] =
        [Self::Admin, Self::Prometheus, Self::Readiness, Self::Status];

    /// In names of statistics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Prometheus => "prometheus",
            Self::Readiness => "readiness",
            Self::Status => "status",
        }
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin interface",
            Self::Prometheus => "Prometheus listener",
            Self::Readiness => "readiness listener",
            Self::Status => "status listener",
        })
    }
}

// === impl State ===

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::PreInitializing => "PRE_INITIALIZING",
        }
    }
}

#[cfg(test)]
mod tests;
