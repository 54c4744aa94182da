//! `v1.Node` to [`Node`].

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

use super::{Problem, Problems, wire};
use crate::model::{Interner, Locality, Node};

/// Label of a node that names its region.
pub const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// Label of a node that names its zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// Label of a node that names its part of the zone. Kubernetes has none.
pub const SUB_ZONE_LABEL: &str = "topology.weir.dev/subzone";

/// Reads a Node. `None` if it has no name.
pub fn node(node: &wire::Node, names: &Interner, problems: &mut Vec<Problem>) -> Option<Node> {
    let name = Problems::of("Node", &node.metadata, problems).name(names)?;
    let label = |key| -> Arc<str> {
        let labels = node.metadata.labels.as_ref();
        let value = labels.and_then(|labels| labels.get(key));
        names.text(value.map(String::as_str).unwrap_or_default())
    };
    Some(Node {
        name: name.name,
        locality: names.locality(&Locality {
            region: label(REGION_LABEL),
            zone: label(ZONE_LABEL),
            sub_zone: label(SUB_ZONE_LABEL),
        }),
        addresses: addresses(node),
    })
}

/// Its own, and the first of each range of its pods' addresses: a bridge that they hang on has that,
/// and what the node sends them comes from there.
fn addresses(node: &wire::Node) -> Vec<IpAddr> {
    let own = node.status.iter().flat_map(|it| &it.addresses).flatten();
    let own = own.filter(|it| ["InternalIP", "ExternalIP"].contains(&it.type_.as_str()));
    let own = own.filter_map(|it| it.address.parse().ok());
    let ranges = node.spec.iter().flat_map(|it| &it.pod_cidrs).flatten();
    let ranges = ranges.filter_map(|text| text.parse::<IpNet>().ok());
    let bridges = ranges.filter_map(first);
    let mut addresses: Vec<IpAddr> = own.chain(bridges).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.shrink_to_fit();
    addresses
}

/// The first address of a range that is not the range's own.
fn first(range: IpNet) -> Option<IpAddr> {
    let first = match range.network() {
        IpAddr::V4(network) => Ipv4Addr::from(u32::from(network).checked_add(1)?).into(),
        IpAddr::V6(network) => Ipv6Addr::from(u128::from(network).checked_add(1)?).into(),
    };
    range.contains(&first).then_some(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_calls_its_pods_from_its_own_addresses_and_those_of_its_bridge() {
        let read = |node: serde_json::Value| {
            let node = serde_json::from_value(node).expect("a node");
            let node = super::node(&node, &Interner::default(), &mut Vec::new());
            let addresses = node.expect("named").addresses;
            addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let node = json!({
            "metadata": {"name": "n"},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64", "x"]},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "192.0.2.7"},
                {"type": "Hostname", "address": "n"},
                {"type": "InternalIP", "address": "192.0.2.7"},
            ]},
        });
        assert_eq!(read(node), ["10.244.1.1", "192.0.2.7", "fd00:1::1"]);
        assert!(read(json!({"metadata": {"name": "n"}})).is_empty());
    }
}
