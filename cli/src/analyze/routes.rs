//! Routes that lead nowhere, or are never taken.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    codes::{
        CONFLICTING_HOSTS, HOST_NOT_FOUND, HTTP_ROUTE_ON_TCP, OVERRULED, PORT_NOT_FOUND,
        SUBSET_NOT_FOUND, SUBSET_SELECTS_NONE, UNKNOWN_DESTINATION, UNREACHABLE_ROUTE,
    },
    world::{Finding, World, described, labels, list, may_be_http, protocol},
};
use crate::objects::Placed;

pub(super) fn analyze(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in world.of_kind("VirtualService") {
        findings.extend(hosts(service, world));
        for (field, destination) in destinations(&service.object["spec"]) {
            let host = destination["host"].as_str().unwrap_or_default();
            let port = &destination["port"]["number"];
            findings.extend(leads_nowhere(service, (&field, host, port), world));
        }
        findings.extend(unreachable(service));
    }
    for kind in ["HTTPRoute", "GRPCRoute"] {
        for route in world.of_kind(kind) {
            findings.extend(backends(route, world));
        }
    }
    for rule in world.of_kind("DestinationRule") {
        findings.extend(destination_rule(rule, world));
    }
    findings.extend(conflicting(world));
    findings.extend(in_vain(world));
    findings
}

/// Every destination of a VirtualService, with its field.
fn destinations(spec: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for kind in ["http", "tls", "tcp"] {
        for (index, route) in list(&spec[kind]).iter().enumerate() {
            let at = format!("spec.{kind}[{index}]");
            for (place, to) in list(&route["route"]).iter().enumerate() {
                found.push((
                    format!("{at}.route[{place}].destination"),
                    &to["destination"],
                ));
            }
            if route["mirror"].is_object() {
                found.push((format!("{at}.mirror"), &route["mirror"]));
            }
            for (place, to) in list(&route["mirrors"]).iter().enumerate() {
                found.push((
                    format!("{at}.mirrors[{place}].destination"),
                    &to["destination"],
                ));
            }
        }
    }
    found
}

/// That a Service or a port is not there.
fn leads_nowhere(
    placed: &Placed,
    (field, host, port): (&str, &str, &Value),
    world: &World,
) -> Option<Finding> {
    if host.is_empty() || world.is_external(host) {
        return None;
    }
    let Some((namespace, name)) = world.service_of(host, placed.namespace()) else {
        let message = format!("no Service and no ServiceEntry has host {host}");
        let remedy = "name a Service, or write a ServiceEntry for the host";
        return Some(Finding::new(
            HOST_NOT_FOUND,
            placed,
            format!("{field}.host"),
            message,
            remedy,
        ));
    };
    let Some(service) = world.service(&namespace, &name) else {
        let message = format!("there is no Service {namespace}/{name}");
        let remedy = "name one that is there, with its namespace where it is another one";
        return Some(Finding::new(
            HOST_NOT_FOUND,
            placed,
            format!("{field}.host"),
            message,
            remedy,
        ));
    };
    let ports = list(&service.object["spec"]["ports"]);
    let has = port.is_null() || ports.iter().any(|it| it["port"] == *port);
    (!has).then(|| {
        let known: Vec<_> = ports.iter().map(|it| it["port"].to_string()).collect();
        let message = format!("Service {namespace}/{name} has no port {port}");
        let remedy = format!("name one of {}", known.join(", "));
        Finding::new(
            PORT_NOT_FOUND,
            placed,
            format!("{field}.port"),
            message,
            remedy,
        )
    })
}

/// Hosts of a VirtualService that nobody has, or that do not speak HTTP.
fn hosts(placed: &Placed, world: &World) -> Vec<Finding> {
    let spec = &placed.object["spec"];
    let hosts = list(&spec["hosts"])
        .iter()
        .filter_map(Value::as_str)
        .enumerate();
    let found = hosts.filter_map(|(index, host)| {
        let field = format!("spec.hosts[{index}]");
        let (namespace, name) = world.service_of(host, placed.namespace())?;
        let Some(service) = world.service(&namespace, &name) else {
            let message = format!("there is no Service {namespace}/{name}");
            let remedy = "name one that is there";
            let unknown = Finding::new(UNKNOWN_DESTINATION, placed, field, message, remedy);
            return (!world.is_external(host)).then_some(unknown);
        };
        let mut ports = list(&service.object["spec"]["ports"]).iter().peekable();
        let is_tcp = ports.peek().is_some() && ports.all(|it| !may_be_http(protocol(it)));
        (is_tcp && !list(&spec["http"]).is_empty()).then(|| {
            let message = format!("no port of Service {namespace}/{name} speaks HTTP");
            let remedy = "name a port of it http, or set its appProtocol; or write spec.tcp";
            Finding::new(HTTP_ROUTE_ON_TCP, placed, "spec.http", message, remedy)
        })
    });
    found.collect()
}

/// Routes of a VirtualService that come after one which takes all that they would.
fn unreachable(placed: &Placed) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kind in ["http", "tls", "tcp"] {
        let routes = list(&placed.object["spec"][kind]);
        for (index, route) in routes.iter().enumerate() {
            let takes_all = |earlier: &&(usize, &Value)| {
                let (at, matches) = (earlier.0, list(&earlier.1["match"]));
                let everything = |it: &Value| {
                    it.as_object().is_some_and(|it| {
                        let mut fields = it.iter().filter(|(field, _)| *field != "name");
                        fields.all(|(field, value)| field == "uri" && value["prefix"] == "/")
                    })
                };
                let own = list(&route["match"]);
                let same = !own.is_empty() && own.iter().all(|it| matches.contains(it));
                at < index && (matches.is_empty() || matches.iter().any(everything) || same)
            };
            let earlier: Vec<_> = routes.iter().enumerate().collect();
            if let Some((first, _)) = earlier.iter().find(takes_all) {
                let message = format!("spec.{kind}[{first}] takes everything that it would match");
                let remedy = format!("put it before spec.{kind}[{first}], or leave it out");
                let field = format!("spec.{kind}[{index}]");
                findings.push(Finding::new(
                    UNREACHABLE_ROUTE,
                    placed,
                    field,
                    message,
                    remedy,
                ));
            }
        }
    }
    findings
}

