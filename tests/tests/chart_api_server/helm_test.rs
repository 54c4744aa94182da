//! What `helm test` runs, with the rights that the chart gives it.

use serde_json::json;
use weir_process::command::{LIMIT, output};
use weir_tests::{
    helm::{NAMESPACE, documents},
    skip,
};

use crate::release::Cluster;

// === impl Cluster ===

impl Cluster {
    /// Plays the kubelet for the pod of `helm test`: its command succeeds.
    pub(crate) fn passes_the_test_of_the_chart(&self) {
        let Some(weir) = skip::built("weir") else {
            return;
        };
        let hooks = self.helm(&["get", "hooks", "weir"]).unwrap();
        let hooks = documents(&hooks);
        let (pods, rights): (Vec<_>, Vec<_>) = hooks.iter().partition(|it| it["kind"] == "Pod");
        let rights = json!({"apiVersion": "v1", "kind": "List", "items": rights}).to_string();
        self.server.apply(&rights).unwrap();
        let pod = &pods[0]["spec"];
        let account = pod["serviceAccountName"].as_str().unwrap();
        let kubeconfig = self.server.kubeconfig_of(NAMESPACE, account).unwrap();
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        let mut check = self.server.command(weir);
        check.args(arguments.iter().map(|argument| argument.as_str().unwrap()));
        let said = output(check.env("KUBECONFIG", kubeconfig), "", LIMIT)
            .unwrap()
            .stdout;
        // Nobody runs the replicas here; everything else is right.
        assert!(said.contains("gets a sidecar"), "{said}");
        assert!(!said.contains("not checked"), "{said}");
        // As Helm does after the test.
        self.server
            .kubectl_with(&["delete", "-f", "-"], &rights)
            .unwrap();
    }
}
