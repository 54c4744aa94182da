//! The parents of a route.

use serde_json::Value;

use super::{
    GROUP,
    fault::{Fault, Faults},
    wire,
};
use crate::{
    model::Parent,
    rules::{Findings, Place},
};

/// A parent of a route that is a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadParent {
    /// Which of the route's parents it is, from 0.
    pub index: usize,
    /// The service or its port; else what is wrong.
    pub parent: Result<Parent, Fault>,
}

/// The parents that are services. Others are those of other controllers.
pub(super) fn parents(refs: &[Value], place: &Place<'_>) -> Vec<ReadParent> {
    let services = refs.iter().enumerate().filter(|(_, it)| is_service(it));
    let services = services.map(|(index, value)| {
        let mut faults = Faults::default();
        let parent = read(
            &format!("spec.parentRefs[{index}]"),
            value,
            place,
            &mut faults,
        );
        let fault = faults.0.into_iter().next();
        let parent = match (parent, fault) {
            (Some(parent), None) => Ok(parent),
            (_, Some(fault)) => Err(fault),
            // What gives no parent has said why.
            (None, None) => return None,
        };
        Some(ReadParent { index, parent })
    });
    services.flatten().collect()
}

/// Says where somebody meant a service: where no group is named, it is that of gateways.
pub(super) fn warn_of_no_group(refs: &[Value], findings: &mut Findings) {
    let is_of_gateways = |value: &Value| value["group"].as_str().is_none_or(|it| it == GROUP);
    for (index, value) in refs.iter().enumerate() {
        if value["kind"] == "Service" && is_of_gateways(value) {
            findings.warned(
                format!("spec.parentRefs[{index}].group"),
                format!("is {GROUP}, which has no Service: write group: \"\" for one"),
            );
        }
    }
}

fn is_service(value: &Value) -> bool {
    value["kind"] == "Service" && value["group"] == ""
}

fn read(at: &str, value: &Value, place: &Place<'_>, faults: &mut Faults) -> Option<Parent> {
    let said: wire::ParentRef = faults.typed(at, value)?;
    if said.name.is_empty() {
        faults.malformed(&format!("{at}.name"), "is empty: name the Service");
    }
    if said.port == Some(0) {
        faults.malformed(&format!("{at}.port"), "0 is not a port (1 to 65535)");
    }
    let namespace = said.namespace.as_deref().unwrap_or(place.namespace);
    Some(Parent {
        service: place.names.name(namespace, &said.name),
        port: said.port,
        section: said.section_name.as_deref().map(|it| place.names.text(it)),
    })
}