/// Backends of a route of the Gateway API.
fn backends(placed: &Placed, world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, rule) in list(&placed.object["spec"]["rules"]).iter().enumerate() {
        for (place, backend) in list(&rule["backendRefs"]).iter().enumerate() {
            let is_service = backend["kind"]
                .as_str()
                .is_none_or(|kind| kind == "Service");
            let namespace = backend["namespace"].as_str().unwrap_or(placed.namespace());
            let name = backend["name"].as_str().unwrap_or_default();
            if !is_service {
                continue;
            }
            let host = format!("{name}.{namespace}.svc");
            let field = format!("spec.rules[{index}].backendRefs[{place}]");
            let found = leads_nowhere(placed, (&field, &host, &backend["port"]), world);
            // What is a host to others is a name here.
            findings.extend(found.map(|it| Finding {
                field: it.field.replace("].host", "].name"),
                ..it
            }));
        }
    }
    findings
}

fn destination_rule(placed: &Placed, world: &World) -> Vec<Finding> {
    let spec = &placed.object["spec"];
    let host = spec["host"].as_str().unwrap_or_default();
    if host.contains('*') || host.is_empty() || world.is_external(host) {
        return Vec::new();
    }
    let service = world.service_of(host, placed.namespace());
    let service = service.and_then(|(namespace, name)| world.service(&namespace, &name));
    let Some(service) = service else {
        let message = format!("no Service and no ServiceEntry has host {host}");
        let remedy = "name one that is there, with its namespace where it is another one";
        let unknown = Finding::new(UNKNOWN_DESTINATION, placed, "spec.host", message, remedy);
        return vec![unknown];
    };
    let selector = labels(&service.object["spec"]["selector"]);
    let pods = world.pods();
    let subsets = list(&spec["subsets"]).iter().enumerate();
    let empty = subsets.filter(|(_, subset)| {
        let asked = labels(&subset["labels"]);
        let mut pods = pods.iter();
        // Endpoints without a selector are whose labels nobody here knows.
        !selector.is_empty()
            && !asked.is_empty()
            && !pods.any(|pods| {
                pods.namespace == service.namespace() && pods.have(&selector) && pods.have(&asked)
            })
    });
    let found = empty.map(|(index, subset)| {
        let name = subset["name"].as_str().unwrap_or_default();
        let message = format!("subset {name} selects no pod of {}", described(service));
        let remedy = "give pods its labels, or leave it out";
        let field = format!("spec.subsets[{index}].labels");
        Finding::new(SUBSET_SELECTS_NONE, placed, field, message, remedy)
    });
    found.collect()
}

/// VirtualServices of the mesh that are about one host.
fn conflicting(world: &World) -> Vec<Finding> {
    let mut owners = BTreeMap::<String, &Placed>::new();
    let mut findings = Vec::new();
    for placed in world.of_kind("VirtualService") {
        let spec = &placed.object["spec"];
        let gateways = list(&spec["gateways"]);
        if !gateways.is_empty() && !gateways.iter().any(|it| it == "mesh") {
            continue;
        }
        for (index, host) in list(&spec["hosts"])
            .iter()
            .filter_map(Value::as_str)
            .enumerate()
        {
            let host = match world.service_of(host, placed.namespace()) {
                Some((namespace, name)) => format!("{name}.{namespace}"),
                None => host.to_owned(),
            };
            match owners.get(&host) {
                Some(other) if !std::ptr::eq(*other, placed) => {
                    let message = format!("{host} is also a host of {}", described(other));
                    let remedy = "put the routes of a host into one VirtualService, or delegate";
                    let field = format!("spec.hosts[{index}]");
                    let found = Finding::new(CONFLICTING_HOSTS, placed, field, message, remedy);
                    findings.push(found);
                }
                Some(_) => {}
                None => drop(owners.insert(host, placed)),
            }
        }
    }
    findings
}

/// Rules about calls that say something in vain because of what others say, or do not.
fn in_vain(world: &World) -> Vec<Finding> {
    let snapshot = world.snapshot();
    let placed = |name: &str| world.objects.iter().find(|it| described(it) == name);
    let overruled = snapshot
        .overruled()
        .into_iter()
        .filter_map(|(rule, ignored)| {
            // Two VirtualServices were told of already.
            let both = [&rule, &ignored]
                .iter()
                .all(|it| it.kind == "VirtualService");
            let placed = placed(&ignored.to_string()).filter(|_| !both)?;
            let message = format!("does not count where {rule} is about the same Service");
            Some(Finding::new(
                OVERRULED,
                placed,
                ".",
                message,
                "leave the Service to one of them",
            ))
        });
    let lost = snapshot.lost_subsets().into_iter();
    let lost = lost.filter_map(|(rule, service, subset)| {
        let placed = placed(&rule.to_string())?;
        let message = format!("no DestinationRule has subset {subset} of Service {service}");
        let remedy = "add the subset to a DestinationRule of the Service's host";
        Some(Finding::new(
            SUBSET_NOT_FOUND,
            placed,
            "spec",
            message,
            remedy,
        ))
    });
    overruled.chain(lost).collect()
}
