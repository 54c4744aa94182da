//! What a filter is built with, as Envoy's `FactoryContext`: the parts of a worker that filters use.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
};

use crate::{
    access_log::{AccessLogFiles, Reopenings},
    cluster::Clusters,
    config::{RouteConfiguration, feature_flag::FeatureFlag},
    flows::FlowRecorder,
    http::{codec::h1::partial::HeldByHeads, h2::stats::Http2Stats},
    mesh_metrics::Reporter,
    overload::Overload,
    runtime::Runtime,
    secrets::Secrets,
    singletons::Singletons,
    snapshot::Snapshot,
    stats::{Registry, Scope},
};

/// What a filter is built with. One a worker.
pub(crate) struct FactoryContext {
    pub(crate) clusters: Rc<Clusters>,
    pub(crate) routes: Routes,
    pub(crate) registry: Arc<Registry>,
    pub(crate) singletons: Arc<Singletons>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) access_logs: AccessLogFiles,
    /// What request heads hold that are not whole yet.
    pub(crate) heads: HeldByHeads,
    http2: OnceCell<Arc<Http2Stats>>,
    /// Who calls whom, if that is counted.
    pub(crate) mesh_metrics: Option<Reporter>,
    /// Who did what at this pod, if that is remembered.
    pub(crate) flows: Option<FlowRecorder>,
    /// What is done while memory or connections are too many; none: nothing.
    pub(crate) overload: Option<Arc<Overload>>,
}

/// The route configurations that came by themselves, over RDS.
pub(crate) struct Routes {
    snapshot: RefCell<Arc<Snapshot>>,
    /// Counts snapshots, so that what is derived from one can tell when it is out of date.
    generation: Cell<u64>,
}

// === impl FactoryContext ===

impl FactoryContext {
    pub(crate) fn new(
        snapshot: &Arc<Snapshot>,
        clusters: Rc<Clusters>,
        registry: Arc<Registry>,
        singletons: Arc<Singletons>,
        secrets: Arc<Secrets>,
        mesh_metrics: Option<Reporter>,
        overload: Option<Arc<Overload>>,
    ) -> Self {
        let reopenings = Reopenings::of(&singletons);
        Self {
            clusters,
            routes: Routes {
                snapshot: RefCell::new(Arc::clone(snapshot)),
                generation: Cell::new(0),
            },
            registry,
            singletons,
            secrets,
            access_logs: AccessLogFiles::new(reopenings),
            heads: HeldByHeads::default(),
            http2: OnceCell::new(),
            mesh_metrics,
            flows: None,
            overload,
        }
    }

    /// Whether a flag is set, by its runtime key or by itself.
    pub(crate) fn is_set(&self, flag: &FeatureFlag) -> bool {
        match flag.key.as_str() {
            "" => flag.default,
            key => self.routes.runtime().boolean(key, flag.default),
        }
    }

    /// Of HTTP/2 with clients; there once somebody speaks it, as in Envoy.
    pub(crate) fn http2_stats(&self) -> &Http2Stats {
        self.http2
            .get_or_init(|| self.registry.register(Scope::process("http2")))
    }

    /// Brings clusters and routes in line with a new snapshot.
    pub(crate) fn apply(&self, snapshot: &Arc<Snapshot>) {
        self.routes.apply(snapshot);
        self.clusters.apply(snapshot);
        if let Some(reporter) = &self.mesh_metrics {
            reporter.apply(snapshot);
        }
    }
}

// === impl Routes ===

impl Routes {
    /// Moves whenever a route configuration may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// A route configuration by its name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<RouteConfiguration>> {
        self.snapshot.borrow().routes.get(name).cloned()
    }

    /// The values that override the configuration.
    pub(crate) fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.snapshot.borrow().runtime)
    }

    fn apply(&self, snapshot: &Arc<Snapshot>) {
        *self.snapshot.borrow_mut() = Arc::clone(snapshot);
        self.generation.set(self.generation.get() + 1);
    }
}
