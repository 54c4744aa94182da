//! Which pods reach the webhook: `reach.yaml` as a table to read, and every combination of labels held
//! against a plain statement of the rule.

use std::fs;

use serde::Deserialize;
use serde_json::Value;
use weir_tests::helm::{NAMESPACE, Rendered, available, data};

use crate::selector::{Labels, selects};

/// Revisions that are installed side by side.
const REVISIONS: [&str; 2] = ["default", "canary"];
const INJECTION: &str = "weir.dev/injection";
const INJECT: &str = "weir.dev/inject";
const REV: &str = "weir.dev/rev";
const ISTIO_INJECTION: &str = "istio-injection";
const ISTIO_INJECT: &str = "sidecar.istio.io/inject";

/// A row of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// Name of the namespace; `shop` if not given.
    #[serde(default)]
    name: Option<String>,
    /// Labels of the namespace.
    #[serde(default)]
    namespace: Labels,
    /// Labels of the pod.
    #[serde(default)]
    pod: Labels,
    /// The revision whose webhook is asked about the pod; none if not given.
    #[serde(default)]
    reached: Option<String>,
    /// The same where the chart honours Istio's labels; as `reached` if not given.
    #[serde(default)]
    with_istio_labels: Option<String>,
}

/// The webhook configurations of all revisions.
struct Installed {
    istio_labels: bool,
    webhooks: Vec<(&'static str, Value)>,
}

#[test]
fn pods_reach_the_webhook_as_the_table_says() {
    if !available() {
        return;
    }
    let text = fs::read_to_string(data().join("reach.yaml")).unwrap();
    let rows: Vec<Row> = yaml_serde::from_str(&text).unwrap();
    assert!(rows.len() > 20, "the table was not found");
    for installed in [Installed::new(false), Installed::new(true)] {
        for row in &rows {
            let name = row.name.as_deref().unwrap_or("shop");
            let expected = match &row.with_istio_labels {
                Some(reached) if installed.istio_labels => Some(reached.as_str()),
                _ => row.reached.as_deref(),
            };
            let expected = expected.filter(|reached| *reached != "none");
            let reached = installed.reached(name, &row.namespace, &row.pod);
            assert_eq!(
                reached, expected,
                "{name} {:?} {:?}",
                row.namespace, row.pod
            );
        }
    }
}

#[test]
fn every_combination_of_labels_reaches_at_most_one_entry_and_the_right_one() {
    if !available() {
        return;
    }
    let namespaces = combinations(&[
        (INJECTION, &["enabled", "disabled", "yes"]),
        (REV, &["default", "canary", "gone"]),
        (ISTIO_INJECTION, &["enabled", "disabled"]),
    ]);
    let pods = combinations(&[
        (INJECT, &["true", "false", "yes"]),
        (REV, &["default", "canary", "gone"]),
        (ISTIO_INJECT, &["true", "false"]),
    ]);
    assert_eq!((namespaces.len(), pods.len()), (48, 48));
    for installed in [Installed::new(false), Installed::new(true)] {
        for namespace in &namespaces {
            for pod in &pods {
                let expected = rule(namespace, pod, installed.istio_labels);
                let reached = installed.reached("shop", namespace, pod);
                assert_eq!(reached, expected, "{namespace:?} {pod:?}");
                for own in ["kube-system", "kube-node-lease", NAMESPACE] {
                    assert_eq!(installed.reached(own, namespace, pod), None, "{own}");
                }
            }
        }
    }
}

/// The rule in words. Returns the revision that is asked, if any.
fn rule(namespace: &Labels, pod: &Labels, istio_labels: bool) -> Option<&'static str> {
    let of = |labels: &Labels, key: &str| labels.get(key).cloned().unwrap_or_default();
    let (injection, inject) = (of(namespace, INJECTION), of(pod, INJECT));
    if injection == "disabled" || inject == "false" {
        return None;
    }
    let revision = pod.get(REV).or(namespace.get(REV));
    if let Some(revision) = revision {
        return REVISIONS.into_iter().find(|known| known == revision);
    }
    let istio = |text: &str| {
        if istio_labels {
            text.to_owned()
        } else {
            String::new()
        }
    };
    let istio_pod = istio(&of(pod, ISTIO_INJECT));
    let istio_namespace = istio(&of(namespace, ISTIO_INJECTION));
    let asked = match (inject.as_str(), injection.as_str()) {
        ("true", _) => true,
        (_, "enabled") => istio_pod != "false",
        // Weir's labels say nothing.
        _ => match istio_namespace.as_str() {
            "enabled" => istio_pod != "false",
            "disabled" => false,
            _ => istio_pod == "true",
        },
    };
    asked.then_some("default")
}

/// Every choice of one value, or none, for each key.
fn combinations(keys: &[(&str, &[&str])]) -> Vec<Labels> {
    keys.iter().fold(vec![Labels::new()], |all, (key, values)| {
        all.into_iter()
            .flat_map(|labels| {
                let with = values.iter().map({
                    let labels = labels.clone();
                    move |value| {
                        let mut labels = labels.clone();
                        labels.insert((*key).to_owned(), (*value).to_owned());
                        labels
                    }
                });
                std::iter::once(labels).chain(with).collect::<Vec<_>>()
            })
            .collect()
    })
}

// === impl Installed ===

impl Installed {
    fn new(istio_labels: bool) -> Self {
        let webhooks = REVISIONS.into_iter().flat_map(|revision| {
            let rendered =
                Rendered::with(&format!("revision={revision},istioLabels={istio_labels}"));
            let configuration = rendered.one("MutatingWebhookConfiguration");
            let webhooks = configuration["webhooks"].as_array().unwrap().clone();
            webhooks.into_iter().map(move |webhook| (revision, webhook))
        });
        Self {
            istio_labels,
            webhooks: webhooks.collect(),
        }
    }

    /// The revision whose webhook is asked about a pod. More than one entry that matches is a fault.
    fn reached(&self, name: &str, namespace: &Labels, pod: &Labels) -> Option<&'static str> {
        let mut namespace = namespace.clone();
        namespace.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
        let mut matching = self.webhooks.iter().filter(|(_, webhook)| {
            selects(&webhook["namespaceSelector"], &namespace)
                && selects(&webhook["objectSelector"], pod)
        });
        let first = matching.next();
        let second = matching.next();
        assert!(
            second.is_none(),
            "{namespace:?} {pod:?}: {first:?} and {second:?}"
        );
        first.map(|(revision, _)| *revision)
    }
}
