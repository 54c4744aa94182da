//! What the control thread does about health: sweeps at intervals.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::{ClusterHealth, Healths, clusters::endpoints_of};
use crate::snapshot::Snapshot;

/// A cluster whose hosts are watched. Dropping it ends that.
struct Watched {
    health: Arc<ClusterHealth>,
    task: AbortHandle,
}

/// Follows the clusters in force, and sweeps those that detect outliers.
pub(crate) async fn run(healths: Arc<Healths>, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut watched: HashMap<Box<str>, Watched> = HashMap::new();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        watched.retain(|name, watched| {
            let now = snapshot.clusters.get(&**name);
            now.is_some_and(|config| Arc::ptr_eq(config, &watched.health.config))
        });
        for (name, config) in &snapshot.clusters {
            if let Some(known) = watched.get(name.as_str()) {
                if let Some(endpoints) = endpoints_of(config, &snapshot) {
                    known.health.assign(snapshot.generation, endpoints);
                }
                continue;
            }
            if let Some(settings) = &config.outlier_detection {
                let health = healths.get(config, &snapshot);
                let task = tokio::spawn(sweep(Arc::clone(&health), settings.interval));
                let task = task.abort_handle();
                watched.insert(name.as_str().into(), Watched { health, task });
            }
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

async fn sweep(health: Arc<ClusterHealth>, interval: std::time::Duration) {
    loop {
        sleep(interval).await;
        health.sweep();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}
