//! A worker: one thread with its own runtime, listening sockets, connection pools, timers and
//! stats. Workers share nothing but the immutable snapshot, the health of hosts and what they lend each
//! other of limits.

use std::{
    io,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use tokio::{runtime::LocalOptions, sync::watch};

use crate::{
    boundary::Boundary, cluster::Healths, connection_log::ConnectionLog, demand::DemandSender,
    flows::Flows, mesh_metrics::MeshMetrics, overload::Overload, secrets::Secrets,
    singletons::Singletons, snapshot::Snapshot, stats::Registry,
};

mod failures;
mod listeners;
mod state;

pub(crate) use state::Worker;

/// What every worker is given.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The configuration in force.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Whether to go on, drain or stop.
    pub phase: watch::Receiver<Phase>,
    /// Where unknown destinations are asked for.
    pub demands: DemandSender,
    /// Where stat sets are registered.
    pub registry: Arc<Registry>,
    /// What filters of all workers have in common.
    pub singletons: Arc<Singletons>,
    /// The health of clusters' hosts.
    pub(crate) health: Arc<Healths>,
    /// Certificates, keys, and what certificates are judged by.
    pub secrets: Arc<Secrets>,
    /// Who calls whom, if that is counted.
    pub mesh_metrics: Option<Arc<MeshMetrics>>,
    /// Remembers who did what at this pod, if somebody wants to know.
    pub flows: Option<Arc<Flows>>,
    /// What is done while memory or connections are too many; none: nothing.
    pub(crate) overload: Option<Arc<Overload>>,
    /// What panics end.
    pub boundary: Boundary,
}

/// How far along its life the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Serving.
    #[default]
    Active,
    /// Still accepting, but telling clients to go elsewhere: HTTP/1 responses carry
    /// `connection: close`, HTTP/2 connections get GOAWAY.
    Draining {
        /// Only inbound listeners: what the pod itself calls works until the end.
        inbound_only: bool,
    },
    /// No more accepting; what is open is dropped.
    Stopped,
}

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    /// Its last connections.
    pub connections: Arc<ConnectionLog>,
    thread: JoinHandle<()>,
}

/// Starts worker number `index`. It runs until the phase is [`Phase::Stopped`].
pub fn spawn(index: usize, shared: Shared) -> io::Result<WorkerHandle> {
    let connections = Arc::new(ConnectionLog::default());
    let log = Arc::clone(&connections);
    let (started, starting) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            // Of this thread alone. A `LocalSet` on a shareable runtime would write to the
            // runtime's eventfd, and wake up for it, each time a socket wakes a task.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let (runtime, result) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Read below, by one who waits for nothing else.
            let _ = started.send(result);
            if let Some(runtime) = runtime {
                let worker = Rc::new(Worker::new(index, shared, log));
                runtime.block_on(worker.run());
                // Connections that are still open go with their runtime.
            }
        })?;
    let lost = || Err(io::Error::other("the worker has ended"));
    starting.recv().unwrap_or_else(|_| lost())?;
    Ok(WorkerHandle {
        connections,
        thread,
    })
}

// === impl WorkerHandle ===

impl WorkerHandle {
    /// Waits for the thread to end. False if it panicked.
    #[must_use]
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}
