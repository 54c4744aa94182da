//! What strangers in the cluster get out of a control plane that may write to it.

use std::{
    process::Command,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use weir_process::command::execute;
use weir_tests::{api_server::ApiServer, eventually::eventually};

use crate::process::{Control, PATIENCE};

/// What nobody but a stranger says.
const MARK: &str = "written-by-a-stranger";

/// Reviews that no API server asked for have no effect: no Event on somebody's Deployment, no ConfigMap in a
/// namespace without sidecars, and no request whose path they choose.
pub(crate) fn are_not_believed(api: &ApiServer, control: &Control, namespace: &str) -> Result<()> {
    api.kubectl(&["create", "namespace", "plain"])?;
    let owner = api.kubectl(&[
        "get",
        "replicasets",
        "-n",
        namespace,
        "-l",
        "app=web",
        "-o",
        "json",
    ])?;
    let owner: Value = serde_json::from_str(&owner)?;
    let owner = &owner["items"][0]["metadata"];
    let pod = json!({"metadata": {
            "name": "made-up", "annotations": {"weir.dev/proxy-cpu": MARK},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner["name"],
                "uid": owner["uid"], "controller": true}],
        },
        "spec": {"containers": [{"name": "app", "image": "app"}]}});
    for (at, status) in [
        (namespace, "200"),
        ("plain", "200"),
        ("not-there", "200"),
        ("kube-system/secrets/foo?x=", "400"),
    ] {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u", "operation": "CREATE", "namespace": at, "object": pod,
                "kind": {"group": "", "version": "v1", "kind": "Pod"}}});
        ensure!(post(control, &review)? == status, "{at}");
    }
    // What is made for a namespace that a watch tells of comes after what would have been made.
    api.kubectl(&["create", "namespace", "later"])?;
    api.kubectl(&["label", "namespace", "later", "weir.dev/injection=enabled"])?;
    let root = |namespace| api.get(namespace, "configmap", "weir-ca-root-cert").ok();
    eventually(PATIENCE, || root("later"))?;
    ensure!(
        root("plain").is_none(),
        "a ConfigMap in a namespace without sidecars"
    );
    let events = api.kubectl(&["get", "events", "-A", "-o", "json"])?;
    ensure!(
        !events.contains(MARK) && !events.contains("made-up"),
        "{events}"
    );
    Ok(())
}

fn post(control: &Control, review: &Value) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--max-time",
        "60",
        "--data-binary",
        "@-",
    ])
    .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
    .args(["--header", "content-type: application/json"])
    .arg(control.webhook_url()?);
    Ok(execute(&mut curl, &review.to_string(), PATIENCE)?)
}

/// Tokens that only the API server can tell from good ones keep no sidecar waiting, and make nobody forget whose
/// token was good.
pub(crate) fn with_tokens_keep_nobody_waiting(
    api: &ApiServer,
    control: &Control,
    namespace: &str,
) -> Result<()> {
    let root = api.dir().join("root-cert.pem");
    let good = api.token(namespace, "default", Some("weir-ca"))?;
    let served = || -> Result<()> {
        let headers = control.open_stream(&root, &good)?;
        ensure!(headers.contains("grpc-status: "), "{headers}");
        ensure!(!headers.contains("grpc-status: 16"), "{headers}");
        Ok(())
    };
    served()?;
    let asked = control.metric("weir_token_reviews_total")?;
    thread::scope(|scope| {
        for stranger in 0..8 {
            let root = &root;
            scope.spawn(move || {
                for number in 0..12 {
                    // Refused, or not in time: either is the stranger's own.
                    let _ = control.open_stream(root, &forged(stranger * 100 + number));
                }
            });
        }
        (0..5).try_for_each(|_| {
            thread::sleep(Duration::from_millis(100));
            served()
        })
    })?;
    let of_strangers = control.metric("weir_token_reviews_total")? - asked;
    ensure!(
        of_strangers > 5.0,
        "the API server was asked about {of_strangers}"
    );
    Ok(())
}

/// A token that says of itself what a good one does.
fn forged(number: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let expiry = now
        .context("a clock")
        .map_or(u64::MAX, |now| now.as_secs() + 3_000);
    let claims = json!({"aud": ["weir-ca"], "exp": expiry, "sub": "system:serviceaccount:shop:default",
        "jti": number, "iss": "https://kubernetes.default.svc"});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": "RS256", "kid": "stranger"});
    let signature = BASE64_URL_SAFE_NO_PAD.encode([7; 256]);
    format!("{}.{}.{signature}", part(&header), part(&claims))
}
