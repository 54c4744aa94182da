//! Kubernetes mode: what the control plane does through the API server.
//!
//! Each file has one object, or one kind of object, in its care. What they share is [`Shared`]; what
//! clients have to trust goes from whoever knows it to whoever tells them through [`trust::Trust`].

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use weir_discovery::{kubernetes::Watches, xds::Authenticator};

use crate::health::Health;

mod authority;
mod ca_bundle;
mod client;
mod cluster;
mod configuration;
mod decisions;
mod events;
#[cfg(test)]
mod fake;
mod leader;
mod metrics;
mod mounted;
mod namespaces;
mod nodes;
mod reviewed;
mod root_certs;
mod route_status;
mod scope;
mod token_review;
mod trust;
mod uninjected;

pub(crate) use cluster::Cluster;
pub(crate) use metrics::Metrics;
pub(crate) use uninjected::Report;

/// Under which name we own fields of objects.
const FIELD_MANAGER: &str = "weir-control";

/// What Kubernetes mode is to the servers.
pub(crate) struct Running {
    pub(crate) views: Arc<Views>,
    /// Tells who a sidecar is.
    pub(crate) authenticator: Arc<dyn Authenticator>,
}

/// What the debug endpoints show of it.
#[derive(Debug)]
pub(crate) struct Views {
    metrics: Arc<Metrics>,
    watches: Watches,
    uninjected: Arc<Mutex<Report>>,
}

/// What all parts of Kubernetes mode share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    /// The time, which tests set.
    pub(crate) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

// === impl Views ===

impl Views {
    /// How the watches of the registry are doing.
    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Which kinds of objects the registry was not told of yet, and why.
    pub(crate) fn unread(&self) -> String {
        let unread = self.watches.kinds().into_iter().filter(|kind| !kind.synced);
        let text = unread.map(|watch| match watch.last_error {
            Some(error) => format!("; {}: {error}", watch.kind),
            None => format!("; {}", watch.kind),
        });
        text.collect()
    }

    /// Pods that should have a sidecar and have none.
    pub(crate) fn uninjected(&self) -> Report {
        // Nothing panics while it is held.
        let report = self.uninjected.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Appends all metrics in the Prometheus text format.
    pub(crate) fn write_prometheus(&self, out: &mut String) {
        self.metrics.write_prometheus(out);
    }
}

// === impl Shared ===

impl Default for Shared {
    fn default() -> Self {
        Self {
            health: Arc::default(),
            metrics: Arc::default(),
            clock: Arc::new(SystemTime::now),
        }
    }
}

/// Labels of what we make.
fn labels() -> BTreeMap<String, String> {
    let labels = [
        ("app.kubernetes.io/managed-by", "weir-control"),
        ("app.kubernetes.io/part-of", "weir"),
    ];
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// An error with all that led to it. Those of the client say least at the top.
fn failure(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
