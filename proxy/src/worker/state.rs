//! What a worker holds.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    Phase, Shared,
    destinations::{Destinations, Found},
    listeners::Listeners,
};
use crate::{
    access_log::AccessLogFiles,
    buffer,
    cluster::Clusters,
    config::RouteConfiguration,
    connection_log::ConnectionLog,
    http::codec::h2,
    listener::ActiveListener,
    snapshot::{DestinationListener, Snapshot},
};

/// How often a worker gives up buffers that it has not needed since the last time.
const STOCK_PERIOD: Duration = Duration::from_secs(10);

/// The state of one worker. Lives on its thread alone.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Shared,
    pub(crate) log: Arc<ConnectionLog>,
    pub(crate) clusters: Rc<Clusters>,
    pub(crate) access_logs: AccessLogFiles,
    snapshot: RefCell<Arc<Snapshot>>,
    /// Counts snapshots, so that what is derived from one can tell when it is out of date.
    generation: Cell<u64>,
    listeners: Listeners,
    destinations: Destinations,
}

/// What a burst needed is not kept for the next one.
async fn age_stocks() {
    loop {
        tokio::time::sleep(STOCK_PERIOD).await;
        buffer::age_stock();
        h2::age_stock();
    }
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(index: usize, shared: Shared, log: Arc<ConnectionLog>) -> Self {
        let snapshot = Arc::clone(&shared.snapshot.borrow());
        let clusters = Clusters::new(
            Arc::clone(&snapshot),
            Arc::clone(&shared.registry),
            shared.boundary.clone(),
        );
        Self {
            index,
            log,
            clusters: Rc::new(clusters),
            access_logs: AccessLogFiles::default(),
            snapshot: RefCell::new(snapshot),
            generation: Cell::new(0),
            listeners: Listeners::default(),
            destinations: Destinations::default(),
            shared,
        }
    }

    /// Follows the snapshot until the process stops.
    pub(super) async fn run(self: Rc<Self>) {
        tokio::select! {
            () = self.follow() => {}
            () = age_stocks() => {}
        }
        // Pooled connections hold the cluster that holds them.
        self.clusters.retire();
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
        *self.snapshot.borrow_mut() = Arc::clone(snapshot);
        self.generation.set(self.generation.get() + 1);
        self.clusters.apply(snapshot);
        self.listeners.apply(self, snapshot);
        self.destinations.apply(snapshot);
        if let Phase::Draining { inbound_only } = phase {
            self.listeners.drain(inbound_only);
            if !inbound_only {
                self.destinations.drain();
            }
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// A route configuration from RDS.
    pub(crate) fn routes(&self, name: &str) -> Option<Arc<RouteConfiguration>> {
        self.snapshot.borrow().routes.get(name).cloned()
    }

    /// The listener for an original destination, asked for if need be; none if `from` itself is
    /// to serve the connection.
    pub(crate) async fn destination(
        &self,
        destination: SocketAddr,
        from: &ActiveListener,
    ) -> Option<(Arc<DestinationListener>, Rc<ActiveListener>)> {
        let find = || {
            self.destinations
                .find(&self.snapshot.borrow(), destination, &self.shared)
        };
        match find() {
            Found::Listener(known, listener) => return Some((known, listener)),
            Found::Nothing => return None,
            Found::Unknown => {}
        }
        let on_demand = from.config.on_demand?;
        let demand = crate::demand::Demand { destination };
        let asked = self.shared.demands.try_send(demand).is_ok();
        if !asked || !self.snapshot.borrow().discovery_available {
            from.stats.on_demand_timeout.inc();
            return None;
        }
        let answer = async {
            loop {
                self.destinations.changed().await;
                match find() {
                    Found::Listener(known, listener) => return Some((known, listener)),
                    Found::Nothing => return None,
                    Found::Unknown => {}
                }
            }
        };
        let answer = tokio::time::timeout(on_demand.timeout, answer).await;
        answer.unwrap_or_else(|_| {
            from.stats.on_demand_timeout.inc();
            None
        })
    }
}
