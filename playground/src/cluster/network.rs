//! What follows from Services and pods for the network: kube-proxy's rules and the names in DNS.

use std::net::SocketAddrV4;

use k8s_openapi::api::core::v1::{Service, ServicePort as Port};

use super::{Cluster, cluster_ip, endpoints, ports_of, service_name};
use crate::{
    address,
    dns::{Target, Zone},
    service_rules::{Protocol, ServicePort},
};

impl Cluster {
    /// What kube-proxy would program.
    #[must_use]
    pub fn service_ports(&self) -> Vec<ServicePort> {
        let mut ports = Vec::new();
        for service in &self.services {
            let Some(cluster_ip) = cluster_ip(service) else {
                continue;
            };
            let pods = endpoints::pods_of(self, service);
            for port in ports_of(service) {
                let Some((protocol, number)) = transport(port) else {
                    continue;
                };
                let ready = pods.iter().filter(|pod| pod.status.is_endpoint(service));
                let endpoints = ready
                    .filter_map(|pod| {
                        Some(SocketAddrV4::new(
                            pod.ip,
                            endpoints::target_port(port, &pod.pod)?,
                        ))
                    })
                    .collect();
                let name = port.name.as_deref().unwrap_or_default();
                ports.push(ServicePort {
                    label: format!("{}:{name}", service_name(service)),
                    cluster_ip,
                    port: number,
                    protocol,
                    endpoints,
                });
            }
        }
        ports
    }

    /// What DNS would answer.
    #[must_use]
    pub fn zone(&self) -> Zone {
        let mut zone = Zone::default();
        for (name, address) in &self.outside {
            zone.insert(name, Target::Addresses(vec![*address]));
        }
        for service in &self.services {
            self.add_to_zone(&mut zone, service);
        }
        zone
    }

    fn add_to_zone(&self, zone: &mut Zone, service: &Service) {
        let (Some(name), Some(namespace)) = (&service.metadata.name, &service.metadata.namespace)
        else {
            return;
        };
        let host = weir_api::names::service_host(name, namespace, address::CLUSTER_DOMAIN);
        if let Some(address) = cluster_ip(service) {
            zone.insert(&host, Target::Addresses(vec![address]));
            return;
        }
        if let Some(alias) = service
            .spec
            .as_ref()
            .and_then(|spec| spec.external_name.clone())
        {
            zone.insert(&host, Target::Alias(alias));
            return;
        }
        let pods = endpoints::pods_of(self, service);
        let ready: Vec<_> = pods
            .iter()
            .filter(|pod| pod.status.is_endpoint(service))
            .collect();
        for pod in &ready {
            let spec = pod.pod.spec.as_ref();
            if let Some(hostname) = spec.and_then(|spec| spec.hostname.as_ref())
                && spec.and_then(|spec| spec.subdomain.as_ref()) == Some(name)
            {
                zone.insert(
                    &format!("{hostname}.{host}"),
                    Target::Addresses(vec![pod.ip]),
                );
            }
        }
        let addresses: Vec<_> = ready.iter().map(|pod| pod.ip).collect();
        if !addresses.is_empty() {
            zone.insert(&host, Target::Addresses(addresses));
        }
    }
}

fn transport(port: &Port) -> Option<(Protocol, u16)> {
    let protocol = match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => return None,
    };
    Some((protocol, u16::try_from(port.port).ok()?))
}
