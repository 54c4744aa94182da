//! Clients of the xDS server, for people.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_api::xds::json::Descriptors;
use weir_discovery::xds::{ClientDump, ClientStatus, Hub};

/// Which clients.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The sidecar of this pod (`POD.NAMESPACE`), or the client of this node id.
    proxy: Option<String>,
    /// Those with this in their node id.
    name: Option<String>,
}

/// A stream, and where it comes from.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionView {
    node: String,
    peer: Option<SocketAddr>,
    identity: Option<String>,
    protocol: &'static str,
    connected_s: u64,
}

/// What a client was told.
#[derive(Debug, Serialize)]
pub(super) struct DumpView {
    #[serde(flatten)]
    client: ClientStatus,
    /// By type and name: the resources, where what it was told is still what there is.
    latest: BTreeMap<&'static str, BTreeMap<String, Value>>,
}

/// Who is connected.
pub(super) fn connections(hub: &Hub, wanted: &Wanted) -> Vec<ConnectionView> {
    let clients = hub.summary().clients.into_iter();
    let clients = clients.filter(|client| wanted.fits(&client.node));
    let view = |client: ClientStatus| ConnectionView {
        node: client.node,
        peer: client.peer,
        identity: client.identity,
        protocol: client.protocol,
        connected_s: client.connected_s,
    };
    clients.map(view).collect()
}

/// What the streams of one proxy were told.
pub(super) fn dump(hub: &Hub, wanted: &Wanted) -> Result<Vec<DumpView>, (StatusCode, String)> {
    let Some(proxy) = &wanted.proxy else {
        let reason = "say which proxy: ?proxy=POD.NAMESPACE, or a node id\n".to_owned();
        return Err((StatusCode::BAD_REQUEST, reason));
    };
    let clients = hub.dump(|node| wanted.fits(node));
    if clients.is_empty() {
        let reason = format!("no proxy {proxy} is connected here; see /debug/connections\n");
        return Err((StatusCode::NOT_FOUND, reason));
    }
    // Loaded for this answer only: it is large, and rarely needed.
    let descriptors = Descriptors::load();
    Ok(clients
        .into_iter()
        .map(|client| view(client, &descriptors))
        .collect())
}

fn view(dump: ClientDump, descriptors: &Descriptors) -> DumpView {
    let mut latest: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (kind, resource) in dump.latest {
        let of_kind = latest.entry(kind.word()).or_default();
        of_kind.insert(
            resource.name.to_string(),
            descriptors.to_json(&resource.body),
        );
    }
    DumpView {
        client: dump.client,
        latest,
    }
}

// === impl Wanted ===

impl Wanted {
    /// Whether a client of this node id is one.
    pub(super) fn fits(&self, node: &str) -> bool {
        let is_proxy = |proxy: &str| node == proxy || node.split('~').nth(2) == Some(proxy);
        self.proxy.as_deref().is_none_or(is_proxy)
            && self.name.as_deref().is_none_or(|part| node.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_pod_and_namespace_or_by_its_node_id() {
        let proxy = |proxy: &str| Wanted {
            proxy: Some(proxy.to_owned()),
            name: None,
        };
        let node = "sidecar~10.4.0.7~web-0.shop~shop.svc.cluster.local";
        assert!(proxy("web-0.shop").fits(node) && proxy(node).fits(node));
        assert!(!proxy("web-0").fits(node) && !proxy("shop").fits(node));
        assert!(proxy("envoy").fits("envoy") && Wanted::default().fits("envoy"));
    }
}
