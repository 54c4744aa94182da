//! What a fault filter counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    stat_set,
    stats::{Gauge, Reading, Registry, Scope, StatSet, Value, Within},
};

/// Downstream clusters that are counted apart: a header names them, so that there is no end of them.
const MAX_CLUSTERS: usize = 100;

stat_set! {
    /// `http.<stat_prefix>.fault.*`
    pub(super) struct GeneralStats {
        /// Requests answered by an injected fault.
        aborts_injected: Counter,
        /// Requests held back by an injected fault.
        delays_injected: Counter,
        /// Faults not injected because too many were active.
        faults_overflow: Counter,
        /// Responses slowed down by an injected fault.
        response_rl_injected: Counter,
        /// Requests with an injected fault now.
        active_faults: Gauge,
    }
}

/// What a fault filter counts, in all and by downstream cluster:
/// `http.<stat_prefix>.fault.<downstream_cluster>.*`.
#[derive(Debug, Default)]
pub(in crate::filter::http) struct FaultStats {
    pub(super) general: GeneralStats,
    by_cluster: Mutex<BTreeMap<Box<str>, OfCluster>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct OfCluster {
    aborts: u64,
    delays: u64,
}

/// A request with an injected fault, on the gauge while it lasts.
pub(super) struct ActiveFault<'s>(&'s Gauge);

// === impl FaultStats ===

impl FaultStats {
    pub(in crate::filter::http) fn register(
        registry: &Registry,
        scope: &Scope,
    ) -> Arc<Within<Self>> {
        registry.register_within(scope.clone(), "fault.", Self::default())
    }

    /// One more active fault, if there are fewer than `limit`.
    pub(super) fn begin(&self, limit: u64) -> Option<ActiveFault<'_>> {
        let active = &self.general.active_faults;
        if u64::try_from(active.get()).unwrap_or(0) >= limit {
            self.general.faults_overflow.inc();
            return None;
        }
        active.inc();
        Some(ActiveFault(active))
    }

    pub(super) fn count_delay(&self, downstream_cluster: Option<&str>) {
        self.general.delays_injected.inc();
        self.count(downstream_cluster, |counts| counts.delays += 1);
    }

    pub(super) fn count_abort(&self, downstream_cluster: Option<&str>) {
        self.general.aborts_injected.inc();
        self.count(downstream_cluster, |counts| counts.aborts += 1);
    }

    fn count(&self, downstream_cluster: Option<&str>, count: impl FnOnce(&mut OfCluster)) {
        let Some(name) = downstream_cluster else {
            return;
        };
        let mut clusters = self
            .by_cluster
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if clusters.len() < MAX_CLUSTERS || clusters.contains_key(name) {
            count(clusters.entry(name.into()).or_default());
        }
    }
}

impl StatSet for FaultStats {
    fn visit(&self, visit: &mut dyn FnMut(Value)) {
        self.general.visit(visit);
        let clusters = self
            .by_cluster
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (name, counts) in &*clusters {
            let mut counter = |what: &str, help, value| {
                visit(Value {
                    name: format!("{name}.{what}").into(),
                    help,
                    label: None,
                    reading: Reading::Counter(value),
                });
            };
            let aborts = "Requests of a downstream cluster answered by an injected fault.";
            let delays = "Requests of a downstream cluster held back by an injected fault.";
            counter("aborts_injected", aborts, counts.aborts);
            counter("delays_injected", delays, counts.delays);
        }
    }
}

// === impl ActiveFault ===

impl Drop for ActiveFault<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
