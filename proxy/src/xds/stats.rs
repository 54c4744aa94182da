//! Stats of the ADS client, with Envoy's names where Envoy has the stat.

use std::sync::Arc;

use super::Kind;
use crate::{
    stat_set,
    stats::{Registry, Scope},
};

stat_set! {
    /// `control_plane.*`
    pub(crate) struct ControlPlaneStats {
        /// 1 while the stream to the control plane is up.
        connected_state: Gauge,
        /// 1 once a stream was up. 0 for longer than a start takes means that this proxy never
        /// reached the control plane: the log says why, once a minute.
        ever_connected: Gauge,
        /// Demands that wait for an answer.
        pending_requests: Gauge,
    }
}

stat_set! {
    /// `listener_manager.lds.*`, `cluster_manager.cds.*` and the like.
    pub(crate) struct UpdateStats {
        /// Resources whose subscription was not answered in time.
        init_fetch_timeout: Counter,
        /// Requests sent and answers received.
        update_attempt: Counter,
        /// Times the stream broke.
        update_failure: Counter,
        /// Answers with a resource that was refused; the log names resource and field.
        update_rejected: Counter,
        /// Answers taken as a whole.
        update_success: Counter,
        /// When the last answer was taken, milliseconds since 1970.
        update_time: Gauge,
    }
}

stat_set! {
    /// `discovery.*`: discovery by need.
    pub(crate) struct DemandStats {
        /// Destinations asked for.
        demands_total: Counter,
        /// Demands for which there was no room. A rise means that something scans the network.
        demands_dropped: Counter,
        /// Destinations that the control plane knows, in use.
        destinations_present: Gauge,
        /// Destinations that the control plane does not know, remembered for a while.
        destinations_absent: Gauge,
        /// Destinations forgotten because nothing used them.
        destinations_idle: Counter,
    }
}

/// The stat sets of the ADS client. Written by the control thread alone.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(super) control_plane: Arc<ControlPlaneStats>,
    pub(super) demand: Arc<DemandStats>,
    updates: [Arc<UpdateStats>; Kind::COUNT],
}

// === impl Stats ===

impl Stats {
    pub(crate) fn new(registry: &Registry) -> Self {
        let updates = |kind| {
            registry.register(Scope::process(match kind {
                Kind::Cluster => "cluster_manager.cds",
                Kind::Endpoint => "cluster_manager.eds",
                Kind::Listener => "listener_manager.lds",
                Kind::Route => "listener_manager.rds",
                Kind::Secret => "sds",
            }))
        };
        Self {
            control_plane: registry.register(Scope::process("control_plane")),
            demand: registry.register(Scope::process("discovery")),
            updates: Kind::ALL.map(updates),
        }
    }

    pub(super) fn updates(&self, kind: Kind) -> &UpdateStats {
        &self.updates[kind as usize]
    }
}
