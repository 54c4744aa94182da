//! Reviews of pods: AdmissionReview v1 in, AdmissionReview v1 out.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use weir_api::inbound_demands::InboundDemands;

use crate::{
    Cluster, Config, Decision, InjectError, Injection, Namespace, Place,
    admission::{Request, answer, denial},
    inject,
};

mod decided;

pub use crate::admission::ReviewError;
pub use decided::{Decided, Owner};

/// An answered review.
#[derive(Debug, Clone)]
pub struct Reviewed {
    /// What was answered, for metrics and logs.
    pub outcome: Outcome,
    /// The AdmissionReview to send back.
    pub response: Value,
    /// What was decided about which pod; `None` if it was no creation of one.
    pub decided: Option<Decided>,
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

/// What is known of a namespace.
pub(crate) type Namespaces<'a> = dyn Fn(&str) -> Option<Arc<Namespace>> + Send + Sync + 'a;
/// What rules demand of whoever connects to a pod, given its namespace, its labels and all of it.
pub(crate) type Rules =
    dyn Fn(&str, &BTreeMap<&str, &str>, &Value) -> Option<InboundDemands> + Send + Sync;

/// What is known of the cluster that a pod is created in.
pub(crate) struct Known<'a> {
    pub(crate) about: &'a Namespaces<'a>,
    pub(crate) rules: &'a Rules,
    /// Of all of it.
    pub(crate) cluster: Option<&'a Cluster>,
}

/// Answers an AdmissionReview. Any bytes may come in; none makes this panic.
///
/// # Errors
/// The body is no AdmissionReview.
pub fn review(body: &[u8], config: &Config) -> Result<Reviewed, ReviewError> {
    let known = Known {
        about: &|_| None,
        rules: &|_, _, _| None,
        cluster: None,
    };
    review_in(body, &known, config)
}

/// [`review`], in a cluster of which more is known.
pub(crate) fn review_in(
    body: &[u8],
    known: &Known<'_>,
    config: &Config,
) -> Result<Reviewed, ReviewError> {
    let request = Request::parse(body)?;
    if !creates_a_pod(&request) {
        let warning = format!(
            "this webhook injects pods that are created; {} of {} is admitted as it is",
            request.operation, request.kind.kind
        );
        let response = answer(&request.uid, json!({"allowed": true}), vec![warning]);
        return Ok(Reviewed {
            outcome: Outcome::NotAPod,
            response,
            decided: None,
        });
    }
    let about = (known.about)(request.namespace());
    let pod = &request.object;
    let inbound = (known.rules)(request.namespace(), &labels(pod), pod);
    let place = Place {
        namespace: request.namespace(),
        about: about.as_deref(),
        cluster: known.cluster,
        is_selected: true,
        inbound: inbound.as_ref(),
    };
    let injection = inject(&request.object, place, config);
    let (outcome, fields, reason) = match &injection {
        Ok(injection) => admitted(injection),
        Err(error) => (Outcome::Denied, refused(error), error.to_string()),
    };
    let warnings = injection.map(|injection| injection.warnings);
    let warnings = warnings.unwrap_or_default();
    Ok(Reviewed {
        outcome,
        decided: Some(Decided::new(&request, outcome, reason, warnings.clone())),
        response: answer(&request.uid, fields, warnings),
    })
}

/// The labels of a pod. One that is no text selects nothing, and is refused later.
fn labels(pod: &Value) -> BTreeMap<&str, &str> {
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    let texts = labels.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    texts.collect()
}

fn creates_a_pod(request: &Request) -> bool {
    let is_pod = request.kind.group.is_empty() && request.kind.kind == "Pod";
    is_pod && request.is_whole() && request.operation == "CREATE"
}

fn admitted(injection: &Injection) -> (Outcome, Value, String) {
    let (decision, patch) = (injection.decision, &injection.patch);
    let label = json!({"decision": decision.label()});
    let mut fields = json!({"allowed": true, "auditAnnotations": label});
    let outcome = if !decision.injects() {
        Outcome::Skipped(decision)
    } else if patch.is_empty() {
        Outcome::Unchanged(decision)
    } else {
        fields["patchType"] = "JSONPatch".into();
        fields["patch"] = BASE64_STANDARD.encode(json!(patch).to_string()).into();
        Outcome::Injected(decision)
    };
    (outcome, fields, decision.to_string())
}

fn refused(error: &InjectError) -> Value {
    // A bug of ours must not be told to the pod's author as theirs.
    let (code, reason) = match error {
        InjectError::Patch(_) => (500, "InternalError"),
        _ => (400, "BadRequest"),
    };
    denial(
        code,
        reason,
        &format!("weir cannot inject this pod: {error}"),
    )
}

#[cfg(test)]
pub(crate) mod tests;
