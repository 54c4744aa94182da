//! The ConfigMap with root certificates in each namespace that has injected pods.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Config, Event},
    },
};
use serde_json::json;
use weir_api::sidecar::{CA_CONFIG_MAP, CA_FILE};

use super::{Shared, failure, metrics::increment, namespaces::Namespaces, trust::Trust};

/// Time until writes that failed are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Writes under way at a time: enough to be through a thousand namespaces in seconds, and few
/// enough for the API server not to notice.
const WRITES: usize = 8;
/// Changes taken in before a look at what to do about them.
const BATCH: usize = 256;

/// Keeps all of them right.
pub(crate) struct RootCertKeeper {
    client: Client,
    shared: Shared,
    trust: Trust,
    namespaces: Arc<Namespaces>,
    /// What each namespace's ConfigMap holds, as a hash.
    held: BTreeMap<String, u64>,
    /// What the ConfigMaps of a listing under way hold.
    listing: BTreeMap<String, u64>,
    /// Whether they were listed once. What is not known is not written anew.
    listed: bool,
}

// === impl RootCertKeeper ===

impl RootCertKeeper {
    pub(crate) fn new(
        client: Client,
        shared: Shared,
        trust: Trust,
        namespaces: Arc<Namespaces>,
    ) -> Self {
        Self {
            client,
            shared,
            trust,
            namespaces,
            held: BTreeMap::new(),
            listing: BTreeMap::new(),
            listed: false,
        }
    }

    /// Never returns.
    pub(crate) async fn run(mut self) {
        let api = Api::<ConfigMap>::all(self.client.clone());
        let ours = Config::default().fields(&format!("metadata.name={CA_CONFIG_MAP}"));
        let events = watcher::watcher(api, ours).default_backoff();
        let mut events = std::pin::pin!(events.ready_chunks(BATCH));
        let mut namespaces = self.namespaces.changes();
        let mut retry = false;
        loop {
            tokio::select! {
                Some(batch) = events.next() => {
                    batch.into_iter().for_each(|event| self.see(event));
                }
                Ok(()) = namespaces.changed() => {}
                () = self.trust.changed() => {}
                () = tokio::time::sleep(RETRY), if retry => {}
            }
            retry = !self.put_right().await;
        }
    }

    fn see(&mut self, event: watcher::Result<Event<ConfigMap>>) {
        match event {
            Ok(Event::Init) => self.listing.clear(),
            Ok(Event::InitApply(object)) => {
                let (namespace, held) = content(&object);
                self.listing.insert(namespace, held);
            }
            Ok(Event::InitDone) => {
                self.held = std::mem::take(&mut self.listing);
                self.listed = true;
            }
            Ok(Event::Apply(object)) => {
                let (namespace, held) = content(&object);
                self.held.insert(namespace, held);
            }
            Ok(Event::Delete(object)) => {
                self.held.remove(&object.namespace().unwrap_or_default());
            }
            Err(error) => {
                let reason = failure(&error);
                tracing::warn!(
                    config_map = CA_CONFIG_MAP,
                    reason,
                    "cannot watch root certificates"
                );
            }
        }
    }

    /// Writes those that are wrong or absent. Says whether all are right then.
    async fn put_right(&mut self) -> bool {
        if self.wrong(self.trust.bundle().as_deref()).is_empty() {
            return true;
        }
        // It may be us who are behind.
        let Some(bundle) = self.trust.look_up().await else {
            return false;
        };
        let wrong = self.wrong(Some(&bundle));
        let writes = stream::iter(wrong).map(|namespace| {
            let (client, bundle) = (self.client.clone(), &bundle);
            async move {
                let written = write(client, &namespace, bundle).await;
                (namespace, written)
            }
        });
        let written: Vec<_> = writes.buffer_unordered(WRITES).collect().await;
        let mut failed = None;
        for (namespace, result) in written {
            match result {
                Ok(()) => {
                    increment(&self.shared.metrics.root_cert_writes);
                    self.held.insert(namespace, hash(Some(&bundle)));
                }
                // The namespace is gone, or about to be.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => failed = Some((namespace, failure(&error))),
            }
        }
        if let Some((namespace, reason)) = &failed {
            tracing::warn!(namespace, reason, "cannot write root certificates");
        }
        failed.is_none()
    }

    /// Namespaces whose ConfigMap does not hold this bundle.
    fn wrong(&self, bundle: Option<&str>) -> Vec<String> {
        if bundle.is_none() || !self.listed {
            return Vec::new();
        }
        let right = hash(bundle);
        let mut wrong = self.namespaces.with_sidecars();
        wrong.retain(|namespace| self.held.get(namespace) != Some(&right));
        wrong
    }
}

async fn write(client: Client, namespace: &str, bundle: &str) -> kube::Result<()> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CA_CONFIG_MAP, "labels": super::labels()},
        "data": {CA_FILE: bundle},
    });
    let params = PatchParams::apply(super::FIELD_MANAGER).force();
    let api = Api::<ConfigMap>::namespaced(client, namespace);
    api.patch(CA_CONFIG_MAP, &params, &Patch::Apply(object))
        .await
        .map(|_| ())
}

fn content(object: &ConfigMap) -> (String, u64) {
    let data = object.data.as_ref();
    let pem = data.and_then(|data| data.get(CA_FILE));
    (
        object.namespace().unwrap_or_default(),
        hash(pem.map(String::as_str)),
    )
}

fn hash(pem: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    pem.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
