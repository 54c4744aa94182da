//! Composition of Kubernetes mode: what is in whose care.

use std::sync::{Arc, Mutex};

use kube::{Api, Client};
use tokio::{sync::mpsc, task::JoinSet};
use weir_discovery::{
    kubernetes::{self as registry, Watches},
    publish, rules,
    xds::Hub,
};
use weir_injector::webhook::Injector;

use super::{
    Metrics, Report, Running, Shared, Views, client,
    configuration::ConfigurationKeeper,
    events::{self, Events},
    leader::Candidate,
    namespaces::Namespaces,
    nodes,
    reviewed::Reviewed,
    root_certs::RootCertKeeper,
    route_status::RouteStatusKeeper,
    token_review::TokenReviewer,
    uninjected::Reconciler,
};
use crate::{
    Config, ControlError,
    certificates::rotation::{Origin, Policy},
    config,
    run::{EVENT_BATCHES, Parts, default_injector, injector, rule_settings},
};

mod certificates;

use certificates::tell_sidecars;

/// What `/ready` calls the kubelets.
const KUBELETS: &str = "nodes";

/// A cluster, seen through its API server.
pub(crate) struct Cluster {
    client: Client,
    flags: config::Kubernetes,
    policy: Policy,
    default_injector: weir_injector::Config,
    namespaces: Arc<Namespaces>,
    reviewed: Arc<Reviewed>,
    metrics: Arc<Metrics>,
    events: Events,
    event_writer: events::Writer,
}

// === impl Cluster ===

impl Cluster {
    /// Reads how to reach the API server, and asks it nothing yet.
    pub(crate) async fn open(config: &Config) -> Result<Self, ControlError> {
        let flags = config.kubernetes.clone();
        let client = client::connect(&flags).await?;
        let metrics = Arc::new(Metrics::default());
        let (events, event_writer) =
            events::channel(client.clone(), &flags.pod_name, metrics.clone());
        Ok(Self {
            client,
            policy: Policy {
                origin: Origin::Own,
                names: config.serving_names(),
                ca_life: flags.ca_life,
                serving_life: flags.serving_cert_life,
                workload_life: config.workload_cert_life,
            },
            default_injector: default_injector(config),
            flags,
            namespaces: Arc::default(),
            reviewed: Arc::default(),
            metrics,
            events,
            event_writer,
        })
    }

    /// An injector that knows the cluster's namespaces and says where it decided.
    pub(crate) fn injector(&self, hub: &Arc<Hub>) -> Injector {
        let (known, namespaces) = (self.namespaces.clone(), self.namespaces.clone());
        let reviewed = self.reviewed.clone();
        let rules = rule_settings(&self.flags, &self.default_injector.cluster_domain);
        let injector = injector(self.default_injector.clone(), &rules, hub)
            .with_namespaces(move |name| known.get(name))
            .with_on_decision(move |decided| reviewed.tell(&decided.namespace, &namespaces));
        injector.set_cluster(self.about(None));
        injector
    }

    /// What the injector is to know of the cluster.
    fn about(&self, least_kubelet: Option<nodes::Version>) -> weir_injector::Cluster {
        weir_injector::Cluster {
            revision: self.flags.revision.clone(),
            least_kubelet,
        }
    }

    /// Follows what the cluster says.
    pub(crate) fn start(self, parts: &Parts, background: &mut JoinSet<()>) -> Running {
        let client = || self.client.clone();
        let shared = Shared {
            health: parts.health.clone(),
            metrics: self.metrics.clone(),
            ..Shared::default()
        };
        background.spawn(self.namespaces.clone().watch(client()));
        let trust = self.start_certificates(parts, &shared, background);
        background.spawn(tell_sidecars(trust.clone(), parts.hub.clone()));
        let namespaces = self.namespaces.clone();
        let root_certs = RootCertKeeper::new(client(), shared.clone(), trust, namespaces);
        background.spawn(root_certs.run());
        self.start_configuration(parts, &shared, background);
        self.start_nodes(parts, background);
        let uninjected = self.start_reconciler(parts, &shared, background);
        self.start_route_status(parts, &shared, background);
        let rules = rule_settings(&self.flags, &self.default_injector.cluster_domain);
        let running = Running {
            authenticator: Arc::new(TokenReviewer::new(client(), self.metrics.clone())),
            views: Arc::new(Views {
                metrics: self.metrics.clone(),
                watches: start_registry(client(), rules, parts.hub.clone(), background),
                uninjected,
            }),
        };
        background.spawn(self.event_writer.run());
        running
    }

