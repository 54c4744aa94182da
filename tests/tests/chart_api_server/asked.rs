//! Which pods a real API server asks the webhooks about: the rows of `reach.yaml`, and what the
//! conditions keep off the wire. No control plane runs, so that a pod it would ask about is refused, and
//! the refusal names the webhook and its Service.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;
use serde_json::{Value, json};
use weir_tests::helm::{NAMESPACE, data};

use crate::release::Cluster;

type Labels = BTreeMap<String, String>;

/// A row of the table.
#[derive(Deserialize)]
struct Row {
    name: Option<String>,
    #[serde(default)]
    namespace: Labels,
    #[serde(default)]
    pod: Labels,
    reached: Option<String>,
    with_istio_labels: Option<String>,
}

#[test]
fn a_real_api_server_asks_about_the_pods_of_the_table() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let text = fs::read_to_string(data().join("reach.yaml")).unwrap();
    let rows: Vec<Row> = yaml_serde::from_str(&text).unwrap();
    cluster
        .upgrade("weir-canary", "revision=canary", &[])
        .unwrap();
    for istio_labels in [false, true] {
        let values = format!("istioLabels={istio_labels}");
        cluster.upgrade("weir", &values, &[]).unwrap();
        for (index, row) in rows.iter().enumerate() {
            let expected = match &row.with_istio_labels {
                Some(reached) if istio_labels => Some(reached.as_str()),
                _ => row.reached.as_deref(),
            };
            let namespace = cluster.labelled(index, row);
            let asked = cluster.asked(&pod(&namespace, &row.pod, &json!({})));
            let expected = expected.filter(|reached| *reached != "none");
            assert_eq!(
                asked.as_deref(),
                expected,
                "{:?} {:?}",
                row.namespace,
                row.pod
            );
        }
    }
    conditions_keep_pods_off_the_wire(&cluster);
}

fn conditions_keep_pods_off_the_wire(cluster: &Cluster) {
    let command = ["create", "namespace", "conditions"];
    cluster.server.kubectl(&command).unwrap();
    let asks = Labels::from([("weir.dev/inject".to_owned(), "true".to_owned())]);
    let asked = |namespace: &str, changes: &Value| cluster.asked(&pod(namespace, &asks, changes));
    assert_eq!(asked("conditions", &json!({})).as_deref(), Some("default"));
    let plain = json!({"spec": {"hostNetwork": false, "os": {"name": "linux"}},
        "metadata": {"annotations": {"a": "b"}}});
    assert_eq!(asked("conditions", &plain).as_deref(), Some("default"));
    for unasked in [
        json!({"spec": {"hostNetwork": true}}),
        json!({"spec": {"os": {"name": "windows"}}}),
    ] {
        assert_eq!(asked("conditions", &unasked), None, "{unasked}");
    }
    for system in ["kube-system", "kube-public", "kube-node-lease", NAMESPACE] {
        assert_eq!(asked(system, &json!({})), None, "{system}");
    }
}

/// A pod with these labels, changed by a merge patch.
fn pod(namespace: &str, labels: &Labels, changes: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    });
    json_patch::merge(&mut pod, changes);
    pod
}

// === impl Cluster ===

impl Cluster {
    /// The namespace of a row, with its labels.
    fn labelled(&self, index: usize, row: &Row) -> String {
        let name = row.name.clone().unwrap_or_else(|| format!("row-{index}"));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": row.namespace}});
        self.server.apply(&namespace.to_string()).unwrap();
        name
    }

    /// The revision whose webhook would be asked about a pod.
    fn asked(&self, pod: &Value) -> Option<String> {
        // Without the ServiceAccount that a controller has yet to make, the refusal is another one.
        let mut pod = pod.clone();
        pod["spec"]["serviceAccountName"] = "default".into();
        let namespace = pod["metadata"]["namespace"].as_str().unwrap();
        self.await_account(namespace);
        let error = self.create(&pod, &["--dry-run=server"]).err()?.to_string();
        assert!(error.contains("failed calling webhook"), "{error}");
        assert!(error.contains(".injector.weir.dev"), "{error}");
        let canary = error.contains("//weir-control-canary.weir-system.svc:443/inject");
        let default = error.contains("//weir-control.weir-system.svc:443/inject");
        assert!(canary != default, "{error}");
        Some(if canary { "canary" } else { "default" }.to_owned())
    }
}
