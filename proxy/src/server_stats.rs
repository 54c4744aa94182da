//! Stats of the process, with Envoy's names.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    stat_set,
    stats::{Registry, Scope},
    worker::Phase,
};

stat_set! {
    /// `server.*`
    pub(crate) struct Process {
        /// Worker threads.
        concurrency: Gauge,
        /// Time from start to serving.
        initialization_time_ms: Histogram,
        /// 1 while the process serves and does not drain.
        live: Gauge,
        /// Bytes of heap in use, of all the process's private memory.
        memory_allocated: Gauge,
        /// Bytes of private memory.
        memory_heap_size: Gauge,
        /// Bytes of resident memory.
        memory_physical_size: Gauge,
        /// 0 live, 1 draining, 2 before initialization, 3 initializing.
        state: Gauge,
        /// Downstream connections open, over all listeners.
        total_connections: Gauge,
        /// Seconds since the start.
        uptime: Gauge,
    }
}

stat_set! {
    /// `listener_manager.*`
    pub(crate) struct ListenerManager {
        /// Listeners added, static ones included.
        listener_added: Counter,
        /// Listeners that could not be bound.
        listener_create_failure: Counter,
        /// Listeners that were bound on all workers.
        listener_create_success: Counter,
        /// Listeners replaced by an update.
        listener_modified: Counter,
        /// Listeners removed.
        listener_removed: Counter,
        /// Listeners in force.
        total_listeners_active: Gauge,
        /// Listeners that wait for what they refer to.
        total_listeners_warming: Gauge,
        /// 1 once the workers run.
        workers_started: Gauge,
    }
}

stat_set! {
    /// `cluster_manager.*`
    pub(crate) struct ClusterManager {
        /// Clusters in force.
        active_clusters: Gauge,
        /// Clusters added, static ones included.
        cluster_added: Counter,
        /// Clusters replaced by an update.
        cluster_modified: Counter,
        /// Clusters removed.
        cluster_removed: Counter,
        /// Clusters that wait for their endpoints.
        warming_clusters: Gauge,
    }
}

/// The stat sets of the process. Written by the control thread alone.
#[derive(Debug)]
pub(crate) struct ServerStats {
    started: Instant,
    pub(crate) server: Arc<Process>,
    pub(crate) listeners: Arc<ListenerManager>,
    pub(crate) clusters: Arc<ClusterManager>,
}

/// Memory of the process, bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) physical: u64,
    /// Private and written to.
    pub(crate) private: u64,
}

// === impl ServerStats ===

impl ServerStats {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            started: Instant::now(),
            server: registry.register(Scope::process("server")),
            listeners: registry.register(Scope::process("listener_manager")),
            clusters: registry.register(Scope::process("cluster_manager")),
        }
    }

    /// The workers run, after `elapsed`.
    pub(crate) fn started(&self, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.server.initialization_time_ms.record_us(us);
        self.listeners.workers_started.set(1);
    }

    /// Since the start.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Brings the gauges that nobody moves up to date, before they are read.
    pub(crate) fn refresh(&self, phase: Phase, connections: u64) {
        let set = |gauge: &crate::stats::Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let memory = Memory::read();
        set(&self.server.uptime, self.uptime().as_secs());
        set(&self.server.live, u64::from(phase == Phase::Active));
        set(&self.server.state, u64::from(phase != Phase::Active));
        set(&self.server.total_connections, connections);
        set(&self.server.memory_allocated, memory.private);
        set(&self.server.memory_heap_size, memory.private);
        set(&self.server.memory_physical_size, memory.physical);
    }
}

// === impl Memory ===

impl Memory {
    /// From /proc/self/status; zeros where there is none.
    pub(crate) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        };
        Self {
            physical: field("VmRSS:").unwrap_or(0),
            private: field("RssAnon:").unwrap_or(0),
        }
    }
}
