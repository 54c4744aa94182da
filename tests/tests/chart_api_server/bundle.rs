//! What the control plane writes into webhook configurations survives Helm and GitOps controllers.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weir_process::command::execute;
use weir_tests::helm::NAMESPACE;

use crate::release::{Cluster, PATIENCE};

const CONFIGURATIONS: [(&str, &str); 2] = [
    ("mutatingwebhookconfiguration", "weir-injector"),
    ("validatingwebhookconfiguration", "weir-validator"),
];

#[test]
fn the_bundle_survives_upgrade_and_rollback_and_no_difference_is_seen() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    // As Helm 4 applies, on the server, and as Helm 3 does, by a three-way merge on the client.
    for server_side in ["--server-side=true", "--server-side=false"] {
        let failure_policies = || -> Vec<Value> {
            let webhooks = cluster.webhooks();
            webhooks
                .iter()
                .map(|webhook| webhook["failurePolicy"].clone())
                .collect()
        };
        cluster
            .upgrade("weir", "replicas=2", &[server_side])
            .unwrap();
        let certificate = rcgen::generate_simple_self_signed(["weir".to_owned()]).unwrap();
        let bundle = cluster.write_bundles(&certificate.cert.pem());
        let all_kept = |at: &str| {
            for webhook in cluster.webhooks() {
                assert_eq!(
                    webhook["clientConfig"]["caBundle"], bundle,
                    "{server_side} {at}"
                );
            }
        };
        cluster.see_no_difference();
        let changed = "webhooks.failurePolicy=Ignore,labels.team=a";
        cluster.upgrade("weir", changed, &[server_side]).unwrap();
        assert!(failure_policies().iter().all(|policy| policy == "Ignore"));
        all_kept("after an upgrade");
        cluster
            .helm(&["rollback", "weir", "1", server_side])
            .unwrap();
        assert!(failure_policies().iter().all(|policy| policy == "Fail"));
        all_kept("after a rollback");
        cluster.helm(&["uninstall", "weir"]).unwrap();
    }
}

// === impl Cluster ===

impl Cluster {
    /// Writes a bundle into each webhook, as the control plane and cert-manager do, and returns it.
    pub(crate) fn write_bundles(&self, pem: &str) -> Value {
        let bundle = json!(BASE64_STANDARD.encode(pem));
        for (kind, name) in CONFIGURATIONS {
            let object = self.server.get("", kind, name).unwrap();
            let webhooks = object["webhooks"].as_array().unwrap().len();
            let patch: Vec<Value> = (0..webhooks)
                .map(|index| {
                    let path = format!("/webhooks/{index}/clientConfig/caBundle");
                    json!({"op": "add", "path": path, "value": bundle})
                })
                .collect();
            let patch = format!("--patch={}", Value::from(patch));
            let manager = "--field-manager=weir-control";
            let command = ["patch", kind, name, "--type=json", manager, &patch];
            self.server.kubectl(&command).unwrap();
        }
        bundle
    }

    /// What a GitOps controller sees that compares the rendered objects with those of the cluster.
    fn see_no_difference(&self) {
        let manifest = self.server.dir().join("manifest.yaml");
        fs::write(&manifest, self.helm(&["get", "manifest", "weir"]).unwrap()).unwrap();
        let argo = [
            "--server-side",
            "--force-conflicts",
            "--field-manager=argocd-controller",
        ];
        for how in [&[][..], &argo] {
            let mut diff = self.server.command("kubectl");
            diff.args(["--namespace", NAMESPACE, "diff", "-f"])
                .arg(&manifest);
            execute(diff.args(how), "", PATIENCE).unwrap();
        }
    }
}
