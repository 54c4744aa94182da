//! What `weir check` says of a cluster.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_process::command::{LIMIT, Output, output};
use weir_tests::eventually::eventually;

use super::installation::{Cluster, NODE, PATIENCE};

/// What a run said.
struct Said {
    code: Option<i32>,
    checks: Vec<Value>,
}

// === impl Cluster ===

impl Cluster {
    fn check(&self, arguments: &[&str]) -> Result<Said> {
        let output = self.weir(&[&["check", "--output", "json"], arguments].concat())?;
        let report: Value =
            serde_json::from_str(&output.stdout).with_context(|| output.stderr.clone())?;
        Ok(Said {
            code: output.status.code(),
            checks: report["checks"].as_array().cloned().unwrap_or_default(),
        })
    }

    /// Waits until the check fails with these words, each in a failure of that subject. What was
    /// changed takes a moment to be in force.
    fn fails_with(&self, wanted: &[(&str, &str)]) -> Result<()> {
        let mut last = Vec::new();
        let found = eventually(PATIENCE, || {
            let said = self.check(&[]).ok()?;
            last = said.of("failure");
            let has = |(check, words): &(&str, &str)| {
                last.iter()
                    .any(|failure| failure.starts_with(check) && failure.contains(words))
            };
            (said.code == Some(1) && wanted.iter().all(has)).then_some(())
        });
        found.with_context(|| format!("wanted {wanted:?}, failures are {last:#?}"))
    }
}

// === impl Said ===

impl Said {
    /// Findings of a level, as `check: message`.
    fn of(&self, level: &str) -> Vec<String> {
        let of_level = self
            .checks
            .iter()
            .filter(|finding| finding["level"] == level);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        of_level
            .map(|finding| format!("{}: {}", text(&finding["check"]), text(&finding["message"])))
            .collect()
    }
}

#[test]
fn a_check_says_what_is_missing_what_works_and_what_is_broken() -> Result<()> {
    let Some(cluster) = Cluster::start() else {
        return Ok(());
    };
    let api = &cluster.api;

    // An empty cluster.
    api.create_node(NODE, "v1.33.0", &json!({}))?;
    let before = cluster.check(&[])?;
    assert_eq!(before.code, Some(1));
    let failures = before.of("failure");
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0].starts_with("control-plane: Weir is not installed"),
        "{failures:?}"
    );
    let pre = cluster.check(&["--pre"])?;
    assert_eq!(
        (pre.code, pre.of("warning"), pre.of("failure")),
        (Some(0), vec![], vec![])
    );

    // All is well.
    cluster.namespace("shop", &json!({"weir.dev/injection": "enabled"}))?;
    let control_plane = cluster.install()?;
    let mut last = Vec::new();
    let well = eventually(PATIENCE, || {
        let said = cluster.check(&[]).ok()?;
        last = [said.of("warning"), said.of("failure")].concat();
        (said.code == Some(0) && last.is_empty()).then_some(said)
    });
    let well = well.with_context(|| format!("{last:#?}"))?;
    assert!(
        well.of("ok")
            .iter()
            .any(|ok| ok.contains("a pod made in shop gets a sidecar"))
    );

    // A pod from before the label, and a namespace that PodSecurity guards.
    cluster.namespace("late", &json!({}))?;
    api.kubectl(&["run", "early", "-n", "late", "--image=app"])?;
    let guard = "pod-security.kubernetes.io/enforce=restricted";
    api.kubectl(&[
        "label",
        "namespace",
        "late",
        "weir.dev/injection=enabled",
        guard,
    ])?;
    cluster.fails_with(&[("conflicts", "late"), ("injection", "violates PodSecurity")])?;
    let warnings = cluster.check(&[])?.of("warning");
    assert!(
        warnings.iter().any(|it| it.contains("have none: early")),
        "{warnings:?}"
    );
    api.kubectl(&["delete", "namespace", "late", "--wait=false"])?;

    // The control plane may do nothing any more, so that it cannot mend what follows.
    api.kubectl(&["delete", "clusterrolebinding", "weir-control"])?;
    cluster.fails_with(&[("permissions", "the control plane may not list services")])?;
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()])?;
    let pem = k8s_openapi::ByteString(other.cert.pem().into_bytes());
    let patch =
        json!([{"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": pem}]);
    let patch = format!("--patch={patch}");
    let webhooks = ["mutatingwebhookconfiguration", "weir-injector"];
    api.kubectl(&["patch", webhooks[0], webhooks[1], "--type=json", &patch])?;
    cluster.fails_with(&[
        ("injection", "x509"),
        (
            "certificate",
            "API servers will not trust the certificate of \
          weir-control.weir-system.svc",
        ),
    ])?;

    // Nobody answers.
    drop(control_plane);
    cluster.fails_with(&[("injection", "connection refused")])
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named() -> Result<()> {
    let mut weir = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args(["check", "--kubeconfig", "/nonexistent/config"]);
    let Output { status, stderr, .. } = output(&mut weir, "", LIMIT)?;
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("--kubeconfig /nonexistent/config"),
        "{stderr}"
    );
    Ok(())
}
