//! `v1.Service` to [`Service`].

use std::net::IpAddr;

use super::{
    Problem, Problems, is_tcp,
    wire::{self, ServiceSpec},
};
use crate::model::{
    Hint, InternalTrafficPolicy, Interner, Service, ServiceKind, ServicePort, SessionAffinity,
    TrafficDistribution,
};

/// Reads a Service. `None` if it has no name; ports and addresses that make no sense are left out.
pub fn service(
    service: &wire::Service,
    names: &Interner,
    problems: &mut Vec<Problem>,
) -> Option<Service> {
    let mut problems = Problems::of("Service", &service.metadata, problems);
    let name = problems.name(names)?;
    let empty = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let kind = kind(spec);
    let captures = kind != ServiceKind::ExternalName;
    let local = spec.internal_traffic_policy.as_deref() == Some("Local");
    Some(Service {
        name,
        created: service.metadata.created(),
        kind,
        addresses: if captures {
            addresses(service, spec, &mut problems)
        } else {
            Vec::new()
        },
        ports: if captures {
            ports(spec, &mut problems)
        } else {
            Vec::new()
        },
        internal_traffic_policy: if local {
            InternalTrafficPolicy::Local
        } else {
            InternalTrafficPolicy::Cluster
        },
        traffic_distribution: traffic_distribution(spec, &mut problems),
        session_affinity: session_affinity(spec, &mut problems),
        entry: None,
    })
}

fn session_affinity(spec: &ServiceSpec, problems: &mut Problems) -> SessionAffinity {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => SessionAffinity::None,
        Some("ClientIP") => SessionAffinity::ClientIp,
        Some(other) => {
            let reason = format!("{other:?} is not supported: None or ClientIP");
            problems.push("spec.sessionAffinity", reason);
            SessionAffinity::None
        }
    }
}

fn traffic_distribution(spec: &ServiceSpec, problems: &mut Problems) -> TrafficDistribution {
    match spec.traffic_distribution.as_deref() {
        None | Some("") => TrafficDistribution::Any,
        Some("PreferSameZone" | "PreferClose") => TrafficDistribution::PreferSameZone,
        Some("PreferSameNode") => TrafficDistribution::PreferSameNode,
        Some(other) => {
            let reason = format!(
                "{other:?} is not supported: PreferSameZone, PreferClose or PreferSameNode"
            );
            problems.push("spec.trafficDistribution", reason);
            TrafficDistribution::Any
        }
    }
}

fn kind(spec: &ServiceSpec) -> ServiceKind {
    if spec.type_.as_deref() == Some("ExternalName") {
        ServiceKind::ExternalName
    } else if spec.cluster_ip.as_deref() == Some("None") {
        ServiceKind::Headless
    } else {
        ServiceKind::ClusterIp
    }
}

/// Every address that stands for the service, each once.
fn addresses(service: &wire::Service, spec: &ServiceSpec, problems: &mut Problems) -> Vec<IpAddr> {
    let mut texts = Vec::new();
    let mut add = |field: String, text: &str| {
        if !text.is_empty() && text != "None" {
            texts.push((field, text.to_owned()));
        }
    };
    if let Some(text) = &spec.cluster_ip {
        add("spec.clusterIP".to_owned(), text);
    }
    for (at, text) in spec.cluster_ips.iter().flatten().enumerate() {
        add(format!("spec.clusterIPs[{at}]"), text);
    }
    for (at, text) in spec.external_ips.iter().flatten().enumerate() {
        add(format!("spec.externalIPs[{at}]"), text);
    }
    let status = service.status.as_ref();
    let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    for (at, ingress) in ingress.into_iter().flatten().enumerate() {
        // A load balancer in mode Proxy wants to see the traffic itself.
        if let Some(text) = &ingress.ip
            && ingress.ip_mode.as_deref() != Some("Proxy")
        {
            add(format!("status.loadBalancer.ingress[{at}].ip"), text);
        }
    }
    let mut addresses = Vec::new();
    for (field, text) in texts {
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() || address.is_loopback() => {
                problems.push(field, format!("{text} cannot stand for a service"));
            }
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(_) => problems.push(field, format!("{text:?} is not an IP address")),
        }
    }
    addresses
}

fn ports(spec: &ServiceSpec, problems: &mut Problems) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::new();
    for (at, port) in spec.ports.iter().flatten().enumerate() {
        if !is_tcp(port.protocol.as_deref()) {
            continue;
        }
        let field = format!("spec.ports[{at}].port");
        let Some(number) = problems.port(field.as_str(), port.port) else {
            continue;
        };
        if ports.iter().any(|other| other.port == number) {
            problems.push(field, format!("{number} is there twice"));
            continue;
        }
        ports.push(ServicePort {
            name: port.name.clone().unwrap_or_default(),
            port: number,
            hint: Hint::of(port.app_protocol.as_deref(), port.name.as_deref(), number),
        });
    }
    ports
}
