//! AdmissionReview v1, the envelope of every webhook: what comes in, and what goes back.

mod names;

use serde::Deserialize;
use serde_json::{Value, json};

/// The only version of the review this webhook is registered for.
pub(crate) const API_VERSION: &str = "admission.k8s.io/v1";
/// Kind of the review.
pub(crate) const KIND: &str = "AdmissionReview";
/// Bytes of the message with a refusal; enough for a reason for each annotation.
pub(crate) const MESSAGE_BYTES: usize = 4096;
/// Bytes of one warning; the API server may cut longer ones off.
pub(crate) const WARNING_BYTES: usize = 256;
/// Bytes of all warnings, below the 4096 after which the API server drops them.
pub(crate) const WARNINGS_BYTES: usize = 3800;

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

/// What is asked. The object is as it was sent, and may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) kind: GroupKind,
    #[serde(default)]
    pub(crate) sub_resource: Option<String>,
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    #[serde(default)]
    pub(crate) name: Option<String>,
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) dry_run: Option<bool>,
    #[serde(default)]
    pub(crate) object: Value,
    #[serde(default)]
    pub(crate) old_object: Value,
}

/// Group and kind of an object; the group of Kubernetes' oldest kinds is "".
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct GroupKind {
    /// Such as `apps`.
    #[serde(default)]
    pub group: String,
    /// Such as `Deployment`.
    #[serde(default)]
    pub kind: String,
}

// === impl Request ===

impl Request {
    /// Reads the request of a review.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ReviewError> {
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
        let request = review.request;
        if request.uid.is_empty() {
            return Err(wrong("request.uid", "empty".to_owned()));
        }
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        if given(&request.namespace).is_some_and(|name| !names::is_label(&name)) {
            return Err(wrong("request.namespace", "no name of a namespace".into()));
        }
        if given(&request.name).is_some_and(|name| !names::is_segment(&name)) {
            return Err(wrong("request.name", "no name of an object".into()));
        }
        Ok(request)
    }

    /// The namespace of the object. An object that is made often does not name its own.
    pub(crate) fn namespace(&self) -> &str {
        let given = self.namespace.as_deref();
        given.filter(|name| !name.is_empty()).unwrap_or("default")
    }

    /// Whether it is about the object itself and not a part such as its status.
    pub(crate) fn is_whole(&self) -> bool {
        self.sub_resource.as_deref().unwrap_or_default().is_empty()
    }
}

// === the answer ===

/// The review to send back.
pub(crate) fn answer(uid: &str, mut response: Value, warnings: Vec<String>) -> Value {
    response["uid"] = uid.into();
    let warnings = bounded(warnings);
    if !warnings.is_empty() {
        response["warnings"] = warnings.into();
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "response": response})
}

/// The members of an answer that refuses.
pub(crate) fn denial(code: u16, reason: &str, message: &str) -> Value {
    json!({"allowed": false, "status": {
        "code": code,
        "reason": reason,
        "message": cut(message, MESSAGE_BYTES),
    }})
}

/// Warnings as the API server passes them on: short, few, and without control characters, for which
/// it would drop them.
pub(crate) fn bounded(warnings: Vec<String>) -> Vec<String> {
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
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
