//! Which pods reach the injector, and what it says of them: the webhook configuration's selectors
//! and the injector's own decision, so that this says what happens and not what a label suggests.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        core::v1::{ConfigMap, Namespace},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::{Selector, SelectorExt as _};
use serde_json::{Value, json};
use weir_api::annotations;
use weir_injector::{Cluster, Config, Decision, Place, decide};

use super::{Names, facts::name_of};
use crate::cluster::DEFAULT_REVISION;

/// Label of a namespace or pod that chooses a revision.
pub(super) const REVISION_LABEL: &str = "weir.dev/rev";
/// Key of the ConfigMap with the injector's configuration.
const INJECTOR_KEY: &str = "injector.yaml";

type Labels = BTreeMap<String, String>;

/// The pods that one installation serves.
#[derive(Debug)]
pub(super) struct Scope {
    /// Selectors of namespaces and of pods, one pair for each webhook.
    entries: Vec<(Selector, Selector)>,
    cluster: Cluster,
    pub(super) config: Config,
    /// Why the configuration in the cluster is not the one used here.
    pub(super) bad_config: Option<String>,
}

// === impl Scope ===

impl Scope {
    /// The scope of a webhook configuration; before there is one, what the chart's would be.
    pub(super) fn new(
        webhooks: Option<&MutatingWebhookConfiguration>,
        config: Option<&ConfigMap>,
        names: &Names,
        least_kubelet: Option<(u32, u32)>,
    ) -> Self {
        let (config, bad_config) = match read_config(config) {
            Ok(config) => (config, None),
            Err(reason) => (Config::default(), Some(reason)),
        };
        let entries = match webhooks {
            Some(webhooks) => entries_of(webhooks),
            None => planned(&names.revision),
        };
        Self {
            entries,
            cluster: Cluster {
                revision: names.revision.clone(),
                least_kubelet,
            },
            config,
            bad_config,
        }
    }

    /// Whether pods of a namespace that say nothing themselves are injected.
    pub(super) fn covers(&self, namespace: &Namespace) -> bool {
        self.injects(namespace, &json!({"spec": {"containers": []}}))
    }

    /// Whether a pod that is made now is injected. In a namespace that ends none is made.
    pub(super) fn injects(&self, namespace: &Namespace, pod: &Value) -> bool {
        let decision = self.decision(namespace, pod);
        let ends = namespace.metadata.deletion_timestamp.is_some();
        !ends && decision.is_some_and(Decision::injects)
    }

    /// What the injector says of a pod; `None` if it never sees it.
    pub(super) fn decision(&self, namespace: &Namespace, pod: &Value) -> Option<Decision> {
        let labels = pod
            .pointer("/metadata/labels")
            .cloned()
            .unwrap_or(json!({}));
        let labels: Labels = serde_json::from_value(labels).ok()?;
        if !self.reaches(namespace, &labels) {
            return None;
        }
        let about = weir_injector::Namespace {
            labels: namespace.metadata.labels.clone().unwrap_or_default(),
            annotations: namespace.metadata.annotations.clone().unwrap_or_default(),
        };
        let place = Place {
            namespace: name_of(namespace),
            about: Some(&about),
            cluster: Some(&self.cluster),
            is_selected: false,
            inbound: None,
        };
        decide(pod, place, &self.config).ok()
    }

    fn reaches(&self, namespace: &Namespace, pod: &Labels) -> bool {
        let none = Labels::new();
        let labels = namespace.metadata.labels.as_ref().unwrap_or(&none);
        let mut entries = self.entries.iter();
        entries.any(|(namespaces, pods)| namespaces.matches(labels) && pods.matches(pod))
    }
}

fn read_config(config: Option<&ConfigMap>) -> Result<Config, String> {
    let data = config.and_then(|config| config.data.as_ref()?.get(INJECTOR_KEY));
    let Some(text) = data else {
        return Ok(Config::default());
    };
    let value: yaml_serde::Value = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
    Config::read(value).map_err(|error| error.to_string())
}

fn entries_of(webhooks: &MutatingWebhookConfiguration) -> Vec<(Selector, Selector)> {
    let read = |selector: Option<&LabelSelector>| {
        Selector::try_from(selector.cloned().unwrap_or_default()).ok()
    };
    let entries = webhooks.webhooks.iter().flatten();
    let entries = entries.filter_map(|entry| {
        let namespaces = read(entry.namespace_selector.as_ref())?;
        Some((namespaces, read(entry.object_selector.as_ref())?))
    });
    entries.collect()
}

/// What the chart's webhooks will see.
fn planned(revision: &str) -> Vec<(Selector, Selector)> {
    let namespaces: Selector = match revision {
        DEFAULT_REVISION => [(annotations::NAMESPACE_INJECTION, "enabled")]
            .into_iter()
            .collect(),
        revision => [(REVISION_LABEL.to_owned(), revision.to_owned())]
            .into_iter()
            .collect(),
    };
    vec![(namespaces, Selector::default())]
}
