//! `envoy.filters.network.connection_limit`: so many connections at a time, over all workers.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Held, Status};
use crate::{
    config::network_filter::ConnectionLimit as Config, factory_context::FactoryContext, stat_set,
    stats::Scope,
};

stat_set! {
    /// `connection_limit.<stat_prefix>.*`, with Envoy's names.
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/connection_limit_filter>
    pub(crate) struct ConnectionLimitStats {
        /// Connections open now.
        active_connections: Gauge,
        /// Connections closed because there were too many.
        limited_connections: Counter,
    }
}

pub(crate) struct ConnectionLimit {
    config: Arc<Config>,
    context: Rc<FactoryContext>,
    /// Connections open now, over all workers.
    open: Arc<AtomicU64>,
    stats: Arc<ConnectionLimitStats>,
}

/// A place among those that are let in, free again when it is dropped.
pub(crate) struct Place {
    open: Arc<AtomicU64>,
    stats: Arc<ConnectionLimitStats>,
}

// === impl ConnectionLimit ===

impl ConnectionLimit {
    pub(super) fn new(config: &Arc<Config>, owner: &str, context: &Rc<FactoryContext>) -> Self {
        let name = format!("connection_limit {owner}");
        Self {
            config: Arc::clone(config),
            context: Rc::clone(context),
            open: context.singletons.get(&name, AtomicU64::default),
            stats: context.registry.register(Scope {
                kind: "connection_limit",
                name: config.stat_prefix.clone(),
                label: "envoy_connection_limit_prefix",
            }),
        }
    }

    pub(super) fn on_new_connection(&self, held: &mut Vec<Held>) -> Status {
        if !self.context.is_set(&self.config.enabled) {
            return Status::Continue;
        }
        let one_more = |open: u64| (open < self.config.max_connections).then_some(open + 1);
        let relaxed = Ordering::Relaxed;
        if self.open.fetch_update(relaxed, relaxed, one_more).is_err() {
            self.stats.limited_connections.inc();
            return Status::Close(self.config.delay);
        }
        self.stats.active_connections.inc();
        held.push(Held::Place(Place {
            open: Arc::clone(&self.open),
            stats: Arc::clone(&self.stats),
        }));
        Status::Continue
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.stats.active_connections.dec();
    }
}
