//! Kubernetes mode: what the control plane does through the API server.
//!
//! Each file has one object, or one kind of object, in its care. What they share is [`Shared`]; what
//! clients have to trust goes from whoever knows it to whoever tells them through [`trust::Trust`].

use std::{collections::BTreeMap, error::Error, sync::Arc, time::SystemTime};

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{Api, Client, core::ApiResource};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use weir_discovery::{publish, xds::Hub};

use crate::{
    Config, ControlError,
    certificates::rotation::Policy,
    config,
    health::Health,
    run::{EVENT_BATCHES, Parts, default_injector},
};

mod authority;
mod ca_bundle;
mod client;
mod configuration;
mod events;
#[cfg(test)]
mod fake;
mod metrics;
mod namespaces;
mod root_certs;
mod trust;

use authority::AuthorityKeeper;
use ca_bundle::{CaBundleKeeper, Writer};
use configuration::ConfigurationKeeper;
pub(crate) use metrics::Metrics;
use namespaces::Namespaces;
use root_certs::RootCertKeeper;
use trust::Trust;

/// Under which name we own fields of objects.
const FIELD_MANAGER: &str = "weir-control";

/// A cluster, seen through its API server.
pub(crate) struct Cluster {
    client: Client,
    flags: config::Kubernetes,
    policy: Policy,
    default_injector: weir_injector::Config,
}

/// What the debug endpoints show of it.
#[derive(Debug)]
pub(crate) struct Views {
    metrics: Arc<Metrics>,
}

/// What all parts of Kubernetes mode share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    /// The time, which tests set.
    pub(crate) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

// === impl Cluster ===

impl Cluster {
    /// Reads how to reach the API server, and asks it nothing yet.
    pub(crate) async fn open(config: &Config) -> Result<Self, ControlError> {
        let flags = config.kubernetes.clone();
        Ok(Self {
            client: client::connect(&flags).await?,
            policy: Policy {
                names: config.serving_names(),
                ca_life: flags.ca_life(),
                serving_life: flags.serving_life(),
            },
            default_injector: default_injector(config),
            flags,
        })
    }

    /// Follows what the cluster says.
    pub(crate) fn start(self, parts: &Parts, background: &mut JoinSet<()>) -> Arc<Views> {
        let shared = Shared {
            health: parts.health.clone(),
            ..Shared::default()
        };
        let metrics = shared.metrics.clone();
        let (events, writer) =
            events::channel(self.client.clone(), &self.flags.pod_name, metrics.clone());
        background.spawn(writer.run());
        let namespaces = Arc::new(Namespaces::default());
        background.spawn(namespaces.clone().watch(self.client.clone()));
        let trust = self.start_certificates(parts, &shared, background);
        let root_certs =
            RootCertKeeper::new(self.client.clone(), shared.clone(), trust, namespaces);
        background.spawn(root_certs.run());
        let configuration = ConfigurationKeeper {
            api: Api::namespaced(self.client.clone(), &self.flags.namespace),
            name: self.flags.config_map(),
            default: self.default_injector,
            injector: parts.injector.clone(),
            hub: parts.hub.clone(),
            shared,
            events,
            configured: parts.configured.clone(),
        };
        background.spawn(configuration.run());
        background.spawn(registry(self.client, parts.hub.clone()));
        Arc::new(Views { metrics })
    }

    fn start_certificates(
        &self,
        parts: &Parts,
        shared: &Shared,
        background: &mut JoinSet<()>,
    ) -> Trust {
        let (source, trust) = trust::channel();
        let mut announced = Vec::new();
        for (resource, name, subject) in [
            (
                ApiResource::erase::<MutatingWebhookConfiguration>(&()),
                self.flags.mutating_webhook(),
                "mutating webhook",
            ),
            (
                ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
                self.flags.validating_webhook(),
                "validating webhook",
            ),
        ] {
            let Some(name) = name else { continue };
            let (told, seen) = watch::channel(true);
            announced.push(seen);
            let keeper = CaBundleKeeper {
                api: Api::all_with(self.client.clone(), &resource),
                name,
                subject,
                writer: Writer::Us,
                server_name: self.policy.names.first().cloned().unwrap_or_default(),
                shared: shared.clone(),
                serving: parts.serving.clone(),
                trust: trust.clone(),
                announced: told,
            };
            background.spawn(keeper.run());
        }
        let keeper = AuthorityKeeper::new(
            Api::namespaced(self.client.clone(), &self.flags.namespace),
            self.flags.ca_secret.clone(),
            self.policy.clone(),
            shared.clone(),
            parts.serving.clone(),
            source,
            announced,
        );
        background.spawn(keeper.run());
        trust
    }
}

// === impl Views ===

impl Views {
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

/// Keeps the hub at what the cluster's services are.
async fn registry(client: Client, hub: Arc<Hub>) {
    let (events, batches) = mpsc::channel(EVENT_BATCHES);
    // The registry of the cluster takes the sender.
    let _ = (client, events);
    publish::publish(Vec::new(), batches, hub).await;
}
