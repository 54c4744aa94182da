//! Namespaces: labels and annotations of all of them, and which ones have injected pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace as NamespaceObject;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};
use tokio::sync::watch;
use weir_api::annotations::{NAMESPACE_INJECTION, REVISION};
use weir_injector::Namespace;

use super::failure;

/// An annotation as large as the object that was applied; nobody here reads it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All namespaces of the cluster, as they change.
#[derive(Debug)]
pub(crate) struct Namespaces {
    known: RwLock<Known>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: BTreeMap<String, Arc<Namespace>>,
    /// Namespaces that are being deleted.
    ending: BTreeSet<String>,
    /// Namespaces with pods that have a sidecar, whatever their labels say.
    with_pods: BTreeSet<String>,
}

// === impl Namespaces ===

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Namespaces {
    /// One namespace; `None` if there is none or it is not known yet.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Namespace>> {
        self.read(|known| known.by_name.get(name).cloned())
    }

    /// Those whose pods need root certificates.
    pub(crate) fn with_sidecars(&self) -> Vec<String> {
        self.read(|known| {
            let all = known.by_name.iter();
            let all = all.filter(|(name, namespace)| {
                let asks = asks(&namespace.labels) || known.with_pods.contains(*name);
                asks && !known.ending.contains(*name)
            });
            all.map(|(name, _)| name.clone()).collect()
        })
    }

    /// There is a pod with a sidecar in this namespace. Nothing is kept of one that is not known.
    pub(crate) fn has_sidecar(&self, name: &str) {
        let is_news =
            self.read(|known| known.by_name.contains_key(name) && !known.with_pods.contains(name));
        if is_news {
            self.write(|known| known.with_pods.insert(name.to_owned()));
        }
    }

    /// Completes when something changed since the last look at `seen`.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Follows the cluster. Never returns.
    pub(crate) async fn watch(self: Arc<Self>, client: Client) {
        let api = Api::<PartialObjectMeta<NamespaceObject>>::all(client);
        let events = watcher(api, Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut listing = Known::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listing = Known::default(),
                Ok(Event::InitApply(object)) => listing.apply(object),
                Ok(Event::InitDone) => {
                    let listed = std::mem::take(&mut listing);
                    self.write(|known| known.replace(listed));
                }
                Ok(Event::Apply(object)) => self.write(|known| known.apply(object)),
                Ok(Event::Delete(object)) => self.write(|known| known.remove(&object.name_any())),
                Err(error) => {
                    tracing::warn!(reason = failure(&error), "cannot watch namespaces");
                }
            }
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        // Nothing panics while it is held.
        read(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, write: impl FnOnce(&mut Known) -> T) {
        write(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
    }
}

// === impl Known ===

impl Known {
    fn apply(&mut self, object: PartialObjectMeta<NamespaceObject>) {
        let name = object.name_any();
        let metadata = object.metadata;
        let mut annotations = metadata.annotations.unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        let namespace = Namespace {
            labels: metadata.labels.unwrap_or_default(),
            annotations,
        };
        match metadata.deletion_timestamp {
            Some(_) => self.ending.insert(name.clone()),
            None => self.ending.remove(&name),
        };
        self.by_name.insert(name, Arc::new(namespace));
    }

    fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
        self.ending.remove(name);
        self.with_pods.remove(name);
    }

    /// Takes a new listing. What pods there are is not in it.
    fn replace(&mut self, listed: Self) {
        let with_pods = std::mem::take(&mut self.with_pods);
        *self = listed;
        self.with_pods = with_pods;
        self.with_pods
            .retain(|name| self.by_name.contains_key(name));
    }
}

/// Whether the labels of a namespace ask for injection, by whichever revision: all have one CA.
fn asks(labels: &BTreeMap<String, String>) -> bool {
    match labels.get(NAMESPACE_INJECTION).map(String::as_str) {
        Some("enabled") => true,
        Some("disabled") => false,
        _ => labels.contains_key(REVISION),
    }
}
