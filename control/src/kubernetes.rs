//! Kubernetes mode: what the control plane does through the API server.

use std::sync::Arc;

use kube::Client;
use tokio::{sync::mpsc, task::JoinSet};
use weir_discovery::{publish, xds::Hub};

use crate::{
    Config, ControlError, config,
    run::{EVENT_BATCHES, Parts},
};

mod client;

/// A cluster, seen through its API server.
pub(crate) struct Cluster {
    client: Client,
    flags: config::Kubernetes,
}

// === impl Cluster ===

impl Cluster {
    /// Reads how to reach the API server, and asks it nothing yet.
    pub(crate) async fn open(config: &Config) -> Result<Self, ControlError> {
        Ok(Self {
            client: client::connect(&config.kubernetes).await?,
            flags: config.kubernetes.clone(),
        })
    }
}

/// Follows what the cluster says.
pub(crate) fn start(cluster: Cluster, parts: &Parts, background: &mut JoinSet<()>) {
    let reason = format!(
        "Secret {}/{} was not read yet",
        cluster.flags.namespace, cluster.flags.ca_secret
    );
    parts.health.unready("certificate", reason);
    let (client, hub) = (cluster.client, parts.hub.clone());
    background.spawn(registry(client, hub));
}

/// Keeps the hub at what the cluster's services are.
async fn registry(client: Client, hub: Arc<Hub>) {
    let (events, batches) = mpsc::channel(EVENT_BATCHES);
    // The registry of the cluster takes the sender.
    let _ = (client, events);
    publish::publish(Vec::new(), batches, hub).await;
}
