//! What `helm test` runs, with the rights that the chart gives it.

use std::{env, path::PathBuf};

use serde_json::json;
use weir_tests::skip::{Need, skip};

use crate::{
    helm::{NAMESPACE, documents},
    release::Cluster,
};

/// The program `weir` that Cargo put beside this test, where it was built.
fn weir() -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let built = test.parent()?.parent()?.join("weir");
    built.exists().then_some(built)
}

// === impl Cluster ===

impl Cluster {
    /// Plays the kubelet for the pod of `helm test`: its command succeeds.
    pub(crate) fn passes_the_test_of_the_chart(&self) {
        let Some(weir) = weir() else {
            skip(Need::ApiServer, "weir is not built: make programs");
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
        let output = check.env("KUBECONFIG", kubeconfig).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // Nobody runs the replicas here; everything else is right.
        assert!(said.contains("gets a sidecar"), "{said}");
        assert!(!said.contains("not checked"), "{said}");
        // As Helm does after the test.
        self.server
            .kubectl_with(&["delete", "-f", "-"], &rights)
            .unwrap();
    }
}
