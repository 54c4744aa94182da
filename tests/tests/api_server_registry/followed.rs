//! The registry, the model and the hub on top of an API server.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{runtime::Runtime, sync::mpsc};
use weir_discovery::{
    kubernetes::{Problem, WatchStatus, Watches, watch},
    model::Snapshot,
    publish, rules,
    xds::{Generator, Hub},
};
use weir_tests::eventually::eventually;

/// How long anything may take: controllers on a busy machine have their part in it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// Follows until it is dropped.
pub(crate) struct Followed {
    hub: Arc<Hub>,
    watches: Watches,
    _runtime: Runtime,
}

impl Followed {
    pub(crate) fn start(kubeconfig: &Path) -> Result<Self> {
        let runtime = Runtime::new()?;
        let file = Kubeconfig::read_from(kubeconfig)?;
        let hub = Arc::new(Hub::new(Generator::default()));
        let watches = Watches::default();
        let (events, batches) = mpsc::channel(16);
        runtime.block_on(async {
            let config =
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            let client = Client::try_from(config)?;
            tokio::spawn(watch(
                client,
                rules::Settings::default(),
                events,
                watches.clone(),
            ));
            let synced = watches.clone().synced();
            tokio::spawn(publish::publish_when(synced, batches, hub.clone()));
            anyhow::Ok(())
        })?;
        Ok(Self {
            hub,
            watches,
            _runtime: runtime,
        })
    }

    /// The latest snapshot, once there is one.
    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>> {
        self.hub.snapshot().context("nothing was published yet")
    }

    /// Waits until the model has that.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Snapshot) -> Option<T>,
    ) -> Result<T> {
        let found = eventually(PATIENCE, || look(&*self.hub.snapshot()?));
        found.with_context(|| format!("{what}: {:#?}", self.watches.kinds()))
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.watches.problems()
    }

    pub(crate) fn status(&self, kind: &str) -> Option<WatchStatus> {
        self.watches.kinds().into_iter().find(|it| it.kind == kind)
    }

    pub(crate) fn last_error(&self, kind: &str) -> Option<String> {
        self.status(kind)?.last_error
    }
}
