//! The API server's side of admission: which pods the webhook is asked about, the AdmissionReview
//! it gets, and what its answer does to the pod.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use json_patch::Patch;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::Duration};
use tokio_rustls::TlsConnector;
use weir_api::annotations;

use crate::{kubelet::request, manifest::workload::uid};

/// How long the API server waits for a webhook, unless its configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A mutating webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where it listens.
    pub address: SocketAddr,
    /// Name its certificate must have.
    pub server_name: String,
    /// Path to post to.
    pub path: String,
    /// Root certificates, PEM.
    pub ca: Vec<u8>,
}

/// A pod as admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The pod with the webhook's patch applied.
    pub object: Value,
    /// What the webhook wants the person to know.
    pub warnings: Vec<String>,
}

/// Whether the webhook is asked about a pod: the selectors of its configuration.
#[must_use]
pub fn in_scope(namespace: &BTreeMap<String, String>, pod: &Value) -> bool {
    let label = |name: &str| {
        let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
        labels
            .and_then(|labels| labels.get(name))
            .and_then(Value::as_str)
    };
    let namespace = namespace
        .get(annotations::NAMESPACE_INJECTION)
        .map(String::as_str);
    match (namespace, label(annotations::INJECT)) {
        (Some("disabled"), _) | (_, Some("false")) => false,
        (Some("enabled"), _) | (_, Some("true")) => true,
        _ => false,
    }
}

// === impl Webhook ===

impl Webhook {
    /// Asks about `pod`, which is to be created in `namespace`.
    ///
    /// # Errors
    /// Says why the webhook could not be asked, or why it refuses the pod.
    pub async fn admit(&self, namespace: &str, pod: Value) -> Result<Admitted, String> {
        let review = review(namespace, &pod);
        let answer = tokio::time::timeout(TIMEOUT, self.post(&review)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
        apply(&review, &answer, pod)
    }

    async fn post(&self, review: &Value) -> Result<Value, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            let certificate = certificate.map_err(|error| format!("root certificate: {error}"))?;
            roots
                .add(certificate)
                .map_err(|error| format!("root certificate: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.server_name.clone())
            .map_err(|error| format!("{}: {error}", self.server_name))?;
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| format!("cannot reach the webhook at {}: {error}", self.address))?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS with the webhook {}: {error}", self.server_name))?;
        let question = Request::post(&self.path)
            .header("host", &self.server_name)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(review.to_string())))
            .map_err(|error| error.to_string())?;
        let (status, body) = request::send(stream, question).await?;
        if status != 200 {
            let text = String::from_utf8_lossy(&body);
            return Err(format!("the webhook answered {status}: {}", text.trim()));
        }
        serde_json::from_slice(&body).map_err(|error| format!("the webhook's answer: {error}"))
    }
}

/// The question, as the API server puts it.
fn review(namespace: &str, pod: &Value) -> Value {
    let kind = json!({ "group": "", "version": "v1", "kind": "Pod" });
    let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
    let name = pod
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid(&pod.to_string()),
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": name,
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}

/// What the answer makes of the pod, checked as the API server checks it.
fn apply(review: &Value, answer: &Value, mut pod: Value) -> Result<Admitted, String> {
    let response = &answer["response"];
    if answer["apiVersion"] != review["apiVersion"] || answer["kind"] != review["kind"] {
        return Err("the webhook's answer is not an AdmissionReview v1".to_owned());
    }
    if response["uid"] != review["request"]["uid"] {
        return Err("the webhook answered another request (uid)".to_owned());
    }
    if response["allowed"] != json!(true) {
        let message = response.pointer("/status/message").and_then(Value::as_str);
        return Err(format!(
            "denied by the webhook: {}",
            message.unwrap_or("no reason given")
        ));
    }
    if let Some(patch) = response.get("patch").and_then(Value::as_str) {
        if response["patchType"] != "JSONPatch" {
            return Err("the webhook's patch is not a JSONPatch".to_owned());
        }
        let bytes = BASE64_STANDARD
            .decode(patch)
            .map_err(|error| format!("patch: {error}"))?;
        let patch: Patch =
            serde_json::from_slice(&bytes).map_err(|error| format!("patch: {error}"))?;
        json_patch::patch(&mut pod, &patch).map_err(|error| format!("patch: {error}"))?;
    }
    let warnings = response.get("warnings").and_then(Value::as_array);
    let warnings = warnings.into_iter().flatten().filter_map(Value::as_str);
    Ok(Admitted {
        object: pod,
        warnings: warnings.map(ToOwned::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(inject: Option<&str>) -> Value {
        match inject {
            Some(value) => json!({ "metadata": { "labels": { "weir.dev/inject": value } } }),
            None => json!({ "metadata": {} }),
        }
    }

    #[test]
    fn namespace_and_pod_labels_decide_together() {
        let cases = [
            (None, None, false),
            (None, Some("true"), true),
            (Some("enabled"), None, true),
            (Some("enabled"), Some("false"), false),
            (Some("disabled"), None, false),
            (Some("disabled"), Some("true"), false),
        ];
        for (namespace, label, expected) in cases {
            let labels = namespace.map(|value: &str| {
                (
                    annotations::NAMESPACE_INJECTION.to_owned(),
                    value.to_owned(),
                )
            });
            let labels = labels.into_iter().collect();
            assert_eq!(
                in_scope(&labels, &pod(label)),
                expected,
                "{namespace:?} {label:?}"
            );
        }
    }

    fn answer(review: &Value, response: Value) -> Value {
        let mut answer = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview" });
        answer["response"] = response;
        answer["response"]["uid"] = review["request"]["uid"].clone();
        answer
    }

    #[test]
    fn an_allowed_pod_gets_the_patch_and_the_warnings() {
        let pod = pod(None);
        let review = review("shop", &pod);
        let patch = r#"[{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]"#;
        let answer = answer(
            &review,
            json!({
                "allowed": true, "patchType": "JSONPatch", "warnings": ["odd"],
                "patch": BASE64_STANDARD.encode(patch),
            }),
        );
        let admitted = apply(&review, &answer, pod).expect("admitted");
        assert_eq!(
            admitted.object,
            json!({ "metadata": { "labels": { "a": "b" } } })
        );
        assert_eq!(admitted.warnings, ["odd"]);
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused() {
        let pod = pod(None);
        let review = review("shop", &pod);
        let denied = json!({ "allowed": false, "status": { "message": "no" } });
        let wrong_patch = json!({ "allowed": true, "patchType": "JSONPatch", "patch": "!" });
        let other = json!({ "apiVersion": "v1", "kind": "Status" });
        for (answer, expected) in [
            (answer(&review, denied), "denied by the webhook: no"),
            (answer(&review, wrong_patch), "patch: "),
            (other, "not an AdmissionReview"),
        ] {
            let error = apply(&review, &answer, pod.clone()).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
    }
}
