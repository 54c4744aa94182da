//! Moving the phase of a running server, and reading its state.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    snapshot::{Publisher, Snapshot},
    stats::{Reading, Registry},
    worker::Phase,
};

/// Moves the phase of a running server, and reads its state. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    publisher: Publisher,
    phase: Arc<watch::Sender<Phase>>,
    registry: Arc<Registry>,
}

// === impl Handle ===

impl Handle {
    pub(super) fn new(
        publisher: Publisher,
        phase: watch::Sender<Phase>,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            publisher,
            phase: Arc::new(phase),
            registry,
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
        let open = |value: &crate::stats::Value| match value.reading {
            Reading::Gauge(open) if value.name == "downstream_cx_active" => {
                u64::try_from(open).unwrap_or(0)
            }
            _ => 0,
        };
        let scopes = self.registry.read();
        scopes
            .iter()
            .filter(|reading| reading.scope.kind == "listener")
            .flat_map(|reading| &reading.values)
            .map(open)
            .sum()
    }

    /// The configuration in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.publisher.current()
    }

    /// Where stats are read.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}
