//! Services that say nothing, or different things, of what pods speak.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_api::protocol::Protocol;

use super::{
    codes::{PORT_SAYS_NOTHING, PROTOCOLS_DIFFER, SERVICE_SELECTS_NONE},
    world::{Finding, World, described, labels, list, protocol},
};
use crate::{meshed::Labels, objects::Placed};

pub(super) fn analyze(world: &World) -> Vec<Finding> {
    let pods = world.pods();
    let mut findings = Vec::new();
    for service in world.of_kind("Service") {
        let selector = labels(&service.object["spec"]["selector"]);
        let selects = pods
            .iter()
            .any(|pods| pods.namespace == service.namespace() && pods.have(&selector));
        if !selector.is_empty() && !selects {
            let message = "no pod has its labels";
            let remedy = "name labels that pods have";
            let field = "spec.selector";
            findings.push(Finding::new(
                SERVICE_SELECTS_NONE,
                service,
                field,
                message,
                remedy,
            ));
        }
        for (index, port) in tcp_ports(service) {
            if protocol(port) == Protocol::Auto {
                let number = &port["port"];
                let message = format!("nothing says what port {number} speaks, so it is found out");
                let remedy = "name it http, grpc, tcp or the like, or set its appProtocol";
                let field = format!("spec.ports[{index}].name");
                findings.push(Finding::new(
                    PORT_SAYS_NOTHING,
                    service,
                    field,
                    message,
                    remedy,
                ));
            }
        }
    }
    findings.extend(differing(world));
    findings
}

fn tcp_ports(service: &Placed) -> impl Iterator<Item = (usize, &Value)> {
    let ports = list(&service.object["spec"]["ports"]).iter().enumerate();
    ports.filter(|(_, port)| port["protocol"].as_str().is_none_or(|it| it == "TCP"))
}

/// Services of the same pods that say different things of one port.
fn differing(world: &World) -> Vec<Finding> {
    let mut said = BTreeMap::<(&str, Labels, String), (Protocol, &Placed)>::new();
    let mut findings = Vec::new();
    for service in world.of_kind("Service") {
        let selector = labels(&service.object["spec"]["selector"]);
        for (index, port) in tcp_ports(service).filter(|_| !selector.is_empty()) {
            let speaks = protocol(port);
            let target = match &port["targetPort"] {
                Value::Null => port["port"].to_string(),
                target => target.to_string(),
            };
            let key = (service.namespace(), selector.clone(), target);
            match said.get(&key) {
                Some((other, by))
                    if *other != speaks && ![*other, speaks].contains(&Protocol::Auto) =>
                {
                    let message = format!("{} says {other} of the same port", described(by));
                    let remedy = "say the same in both";
                    let field = format!("spec.ports[{index}].name");
                    findings.push(Finding::new(
                        PROTOCOLS_DIFFER,
                        service,
                        field,
                        message,
                        remedy,
                    ));
                }
                Some(_) => {}
                None => drop(said.insert(key, (speaks, service))),
            }
        }
    }
    findings
}
