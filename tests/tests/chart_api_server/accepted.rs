//! Every rendered object is accepted, with no field the API server does not know.

use std::fs;

use serde_json::{Value, json};
use weir_tests::helm::{NAMESPACE, Rendered, data, matrix};

use crate::release::Cluster;

#[test]
fn every_rendered_chart_is_accepted_by_a_real_api_server() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let server = &cluster.server;
    server.kubectl(&["create", "namespace", NAMESPACE]).unwrap();
    let kinds = fs::read_to_string(data().join("crds.yaml")).unwrap();
    server.apply(&kinds).unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all"];
    server.kubectl(&established).unwrap();
    for (name, values) in matrix() {
        let rendered = Rendered::with_file(&values);
        let objects = rendered.sorted();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let command = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let accepted = server.kubectl_with(&command, &list.to_string());
        let accepted = accepted.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            accepted.lines().count(),
            objects.len(),
            "{name}: {accepted}"
        );
        cluster.takes_its_pod_where_pods_are_restricted(&name, &rendered);
    }
}

// === impl Cluster ===

impl Cluster {
    /// The pod of the Deployment is admitted by Pod Security's strictest level.
    fn takes_its_pod_where_pods_are_restricted(&self, name: &str, rendered: &Rendered) {
        let level = "pod-security.kubernetes.io/enforce=restricted";
        let command = ["label", "namespace", NAMESPACE, "--overwrite", level];
        self.server.kubectl(&command).unwrap();
        let account = rendered.one("ServiceAccount");
        self.server.apply(&account.to_string()).unwrap();
        let template = &rendered.one("Deployment")["spec"]["template"];
        let labels = &template["metadata"]["labels"];
        let mut spec = template["spec"].clone();
        // The class is the cluster's, not the chart's.
        spec["priorityClassName"] = Value::Null;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": "pod", "namespace": NAMESPACE, "labels": labels}});
        let admitted = self.create(&pod, &["--dry-run=server"]);
        admitted.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
