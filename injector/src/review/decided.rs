//! What was decided about a pod, for whoever tells people besides the API server.

use serde_json::Value;

use super::Outcome;
use crate::{admission::Request, inject::display_name};

/// What was decided about a pod, and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod, or what its name will begin with.
    pub pod: String,
    /// The controller that made it. The pod itself is not there yet, and has no uid.
    pub owner: Option<Owner>,
    /// What was answered.
    pub outcome: Outcome,
    /// Why; to be read after "injected: ", "not injected: " or "refused: ".
    pub reason: String,
    /// What its author should know besides.
    pub warnings: Vec<String>,
    /// Nothing is made, and nothing must be written about it.
    pub dry_run: bool,
}

/// The controller of a pod, as its owner reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

// === impl Decided ===

impl Decided {
    pub(super) fn new(
        request: &Request,
        outcome: Outcome,
        reason: String,
        warnings: Vec<String>,
    ) -> Self {
        let owners = request.object["metadata"]["ownerReferences"].as_array();
        let mut owners = owners.into_iter().flatten();
        let named = request.name.as_deref().filter(|name| !name.is_empty());
        Self {
            namespace: request.namespace().to_owned(),
            pod: named
                .unwrap_or_else(|| display_name(&request.object))
                .to_owned(),
            owner: owners
                .find(|owner| owner["controller"] == true)
                .map(Owner::read),
            outcome,
            reason,
            warnings,
            dry_run: request.dry_run.unwrap_or(false),
        }
    }
}

impl Owner {
    fn read(reference: &Value) -> Self {
        let text = |key: &str| reference[key].as_str().unwrap_or_default().to_owned();
        Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
        }
    }
}
