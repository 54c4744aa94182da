//! AdmissionReview v1 in, AdmissionReview v1 out.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Config, Decision, InjectError, inject};

/// The only version of the review this webhook is registered for.
const API_VERSION: &str = "admission.k8s.io/v1";
/// Kind of the review.
const KIND: &str = "AdmissionReview";
/// Bytes of the message with a refusal; enough for a reason for each annotation.
const MESSAGE_BYTES: usize = 4096;
/// Bytes of one warning; the API server may cut longer ones off.
const WARNING_BYTES: usize = 256;
/// Bytes of all warnings, below the 4096 after which the API server drops them.
const WARNINGS_BYTES: usize = 3800;

/// An answered review.
#[derive(Debug, Clone)]
pub struct Reviewed {
    /// What was answered, for metrics and logs.
    pub outcome: Outcome,
    /// The AdmissionReview to send back.
    pub response: Value,
}

/// What a review came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A patch was sent.
    Injected(Decision),
    /// The pod has all of it already; the patch would have been empty.
    Unchanged(Decision),
    /// The pod is admitted as it is.
    Skipped(Decision),
    /// The pod is refused.
    Denied,
    /// Not the creation of a pod; admitted.
    NotAPod,
}

/// A body that is not an AdmissionReview v1 with a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("body is not an {API_VERSION} {KIND}: {path}: {reason}")]
pub struct ReviewError {
    /// The field.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The part of the review that is read; the API server sends more.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview {
    api_version: String,
    kind: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    kind: GroupKind,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    operation: String,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize, Default)]
struct GroupKind {
    #[serde(default)]
    group: String,
    kind: String,
}

/// Answers an AdmissionReview. Any bytes may come in; none makes this panic.
pub fn review(body: &[u8], config: &Config) -> Result<Reviewed, ReviewError> {
    let request = parse(body)?;
    if !request.creates_a_pod() {
        let warning = format!(
            "this webhook injects pods that are created; {} of {} is admitted as it is",
            request.operation, request.kind.kind
        );
        let response = answer(&request.uid, json!({"allowed": true}), vec![warning]);
        return Ok(Reviewed {
            outcome: Outcome::NotAPod,
            response,
        });
    }
    let namespace = request.namespace.as_deref().unwrap_or("default");
    let (outcome, fields, warnings) = match inject(&request.object, namespace, config) {
        Ok(injection) => {
            let (decision, patch) = (injection.decision, injection.patch);
            let reason = json!({"decision": decision.label()});
            let mut fields = json!({"allowed": true, "auditAnnotations": reason});
            let outcome = if !decision.injects() {
                Outcome::Skipped(decision)
            } else if patch.is_empty() {
                Outcome::Unchanged(decision)
            } else {
                fields["patchType"] = "JSONPatch".into();
                fields["patch"] = BASE64_STANDARD.encode(json!(patch).to_string()).into();
                Outcome::Injected(decision)
            };
            (outcome, fields, injection.warnings)
        }
        Err(error) => (Outcome::Denied, denial(&error), Vec::new()),
    };
    Ok(Reviewed {
        outcome,
        response: answer(&request.uid, fields, warnings),
    })
}

fn parse(body: &[u8]) -> Result<Request, ReviewError> {
    let wrong = |path: &str, reason: String| ReviewError {
        path: if path == "." { "top level" } else { path }.to_owned(),
        reason,
    };
    let json = &mut serde_json::Deserializer::from_slice(body);
    let review: AdmissionReview = serde_path_to_error::deserialize(&mut *json)
        .map_err(|error| wrong(&error.path().to_string(), error.inner().to_string()))?;
    json.end().map_err(|error| wrong(".", error.to_string()))?;
    if review.kind != KIND {
        return Err(wrong(
            "kind",
            format!("expected {KIND:?}, found {:?}", review.kind),
        ));
    }
    if review.api_version != API_VERSION {
        let found = review.api_version;
        return Err(wrong(
            "apiVersion",
            format!("expected {API_VERSION:?}, found {found:?}"),
        ));
    }
    if review.request.uid.is_empty() {
        return Err(wrong("request.uid", "empty".to_owned()));
    }
    Ok(review.request)
}

impl Request {
    fn creates_a_pod(&self) -> bool {
        let is_pod = self.kind.group.is_empty() && self.kind.kind == "Pod";
        let whole = self.sub_resource.as_deref().unwrap_or_default().is_empty();
        is_pod && whole && self.operation == "CREATE"
    }
}

fn denial(error: &InjectError) -> Value {
    // A bug of ours must not be told to the pod's author as theirs.
    let (code, reason) = match error {
        InjectError::Patch(_) => (500, "InternalError"),
        _ => (400, "BadRequest"),
    };
    let message = format!("weir cannot inject this pod: {error}");
    json!({"allowed": false, "status": {
        "code": code,
        "reason": reason,
        "message": cut(&message, MESSAGE_BYTES),
    }})
}

fn answer(uid: &str, mut response: Value, warnings: Vec<String>) -> Value {
    response["uid"] = uid.into();
    let warnings = bounded(warnings);
    if !warnings.is_empty() {
        response["warnings"] = warnings.into();
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
}

/// Warnings as the API server passes them on: short, few, and without control characters, for which
/// it would drop them.
fn bounded(warnings: Vec<String>) -> Vec<String> {
    let mut left = WARNINGS_BYTES;
    let short = warnings.into_iter().map(|warning| {
        let text: String = format!("weir: {warning}")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        cut(&text, WARNING_BYTES).to_owned()
    });
    short
        .take_while(|warning| {
            let fits = warning.len() <= left;
            left = left.saturating_sub(warning.len());
            fits
        })
        .collect()
}

/// The longest prefix of at most `bytes` bytes that ends between characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
