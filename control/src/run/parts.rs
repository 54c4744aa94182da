//! What a source of configuration fills and servers serve.

use std::sync::Arc;

use tokio::sync::watch;
use weir_api::inbound_demands::{InboundDemands, Probe};
use weir_discovery::{
    kubernetes,
    model::{self, Question},
    rules::{self, Judgement},
    xds::{Generator, Hub, Settings},
};
use weir_injector::{Validators, validate::Findings, webhook::Injector};

use crate::{Config, certificates::Serving, config, configuration, health::Health, issuer::Issuer};

/// What a source fills and servers serve.
pub(crate) struct Parts {
    pub(crate) hub: Arc<Hub>,
    pub(crate) injector: Arc<Injector>,
    pub(crate) serving: Arc<Serving>,
    /// Issues certificates to workloads.
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) health: Arc<Health>,
    /// Whether the injector can decide.
    pub(crate) known: watch::Sender<Known>,
}

/// What the injector has to know before it decides about pods.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// The administrator's configuration.
    pub(crate) configuration: bool,
    /// The kubelets' versions.
    pub(crate) kubelets: bool,
}

// === impl Known ===

impl Known {
    /// Whether that is all there.
    pub(crate) fn all(&self) -> bool {
        self.configuration && self.kubelets
    }
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(
        config: &Config,
        hub: Arc<Hub>,
        injector: Injector,
        serving: Arc<Serving>,
    ) -> Self {
        let rules = hub.clone();
        let injector = injector.with_rules(move |namespace, labels, pod| {
            // Before the registry is read the control plane is not ready, and is not asked.
            let snapshot = rules.snapshot()?;
            let labels = labels.iter();
            let labels = labels.map(|(name, value)| (Arc::from(*name), Arc::from(*value)));
            let (attachments, labels) = (snapshot.attachments(), labels.collect());
            Some(InboundDemands {
                tls: attachments.inbound_tls(namespace, &labels),
                is_guarded: attachments.is_guarded(namespace, &labels),
                probes: kubernetes::probes(pod).into_iter().map(asked).collect(),
            })
        });
        Self {
            hub,
            injector: Arc::new(injector),
            serving,
            issuer: Arc::new(Issuer::new(
                config.trust_domain.clone(),
                config.workload_cert_life,
            )),
            health: Arc::default(),
            known: watch::Sender::default(),
        }
    }
}

fn asked(probe: model::Probe) -> Probe {
    Probe {
        port: probe.port,
        tls: probe.question == Question::Tls,
        path: match probe.question {
            Question::Http(path) => Some(path.to_string()),
            Question::Grpc | Question::Tls => None,
        },
    }
}

/// A hub that knows nothing yet.
pub(crate) fn hub(config: &Config) -> Arc<Hub> {
    Arc::new(Hub::new(Generator::new(Settings {
        cluster_domain: config.cluster_domain.clone(),
        trust_domain: config.trust_domain.clone(),
        mutual_tls: config.issues_certificates(),
    })))
}

/// An injector that also judges what an administrator, a pod's author or who makes rules writes, by the
/// mesh's settings that are in force then.
pub(crate) fn injector(
    config: weir_injector::Config,
    rules: &rules::Settings,
    hub: &Arc<Hub>,
) -> Injector {
    let mesh = |text: &str| configuration::mesh_config(text).map(|_| ());
    let validators = Validators::default().with_mesh_config(mesh);
    let validators = rules::KINDS.iter().fold(validators, |validators, kind| {
        let (rules, hub) = (rules.clone(), hub.clone());
        validators.with(kind.group, kind.kind, move |subject| {
            let rules = rules::Settings {
                extension_providers: Some(hub.generator().mesh().provider_names()),
                ..rules.clone()
            };
            let namespace = subject.place.namespace;
            let Judgement { errors, warnings } = kind.judge(subject.object, namespace, &rules);
            Findings { errors, warnings }
        })
    });
    Injector::new(config).with_validators(validators)
}

/// What the meaning of rules depends on.
pub(crate) fn rule_settings(config: &config::Kubernetes, cluster_domain: &str) -> rules::Settings {
    rules::Settings {
        root_namespace: config.namespace.as_str().into(),
        cluster_domain: cluster_domain.into(),
        ..rules::Settings::default()
    }
}

/// Configuration of the injector where the administrator gives none.
pub(crate) fn default_injector(config: &Config) -> weir_injector::Config {
    weir_injector::Config {
        cluster_domain: config.cluster_domain.clone(),
        trust_domain: config.trust_domain.clone(),
        ..weir_injector::Config::default()
    }
}
