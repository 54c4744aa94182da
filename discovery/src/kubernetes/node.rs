//! `v1.Node` to [`Node`].

use std::sync::Arc;

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
    })
}
