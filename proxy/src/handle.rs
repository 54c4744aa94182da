//! Moving the phase of a running server, and reading its state.

use std::sync::Arc;

use tokio::sync::watch;
use weir_api::xds::google::protobuf::Any;

use crate::{
    access_log::Reopenings,
    boundary::Boundary,
    cluster::Healths,
    snapshot::{Publisher, Snapshot},
    stats::{Reading, Registry},
    worker::Phase,
    xds::{Inventory, Kind},
};

/// Moves the phase of a running server, and reads its state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    publisher: Publisher,
    phase: Arc<watch::Sender<Phase>>,
    registry: Arc<Registry>,
    boundary: Boundary,
    health: Arc<Healths>,
    /// What the control plane sent; none without one.
    inventory: Option<Arc<Inventory>>,
    reopenings: Arc<Reopenings>,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(
        publisher: Publisher,
        phase: watch::Sender<Phase>,
        registry: Arc<Registry>,
        boundary: Boundary,
        health: Arc<Healths>,
        inventory: Option<Arc<Inventory>>,
        reopenings: Arc<Reopenings>,
    ) -> Self {
        Self {
            publisher,
            phase: Arc::new(phase),
            registry,
            boundary,
            health,
            inventory,
            reopenings,
        }
    }

    /// Starts to tell clients to go elsewhere. Inbound draining may be widened to all, not the
    /// other way round.
    pub fn drain(&self, inbound_only: bool) {
        self.phase.send_if_modified(|phase| {
            let next = Phase::Draining { inbound_only };
            let forward = match *phase {
                Phase::Active => true,
                Phase::Draining { inbound_only: only } => only && !inbound_only,
                Phase::Stopped => false,
            };
            if forward {
                *phase = next;
            }
            forward
        });
    }

    /// Has the files of access logs opened anew, each before its next line: somebody has moved them away.
    pub fn reopen_logs(&self) {
        self.reopenings.ask();
    }

    /// Stops the workers; what is open is dropped.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Stopped);
    }

    /// How far along its life the server is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Downstream connections that are open, over all workers.
    #[must_use]
    pub fn active_connections(&self) -> u64 {
        self.of_listeners("downstream_cx_active", |_| true)
    }

    /// Downstream connections that were ever accepted, over all workers, by listeners on other
    /// ports than this.
    #[must_use]
    pub fn accepted_connections_beside(&self, port: u16) -> u64 {
        let port = format!("_{port}");
        self.of_listeners("downstream_cx_total", |listener| !listener.ends_with(&port))
    }

    /// Downstream connections that have ended, over all workers.
    #[must_use]
    pub fn ended_connections(&self) -> u64 {
        self.of_listeners("downstream_cx_destroy", |_| true)
    }

    /// A statistic summed over the listeners whose names are wanted.
    fn of_listeners(&self, name: &str, is_wanted: impl Fn(&str) -> bool) -> u64 {
        let number = |value: &crate::stats::Value| match value.reading {
            Reading::Gauge(number) => u64::try_from(number).unwrap_or(0),
            Reading::Counter(number) => number,
            _ => 0,
        };
        let scopes = self.registry.read();
        scopes
            .iter()
            .filter(|reading| reading.scope.kind == "listener" && is_wanted(&reading.scope.name))
            .flat_map(|reading| &reading.values)
            .filter(|value| value.name == name)
            .map(number)
            .sum()
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.publisher.current()
    }

    /// Follows the configuration in force.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.publisher.subscribe()
    }

    /// The listener of that name as the control plane sent it last and it was accepted.
    #[must_use]
    pub fn told_listener(&self, name: &str) -> Option<Arc<Any>> {
        let inventory = self.inventory.as_ref()?;
        inventory.message(Kind::Listener, name)
    }

    /// Where stats are read.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Panics contained so far, each of which ended one connection or one turn of a control task.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.boundary.panics()
    }

    pub(crate) fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    /// The health of clusters' hosts.
    pub(crate) fn health(&self) -> &Arc<Healths> {
        &self.health
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}
