//! Which pods reach the webhook, as its configuration says.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::admissionregistration::v1::MutatingWebhookConfiguration,
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::{Selector, SelectorExt};

type Labels = BTreeMap<String, String>;

/// The selectors of all webhooks of a configuration. Conditions in CEL are left to the decision
/// about the pod, which asks the same.
#[derive(Debug)]
pub(crate) struct Scope {
    webhooks: Vec<(Selector, Selector)>,
}

// === impl Scope ===

impl Scope {
    /// Reads a configuration.
    ///
    /// # Errors
    /// A selector makes no sense, which the API server does not let happen.
    pub(crate) fn read(configuration: &MutatingWebhookConfiguration) -> Result<Self, String> {
        let selector = |selector: &Option<LabelSelector>| {
            Selector::try_from(selector.clone().unwrap_or_default())
                .map_err(|error| error.to_string())
        };
        let webhooks = configuration.webhooks.iter().flatten();
        let webhooks: Result<_, String> = webhooks
            .map(|webhook| {
                let namespace = selector(&webhook.namespace_selector)?;
                Ok((namespace, selector(&webhook.object_selector)?))
            })
            .collect();
        Ok(Self {
            webhooks: webhooks?,
        })
    }

    /// Whether pods of a namespace can reach the webhook.
    pub(crate) fn has_namespace(&self, namespace: &Labels) -> bool {
        let mut webhooks = self.webhooks.iter();
        webhooks.any(|(selector, _)| selector.matches(namespace))
    }

    /// Whether a pod reaches the webhook.
    pub(crate) fn has_pod(&self, namespace: &Labels, pod: &Labels) -> bool {
        let mut webhooks = self.webhooks.iter();
        webhooks.any(|(first, second)| first.matches(namespace) && second.matches(pod))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> Labels {
        of.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_pod_reaches_the_webhook_if_one_entry_has_both_its_namespace_and_the_pod() {
        let configuration = serde_json::from_value(json!({"webhooks": [
            {"name": "namespace.weir.dev", "admissionReviewVersions": ["v1"], "clientConfig": {},
             "sideEffects": "None",
             "namespaceSelector": {"matchLabels": {"weir.dev/injection": "enabled"}},
             "objectSelector": {"matchExpressions": [
                 {"key": "weir.dev/inject", "operator": "NotIn", "values": ["false"]}]}},
            {"name": "pod.weir.dev", "admissionReviewVersions": ["v1"], "clientConfig": {},
             "sideEffects": "None",
             "namespaceSelector": {"matchExpressions": [
                 {"key": "weir.dev/injection", "operator": "DoesNotExist"}]},
             "objectSelector": {"matchLabels": {"weir.dev/inject": "true"}}},
        ]}));
        let scope = Scope::read(&configuration.expect("a configuration")).expect("selectors");
        let (on, off) = (
            [("weir.dev/injection", "enabled")],
            [("weir.dev/injection", "disabled")],
        );
        let (yes, no) = (
            [("weir.dev/inject", "true")],
            [("weir.dev/inject", "false")],
        );
        for (namespace, pod, expected) in [
            (&on[..], &[][..], true),
            (&on, &yes, true),
            (&on, &no, false),
            (&[], &[], false),
            (&[], &yes, true),
            (&off, &yes, false),
        ] {
            let reaches = scope.has_pod(&labels(namespace), &labels(pod));
            assert_eq!(reaches, expected, "{namespace:?} {pod:?}");
        }
        assert!(scope.has_namespace(&labels(&[])));
        assert!(!scope.has_namespace(&labels(&off)));
    }
}
