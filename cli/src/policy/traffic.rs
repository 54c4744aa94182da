//! Flows of the last hour, the pods they went to, and the policies in force.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_api::flows::FlowSummary;
use weir_discovery::rules::{KINDS, KnownKind};

use super::FlowsArgs;
use crate::{
    meshed::{self, Labels},
    objects::Placed,
    output,
};

/// What people may keep in a file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Traffic {
    pub(super) pods: Vec<PodFlows>,
    /// AuthorizationPolicies in force, as they are written.
    pub(super) policies: Vec<Value>,
}

/// What was done at one pod.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PodFlows {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) summary: FlowSummary,
}

/// The kind of objects that are asked.
pub(super) fn kind() -> Option<&'static KnownKind> {
    KINDS.iter().find(|it| it.kind == "AuthorizationPolicy")
}

/// Asks every sidecar, and who keeps policies.
pub(super) async fn fetch(args: &FlowsArgs, run_root: &Path) -> anyhow::Result<Traffic> {
    let (mesh, mut pods) = meshed::pods(&args.cluster, run_root).await?;
    if let Some(namespace) = &args.namespace {
        pods.retain(|pod| pod.namespace == *namespace);
    }
    if pods.is_empty() {
        return Ok(Traffic::default());
    }
    let labels = mesh.labels().await?;
    let mut told = Vec::new();
    meshed::ask(&pods, "/flows", "flows", |pod, text| {
        let name = (pod.namespace.clone(), pod.name.clone());
        match serde_json::from_str(text) {
            Ok(summary) => told.push(PodFlows {
                labels: labels.get(&name).cloned().unwrap_or_default(),
                namespace: name.0,
                name: name.1,
                summary,
            }),
            Err(error) => output::error(&format!("weir: flows of {}: {error}", pod.reach.name())),
        }
    })
    .await?;
    told.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    let mut policies = Vec::new();
    if let Some(kind) = kind() {
        policies = mesh.objects(kind.kind, kind.path).await?;
    }
    Ok(Traffic {
        pods: told,
        policies: policies
            .into_iter()
            .map(|Placed { object, .. }| object)
            .collect(),
    })
}
