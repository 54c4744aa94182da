//! Composition of Kubernetes mode: what is in whose care.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{Api, Client, core::ApiResource};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use weir_discovery::{
    kubernetes::{self as registry, Watches},
    publish,
    xds::{Hub, ROOT_CA},
};

use super::{
    Running, Shared, Views,
    authority::AuthorityKeeper,
    ca_bundle::{CaBundleKeeper, Writer},
    client,
    configuration::ConfigurationKeeper,
    events::{self, Events},
    mounted::MountedCertificate,
    namespaces::Namespaces,
    root_certs::RootCertKeeper,
    token_review::TokenReviewer,
    trust::{self, Trust},
    uninjected::Reconciler,
};
use crate::{
    Config, ControlError,
    certificates::rotation::Policy,
    config,
    run::{EVENT_BATCHES, Parts, default_injector},
};

/// A cluster, seen through its API server.
pub(crate) struct Cluster {
    client: Client,
    flags: config::Kubernetes,
    policy: Policy,
    default_injector: weir_injector::Config,
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
    pub(crate) fn start(self, parts: &Parts, background: &mut JoinSet<()>) -> Running {
        let client = || self.client.clone();
        let shared = Shared {
            health: parts.health.clone(),
            ..Shared::default()
        };
        let metrics = shared.metrics.clone();
        let (events, writer) = events::channel(client(), &self.flags.pod_name, metrics.clone());
        background.spawn(writer.run());
        let namespaces = Arc::new(Namespaces::default());
        background.spawn(namespaces.clone().watch(client()));

        let trust = self.start_certificates(parts, &shared, background);
        background.spawn(tell_sidecars(trust.clone(), parts.hub.clone()));
        let root_certs = RootCertKeeper::new(client(), shared.clone(), trust, namespaces.clone());
        background.spawn(root_certs.run());
        self.start_configuration(parts, &shared, &events, background);

        let uninjected = Arc::default();
        if let Some(configuration) = self.flags.mutating_webhook() {
            let reconciler = Reconciler {
                client: client(),
                configuration,
                injector: parts.injector.clone(),
                namespaces,
                shared,
                events,
                report: Arc::clone(&uninjected),
            };
            background.spawn(reconciler.run(parts.configured.subscribe()));
        }
        Running {
            authenticator: Arc::new(TokenReviewer::new(client(), metrics.clone())),
            views: Arc::new(Views {
                metrics,
                watches: start_registry(client(), parts.hub.clone(), background),
                uninjected,
            }),
        }
    }

    fn start_configuration(
        &self,
        parts: &Parts,
        shared: &Shared,
        events: &Events,
        background: &mut JoinSet<()>,
    ) {
        let keeper = ConfigurationKeeper {
            api: Api::namespaced(self.client.clone(), &self.flags.namespace),
            name: self.flags.config_map(),
            default: self.default_injector.clone(),
            injector: parts.injector.clone(),
            hub: parts.hub.clone(),
            shared: shared.clone(),
            events: events.clone(),
            configured: parts.configured.clone(),
        };
        background.spawn(keeper.run());
    }

    /// Has a certificate served, and caBundle kept at what verifies it.
    fn start_certificates(
        &self,
        parts: &Parts,
        shared: &Shared,
        background: &mut JoinSet<()>,
    ) -> Trust {
        let (source, trust) = trust::channel();
        let announced = self.start_ca_bundles(parts, shared, &trust, background);
        match &self.flags.serving_cert_dir {
            Some(directory) => {
                let serving = parts.serving.clone();
                let mounted = MountedCertificate::new(directory, shared.clone(), serving, source);
                background.spawn(mounted.run());
            }
            None => {
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
            }
        }
        trust
    }

    /// Gives, for each configuration, whether it has the bundle.
    fn start_ca_bundles(
        &self,
        parts: &Parts,
        shared: &Shared,
        trust: &Trust,
        background: &mut JoinSet<()>,
    ) -> Vec<watch::Receiver<bool>> {
        let writer = match self.flags.serving_cert_dir {
            Some(_) => Writer::Issuer,
            None => Writer::Us,
        };
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mut announced = Vec::new();
        for (resource, name, subject) in [
            (mutating, self.flags.mutating_webhook(), "mutating webhook"),
            (
                validating,
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
                writer,
                server_name: self.policy.names.first().cloned().unwrap_or_default(),
                shared: shared.clone(),
                serving: parts.serving.clone(),
                trust: trust.clone(),
                announced: told,
            };
            background.spawn(keeper.run());
        }
        announced
    }
}

/// Has SDS serve the bundle. Never returns.
async fn tell_sidecars(mut trust: Trust, hub: Arc<Hub>) {
    loop {
        if let Some(bundle) = trust.bundle() {
            let trusted = [(ROOT_CA.to_owned(), bundle.as_bytes().to_vec())];
            hub.set_trusted(trusted.into());
        }
        trust.changed().await;
    }
}

/// Keeps the hub at what the cluster's services are. Nothing is served before all of them were read.
fn start_registry(client: Client, hub: Arc<Hub>, background: &mut JoinSet<()>) -> Watches {
    let watches = Watches::default();
    let (events, batches) = mpsc::channel(EVENT_BATCHES);
    background.spawn(registry::watch(client, events, watches.clone()));
    let synced = watches.clone().synced();
    background.spawn(publish::publish_when(synced, batches, hub));
    watches
}
