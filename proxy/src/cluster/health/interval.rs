//! What the control thread does about health: sweeps at intervals, and checks of hosts.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::{
    super::health_check::{self, Surroundings},
    ClusterHealth,
};
use crate::{config, snapshot::Snapshot};

/// A cluster whose hosts are watched. Dropping it ends that.
struct Watched {
    health: Arc<ClusterHealth>,
    /// Its hosts are ejected and brought back.
    sweeps: Option<AbortHandle>,
    /// They are asked how they are.
    checks: Option<AbortHandle>,
}

/// Follows the clusters in force, and those that are to be, sweeps those that detect outliers and checks
/// the hosts of those that say how.
pub(crate) async fn run(surroundings: Surroundings, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        watched = follow(watched, &snapshot, &surroundings);
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// Whom to watch from now on.
fn follow(
    watched: Vec<Watched>,
    snapshot: &Arc<Snapshot>,
    surroundings: &Surroundings,
) -> Vec<Watched> {
    let before = watched.into_iter();
    let before = before.map(|one| (Arc::as_ptr(&one.health.config), one));
    let mut before: HashMap<*const config::Cluster, Watched> = before.collect();
    let in_force = snapshot.clusters.values().map(|config| (config, false));
    let warming = snapshot.warming.values().map(|config| (config, true));
    let is_watched = |config: &config::Cluster| {
        config.outlier_detection.is_some() || config.health_check.is_some()
    };
    let wanted = in_force
        .chain(warming)
        .filter(|(config, _)| is_watched(config));
    let each = wanted.map(|(config, is_warming)| {
        // It may be warm now, and have other hosts.
        let healths = &surroundings.healths;
        let health = match is_warming {
            true => healths.warming(config, snapshot),
            false => healths.get(config, snapshot),
        };
        let known = before.remove(&Arc::as_ptr(config));
        let mut one = known.unwrap_or_else(|| Watched::begin(&health, surroundings));
        if !is_warming {
            one.sweep();
        }
        one
    });
    each.collect()
}

// === impl Watched ===

impl Watched {
    fn begin(health: &Arc<ClusterHealth>, surroundings: &Surroundings) -> Self {
        let checks = health.config.health_check.as_ref().map(|_| {
            let (health, surroundings) = (Arc::clone(health), surroundings.clone());
            let boundary = surroundings.boundary.clone();
            let keep = move || health_check::keep(Arc::clone(&health), surroundings.clone());
            tokio::spawn(boundary.keep(keep)).abort_handle()
        });
        Self {
            health: Arc::clone(health),
            sweeps: None,
            checks,
        }
    }

    /// Begins to sweep, where that is wanted.
    fn sweep(&mut self) {
        let settings = self.health.config.outlier_detection.as_ref();
        let Some(settings) = settings.filter(|_| self.sweeps.is_none()) else {
            return;
        };
        let sweeps = sweep(Arc::clone(&self.health), settings.interval);
        self.sweeps = Some(tokio::spawn(sweeps).abort_handle());
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
        let tasks = self.sweeps.iter().chain(&self.checks);
        tasks.for_each(AbortHandle::abort);
    }
}
