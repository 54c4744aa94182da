//! Every rendered object is accepted, with no field the API server does not know.

use std::fs;

use crate::{
    helm::{NAMESPACE, Rendered, data, matrix},
    release::Cluster,
};

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
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let command = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let accepted = server.kubectl_with(&command, &list.to_string());
        let accepted = accepted.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            accepted.lines().count(),
            objects.len(),
            "{name}: {accepted}"
        );
    }
}