    /// Has the status of routes kept right by one of all replicas.
    fn start_route_status(&self, parts: &Parts, shared: &Shared, background: &mut JoinSet<()>) {
        let (client, flags) = (self.client.clone(), &self.flags);
        let candidate = Candidate::new(client.clone(), &flags.namespace, &flags.pod_name);
        let keeper = RouteStatusKeeper {
            client,
            hub: parts.hub.clone(),
            rules: rule_settings(flags, &self.default_injector.cluster_domain),
            shared: shared.clone(),
            leads: candidate.leads(),
        };
        background.spawn(candidate.run());
        background.spawn(keeper.run());
    }

    /// Has pods without a sidecar looked for, and gives where they are shown.
    fn start_reconciler(
        &self,
        parts: &Parts,
        shared: &Shared,
        background: &mut JoinSet<()>,
    ) -> Arc<Mutex<Report>> {
        let report = Arc::default();
        if let Some(configuration) = self.flags.mutating_webhook() {
            let reconciler = Reconciler {
                client: self.client.clone(),
                configuration,
                injector: parts.injector.clone(),
                namespaces: self.namespaces.clone(),
                reviewed: self.reviewed.clone(),
                shared: shared.clone(),
                events: self.events.clone(),
                report: Arc::clone(&report),
                hub: parts.hub.clone(),
                status_port: weir_api::ports::STATUS,
            };
            background.spawn(reconciler.run(parts.known.subscribe()));
        }
        report
    }

    /// Has the injector know the oldest kubelet.
    fn start_nodes(&self, parts: &Parts, background: &mut JoinSet<()>) {
        let (health, known) = (parts.health.clone(), parts.known.clone());
        let (injector, mut about) = (parts.injector.clone(), self.about(None));
        health.unready(KUBELETS, "the versions of their kubelets were not read yet");
        background.spawn(nodes::watch(
            self.client.clone(),
            move |oldest| match oldest {
                Ok(oldest) => {
                    about.least_kubelet = oldest;
                    injector.set_cluster(about.clone());
                    health.ready(KUBELETS);
                    known.send_modify(|known| known.kubelets = true);
                }
                Err(reason) => {
                    tracing::warn!(reason, "cannot watch nodes");
                    if !known.borrow().kubelets {
                        health.unready(KUBELETS, reason);
                    }
                }
            },
        ));
    }

    fn start_configuration(&self, parts: &Parts, shared: &Shared, background: &mut JoinSet<()>) {
        let keeper = ConfigurationKeeper {
            api: Api::namespaced(self.client.clone(), &self.flags.namespace),
            name: self.flags.config_map(),
            default: self.default_injector.clone(),
            injector: parts.injector.clone(),
            hub: parts.hub.clone(),
            shared: shared.clone(),
            events: self.events.clone(),
            known: parts.known.clone(),
        };
        background.spawn(keeper.run());
    }
}

/// Keeps the hub at what the cluster's services are. Nothing is served before all of them were read.
fn start_registry(
    client: Client,
    rules: rules::Settings,
    hub: Arc<Hub>,
    background: &mut JoinSet<()>,
) -> Watches {
    let watches = Watches::default();
    let (events, batches) = mpsc::channel(EVENT_BATCHES);
    background.spawn(registry::watch(client, rules, events, watches.clone()));
    let synced = watches.clone().synced();
    background.spawn(publish::publish_when(synced, batches, hub));
    watches
}
