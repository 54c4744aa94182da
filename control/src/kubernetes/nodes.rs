//! The oldest kubelet of the cluster, which decides whether sidecars can be native.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};

use super::failure;

/// Major and minor version of a kubelet.
pub(crate) type Version = (u32, u32);

/// Label with a node's operating system.
const OS: &str = "kubernetes.io/os";
/// Nodes of a page of the listing: they carry the names of all their images.
const PAGE: u32 = 100;

/// The kubelets of all nodes that could run a sidecar.
#[derive(Debug, Default)]
struct Kubelets {
    by_node: BTreeMap<String, Version>,
}

/// Tells `changed` the version of the oldest kubelet, first when all nodes were listed, then
/// whenever it changes (`None`: there is no node); or why it cannot be told. Never returns.
pub(crate) async fn watch(
    client: Client,
    mut changed: impl FnMut(Result<Option<Version>, String>) + Send,
) {
    let nodes = watcher(Api::<Node>::all(client), Config::default().page_size(PAGE));
    let mut nodes = std::pin::pin!(nodes.default_backoff());
    let (mut kubelets, mut listing) = (Kubelets::default(), None);
    let mut told = None;
    while let Some(event) = nodes.next().await {
        match event {
            Ok(Event::Init) => listing = Some(Kubelets::default()),
            Ok(Event::InitApply(node)) => listing.get_or_insert_default().apply(&node),
            Ok(Event::InitDone) => kubelets = listing.take().unwrap_or_default(),
            Ok(Event::Apply(node)) => kubelets.apply(&node),
            Ok(Event::Delete(node)) => {
                kubelets.by_node.remove(&node.name_any());
            }
            Err(error) => {
                changed(Err(failure(&error)));
                continue;
            }
        }
        let oldest = kubelets.by_node.values().min().copied();
        if listing.is_none() && told != Some(oldest) {
            told = Some(oldest);
            changed(Ok(oldest));
        }
    }
}

// === impl Kubelets ===

impl Kubelets {
    fn apply(&mut self, node: &Node) {
        let name = node.name_any();
        let info = node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref());
        let version = info.and_then(|info| parse(&info.kubelet_version));
        let is_linux = node.labels().get(OS).is_none_or(|os| os == "linux");
        match version.filter(|_| is_linux) {
            Some(version) => self.by_node.insert(name, version),
            None => self.by_node.remove(&name),
        };
    }
}

/// Reads `v1.29.4`, `v1.30.0-gke.100` and their like.
fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?;
    let end = minor.find(|c: char| !c.is_ascii_digit());
    Some((major, minor[..end.unwrap_or(minor.len())].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::*;
    use crate::kubernetes::fake::FakeApi;

    fn node(version: &str, os: &str) -> Value {
        json!({"metadata": {"labels": {OS: os}},
               "status": {"nodeInfo": {
                   "kubeletVersion": version, "architecture": "", "bootID": "",
                   "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                   "machineID": "", "operatingSystem": os, "osImage": "", "systemUUID": ""}}})
    }

    #[test]
    fn versions_of_vendors_are_read() {
        assert_eq!(parse("v1.29.4"), Some((1, 29)));
        assert_eq!(parse("v1.30.0-gke.100"), Some((1, 30)));
        assert_eq!(parse("1.28+"), Some((1, 28)));
        assert_eq!(parse("unknown"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_kubelet_of_a_linux_node_is_told_when_it_changes() {
        let api = FakeApi::new();
        api.put("nodes/one", node("v1.31.1", "linux"));
        api.put("nodes/two", node("v1.28.0", "windows"));
        let (told, mut heard) = mpsc::unbounded_channel();
        tokio::spawn(watch(api.client(), move |oldest| {
            let _ = told.send(oldest);
        }));
        assert_eq!(heard.recv().await, Some(Ok(Some((1, 31)))));
        api.put("nodes/three", node("v1.33.0", "linux"));
        api.put("nodes/four", node("v1.28.9", "linux"));
        assert_eq!(heard.recv().await, Some(Ok(Some((1, 28)))));
        api.remove("nodes/four");
        assert_eq!(heard.recv().await, Some(Ok(Some((1, 31)))));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(heard.try_recv().is_err());
    }
}
