//! Mesh metrics: who calls whom, how often, how well, and for how long, in Istio's shape:
//! `<prefix>_requests_total` and its siblings, by workload and service of both ends.
//!
//! Both sidecars of a call report it, the client's as `source`, the server's as `destination`. What is
//! counted is a *series*, found by its [`Key`] in the worker's own table ([`Reporter`]), without a lock
//! and without memory for one that is there. The control thread adds up the tables of all workers
//! when somebody reads them ([`MeshMetrics::text`]).
//!
//! Labels name workloads and services, never addresses, paths or what a client says of itself. Their
//! number is bounded: beyond [`MAX_SERIES`] of a worker, all that is new counts for one series whose
//! labels are `overflow`; what nothing has counted for an hour is forgotten.
//!
//! <https://istio.io/latest/docs/reference/config/metrics/>

mod key;
mod labels;
mod peers;
mod reporter;
mod series;
mod shard;
mod text;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use weir_api::{mesh_metrics::Label, workload::Workload};

use self::{
    key::{End, Key, Kind, Protocol, Security, Side},
    shard::Shard,
};
use crate::{demand::DemandSender, snapshot::Snapshot};

pub(crate) use self::{
    reporter::Reporter,
    series::Event,
    text::{MetricKind, Text},
};

/// Series that a worker holds.
pub const MAX_SERIES: usize = 1_000;

/// How the metrics are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What their names begin with, before `_requests_total`: `weir`, or `istio` for dashboards that
    /// know those.
    pub prefix: String,
    /// The workload of this process.
    pub own: Workload,
    /// `source_cluster` and `destination_cluster`.
    pub cluster: String,
    /// Labels that are left out; series that differ in nothing else are one then.
    pub without: Vec<Label>,
}

/// The mesh metrics of all workers.
#[derive(Debug)]
pub struct MeshMetrics {
    settings: Settings,
    shards: Mutex<Vec<Weak<Shard>>>,
}

// === impl MeshMetrics ===

impl MeshMetrics {
    /// Without a worker yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            shards: Mutex::default(),
        })
    }

    /// What one worker counts with.
    pub(crate) fn reporter(&self, snapshot: &Arc<Snapshot>, demands: DemandSender) -> Reporter {
        let shard = Arc::<Shard>::default();
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.push(Arc::downgrade(&shard));
        Reporter::new(shard, snapshot, demands)
    }

    /// All series now, to be written in Prometheus' text format: those of metrics that `wanted` takes by
    /// name and kind.
    pub(crate) fn text(&self, wanted: &dyn Fn(&str, MetricKind) -> bool) -> Text {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let shards: Vec<Arc<Shard>> = shards.iter().filter_map(Weak::upgrade).collect();
        Text::read(&self.settings, &shards, wanted)
    }
}

#[cfg(test)]
mod tests;
