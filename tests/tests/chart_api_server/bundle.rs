//! What the control plane writes into webhook configurations survives Helm and GitOps controllers.

use std::fs;

use serde_json::{Value, json};

use crate::{helm::NAMESPACE, release::Cluster};

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
        let bundle = cluster.write_bundles();
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
    /// Writes a bundle into each webhook, as the control plane does, and returns it.
    fn write_bundles(&self) -> Value {
        let certificate = rcgen::generate_simple_self_signed(["weir".to_owned()]).unwrap();
        let pem = certificate.cert.pem();
        let bundle = json!(base64::Engine::encode(
            &base64::prelude::BASE64_STANDARD,
            pem
        ));
        let patch: Vec<Value> = (0..self.webhooks().len())
            .map(|index| {
                let path = format!("/webhooks/{index}/clientConfig/caBundle");
                json!({"op": "add", "path": path, "value": bundle})
            })
            .collect();
        let patch = format!("--patch={}", Value::from(patch));
        let object = ["mutatingwebhookconfiguration", "weir-injector"];
        let command = [
            "patch",
            "--type=json",
            "--field-manager=weir-control",
            &patch,
        ];
        self.server
            .kubectl(&[&command[..], &object].concat())
            .unwrap();
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
            let seen = diff.args(how).output().unwrap();
            let text = String::from_utf8_lossy(&seen.stdout);
            assert!(seen.status.success(), "{how:?}: {text}");
        }
    }
}
