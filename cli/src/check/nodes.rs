//! Nodes: whether their kubelets know native sidecars.

use k8s_openapi::api::core::v1::Node;
use weir_api::annotations;
use weir_injector::config::SidecarMode;

use super::{
    facts::{Facts, name_of},
    finding::Finding,
    version,
};

const CHECK: &str = "nodes";
/// Kubelets from here on start an init container with `restartPolicy: Always` as a sidecar.
const NATIVE_MINOR: u32 = 29;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    match &facts.nodes {
        Err(unread) => vec![unread.finding(CHECK)],
        Ok(nodes) => vec![kubelets(nodes, facts.scope.config.sidecar)],
    }
}

fn kubelets(nodes: &[Node], mode: SidecarMode) -> Finding {
    if nodes.is_empty() {
        return Finding::warning(CHECK, "the cluster has no nodes", "pods will wait for one");
    }
    let old: Vec<&str> = nodes
        .iter()
        .filter(|node| minor(node).is_some_and(|minor| minor < NATIVE_MINOR))
        .map(name_of)
        .collect();
    let all = nodes.len();
    match (old.is_empty(), mode) {
        (true, SidecarMode::Native | SidecarMode::Auto) => Finding::ok(
            CHECK,
            format!("the kubelets know native sidecars (nodes: {all})"),
        ),
        (_, SidecarMode::Classic) => Finding::ok(
            CHECK,
            format!("sidecars are classic, which every kubelet knows (nodes: {all})"),
        ),
        (false, SidecarMode::Auto) => Finding::ok(
            CHECK,
            format!(
                "sidecars are classic, since {} of {all} kubelets are older than \
                 1.{NATIVE_MINOR}; pods of Jobs are left out: {}",
                old.len(),
                shorten(&old)
            ),
        ),
        (false, SidecarMode::Native) => Finding::failure(
            CHECK,
            format!(
                "{} of {all} kubelets are older than 1.{NATIVE_MINOR} and do not know native \
                 sidecars: {}",
                old.len(),
                shorten(&old)
            ),
            format!(
                "set injection.sidecar=auto in the chart's values, or annotate pods that run \
                 there with {}: \"false\"",
                annotations::NATIVE_SIDECAR
            ),
        ),
    }
}

/// Version of the oldest kubelet.
pub(super) fn least_kubelet(nodes: &[Node]) -> Option<(u32, u32)> {
    nodes.iter().filter_map(minor).min().map(|minor| (1, minor))
}

/// Minor version of a node's kubelet.
fn minor(node: &Node) -> Option<u32> {
    let info = node.status.as_ref()?.node_info.as_ref()?;
    let mut parts = info.kubelet_version.strip_prefix("v1.")?.split('.');
    version::number(parts.next()?)
}

/// The first few of many names.
pub(super) fn shorten(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names
        .iter()
        .take(SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
