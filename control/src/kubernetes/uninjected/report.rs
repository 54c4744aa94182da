//! What was found, and what is read of a pod for it.

use kube::{ResourceExt, api::DynamicObject};
use serde::Serialize;
use serde_json::Value;
use weir_api::{annotations::STATUS, sidecar::PROXY_CONTAINER};

use super::unconnected::Candidate;

/// What was found, as `/debug/uninjectedz` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Report {
    /// Whether all pods were looked at. If not, see `error`.
    pub(crate) complete: bool,
    /// When.
    pub(crate) scanned_at: Option<String>,
    /// Why not all pods were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// How many there are.
    pub(crate) total: u64,
    /// Whether there are more than are named.
    pub(crate) truncated: bool,
    pub(crate) pods: Vec<Uninjected>,
    /// Pods whose sidecar never reached a control plane.
    pub(crate) unconnected: Vec<Unconnected>,
}

/// A pod whose sidecar never reached a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unconnected {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A pod that should have a sidecar and has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Uninjected {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) owner: Option<Owner>,
    /// Why it should have one.
    pub(crate) reason: String,
}

/// The controller of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
}

// === impl Unconnected ===

impl From<Candidate> for Unconnected {
    fn from(pod: Candidate) -> Self {
        Self {
            namespace: pod.namespace,
            name: pod.name,
        }
    }
}

/// Whether the injector was there.
pub(super) fn has_sidecar(pod: &DynamicObject) -> bool {
    let has_proxy = |containers: &Value| {
        let containers = containers.as_array().into_iter().flatten();
        containers
            .into_iter()
            .any(|it| it["name"] == PROXY_CONTAINER)
    };
    let spec = &pod.data["spec"];
    pod.annotations().contains_key(STATUS)
        && (has_proxy(&spec["containers"]) || has_proxy(&spec["initContainers"]))
}

/// The controller of a pod.
pub(super) fn owner(pod: &DynamicObject) -> Option<Owner> {
    let mut owners = pod.owner_references().iter();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
    })
}
