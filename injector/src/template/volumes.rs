//! Volumes of the sidecar, under names that the pod does not use itself.

use serde_json::{Value, json};
use weir_api::sidecar;

use crate::{pod::Pod, status::Status};

/// Volume with the control plane's root certificate.
const CA: &str = "weir-ca";
/// Volume with the token that proves the pod's identity to the control plane.
const TOKEN: &str = "weir-token";
/// Lifetime of the token, renewed by the kubelet at four fifths of it. A longer one is of no use while the
/// API server is away, for nobody can tell then whose it is; one that was stolen is.
const TOKEN_SECONDS: u32 = 3_600;

/// Volume with what the sidecar keeps for when it starts again.
const STATE: &str = "weir-state";
/// Most of that: twice what the sidecar ever keeps, for it writes the new beside the old.
const STATE_SIZE: &str = "8Mi";

/// What the sidecar's volumes are called in one pod.
pub(crate) struct VolumeNames {
    ca: Name,
    token: Name,
    state: Name,
}

/// What a volume is called.
struct Name {
    /// Where nothing stands in the way.
    usual: &'static str,
    chosen: String,
    /// An earlier injection chose it.
    is_old: bool,
}

// === impl VolumeNames ===

impl VolumeNames {
    /// Names for this pod: the usual ones, unless the pod has volumes of its own that are called
    /// so, or will get them from its controller.
    pub(crate) fn of(pod: &Pod<'_>) -> Self {
        let written = Status::written(pod).map(|status| status.volumes);
        let written = written.unwrap_or_default();
        Self {
            ca: Name::choose(CA, pod, &written),
            token: Name::choose(TOKEN, pod, &written),
            state: Name::choose(STATE, pod, &written),
        }
    }

    pub(crate) fn volumes(&self) -> Vec<Value> {
        vec![
            json!({
                "name": self.ca.chosen,
                // The control plane writes this ConfigMap into a namespace when it first sees it.
                // A pod that is quicker starts without and connects as soon as the file appears.
                "configMap": {"name": sidecar::CA_CONFIG_MAP, "optional": true},
            }),
            json!({
                "name": self.token.chosen,
                "projected": {"sources": [{"serviceAccountToken": {
                    "audience": sidecar::TOKEN_AUDIENCE,
                    "expirationSeconds": TOKEN_SECONDS,
                    "path": sidecar::TOKEN_FILE,
                }}]},
            }),
            json!({
                "name": self.state.chosen,
                // In memory: of a pod with a directory on its node's disk, cluster autoscalers say that
                // it cannot be moved.
                "emptyDir": {"medium": "Memory", "sizeLimit": STATE_SIZE},
            }),
        ]
    }

    /// Where the sidecar sees them.
    pub(crate) fn mounts(&self) -> Value {
        json!([
            {"name": self.ca.chosen, "mountPath": sidecar::CA_DIR, "readOnly": true},
            {"name": self.token.chosen, "mountPath": sidecar::TOKEN_DIR, "readOnly": true},
            {"name": self.state.chosen, "mountPath": sidecar::STATE_DIR},
        ])
    }

    /// Says which volumes of the pod are called as the sidecar's would be: who meant to give the
    /// sidecar another one should know that it does not take it.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let names = [&self.ca, &self.token, &self.state].into_iter();
        let other = names.filter(|name| name.chosen != name.usual && !name.is_old);
        other.map(|Name { usual, chosen, .. }| {
            format!("volume {usual:?} is the pod's own and stays; the sidecar's is {chosen:?}")
        })
    }
}

// === impl Name ===

impl Name {
    fn choose(usual: &'static str, pod: &Pod<'_>, written: &[String]) -> Self {
        let is_old = |name: &str| written.iter().any(|written| written == name);
        let is_claimed = |name: &str| {
            let mut claims = pod.owner.iter().flat_map(|owner| &owner.claims);
            claims.any(|claim| claim == name)
        };
        let is_free = |name: &String| {
            let is_theirs = pod.volumes.contains(&name.as_str()) && !is_old(name);
            !is_theirs && !is_claimed(name)
        };
        let others = (2..).map(|number: u32| format!("{usual}-{number}"));
        let mut names = std::iter::once(usual.to_owned()).chain(others);
        let chosen = names.find(is_free).unwrap_or_else(|| usual.to_owned());
        Self {
            usual,
            is_old: is_old(&chosen),
            chosen,
        }
    }
}
