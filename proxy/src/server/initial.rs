//! Listeners of the bootstrap wait for the first health checks of its clusters, as in Envoy: what comes
//! before them would be spread over hosts of which nothing is known.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    cluster::Healths,
    config::Cluster,
    net::BoundListener,
    snapshot::{Publisher, Snapshot},
};

/// How long at most.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What waits, and for what. Sockets are bound, so that clients wait rather than fail.
#[derive(Debug)]
pub(super) struct Initial {
    listeners: HashMap<String, Arc<BoundListener>>,
    clusters: Vec<Arc<Cluster>>,
}

// === impl Initial ===

impl Initial {
    /// Takes listeners out of the first snapshot, if they are to wait.
    pub(super) fn hold(snapshot: &mut Snapshot) -> Self {
        let waits = |cluster: &&Arc<Cluster>| cluster.health_check.is_some();
        let clusters: Vec<_> = snapshot.clusters.values().filter(waits).cloned().collect();
        let waits = |_: &String, bound: &mut Arc<BoundListener>| {
            // Those that the control plane replaces are known to it.
            !clusters.is_empty() && !bound.listener.replaceable
        };
        let listeners: HashMap<_, _> = snapshot.listeners.extract_if(waits).collect();
        snapshot.is_initializing = !listeners.is_empty();
        Self {
            listeners,
            clusters,
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Opens them when it is time.
    pub(super) async fn open(self, publisher: Publisher, healths: Arc<Healths>) {
        let warm = async {
            while !self.clusters.iter().all(|cluster| healths.is_warm(cluster)) {
                sleep(LOOK).await;
            }
        };
        if timeout(PATIENCE, warm).await.is_err() {
            tracing::warn!("listeners open although hosts have not all been checked");
        }
        publisher.modify(|snapshot| {
            snapshot.is_initializing = false;
            snapshot.listeners.extend(self.listeners);
        });
    }
}
