//! What a worker holds.

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{Phase, Shared, listeners::Listeners};
use crate::{
    buffer, cluster::Clusters, connection_log::ConnectionLog, factory_context::FactoryContext,
    http::codec::h2, listener::ConnectionHandler, net::tls, snapshot::Snapshot,
};

/// How often a worker gives up buffers that it has not needed since the last time.
const STOCK_PERIOD: Duration = Duration::from_secs(10);

/// The state of one worker. Lives on its thread alone.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Shared,
    pub(crate) handler: Rc<ConnectionHandler>,
    listeners: Listeners,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(index: usize, shared: Shared, log: Arc<ConnectionLog>) -> Self {
        let snapshot = Arc::clone(&shared.snapshot.borrow());
        let clusters = Clusters::new(
            Arc::clone(&snapshot),
            Arc::clone(&shared.registry),
            Arc::clone(&shared.singletons),
            Arc::clone(&shared.health),
            Arc::clone(&shared.secrets),
            shared.boundary.clone(),
        );
        let mesh_metrics = shared.mesh_metrics.as_ref();
        let mesh_metrics = mesh_metrics.map(|it| it.reporter(&snapshot, shared.demands.clone()));
        let flows = shared.flows.as_ref().map(|flows| flows.recorder());
        let context = FactoryContext::new(
            &snapshot,
            Rc::new(clusters),
            Arc::clone(&shared.registry),
            Arc::clone(&shared.singletons),
            Arc::clone(&shared.secrets),
            mesh_metrics,
            flows,
            shared.overload.clone(),
        );
        let handler =
            ConnectionHandler::new(&snapshot, Rc::new(context), shared.demands.clone(), log);
        Self {
            index,
            handler: Rc::new(handler),
            listeners: Listeners::default(),
            shared,
        }
    }

    /// Follows the snapshot until the process stops.
    pub(super) async fn run(self: Rc<Self>) {
        tokio::select! {
            () = self.follow() => {}
            () = self.age() => {}
        }
        // Pooled connections hold the cluster that holds them.
        self.handler.context.clusters.retire();
    }

    /// What a burst needed is not kept for the next one.
    async fn age(&self) {
        loop {
            tokio::time::sleep(STOCK_PERIOD).await;
            buffer::age_stock();
            h2::age_stock();
            tls::age_stock();
            if let Some(reporter) = &self.handler.context.mesh_metrics {
                reporter.age();
            }
            if let Some(flows) = &self.handler.context.flows {
                flows.age();
            }
        }
    }

    async fn follow(self: &Rc<Self>) {
        let (mut snapshots, mut phases) = (self.shared.snapshot.clone(), self.shared.phase.clone());
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let phase = *phases.borrow_and_update();
            // What it did not get to, the next snapshot brings.
            let apply = || self.apply(&snapshot, phase);
            self.shared.boundary.call(apply);
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                changed = phases.changed() => if changed.is_err() { return },
            }
            if *phases.borrow() == Phase::Stopped {
                return;
            }
        }
    }

    fn apply(self: &Rc<Self>, snapshot: &Arc<Snapshot>, phase: Phase) {
        self.handler.context.apply(snapshot);
        self.listeners.apply(self, snapshot);
        self.handler.apply(snapshot);
        if let Phase::Draining { inbound_only } = phase {
            self.listeners.drain(inbound_only);
            if !inbound_only {
                self.handler.drain();
            }
        }
    }
}
