//! The model, for people.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;
use weir_discovery::{
    model::{
        InternalTrafficPolicy, Readiness, ResolvedService, ServiceKind, ServicePort, Snapshot,
    },
    xds::{Generator, Kind},
};

use super::Filter;

#[derive(Debug, Serialize)]
pub(super) struct ServiceView<'a> {
    namespace: &'a str,
    name: &'a str,
    kind: &'static str,
    addresses: &'a [IpAddr],
    internal_traffic_policy: &'static str,
    ports: Vec<PortView<'a>>,
}

#[derive(Debug, Serialize)]
struct PortView<'a> {
    name: &'a str,
    port: u16,
    protocol: String,
    protocol_from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<Vec<EndpointView<'a>>>,
}

#[derive(Debug, Serialize)]
struct EndpointView<'a> {
    address: SocketAddr,
    readiness: &'static str,
    node: Option<&'a str>,
    zone: Option<&'a str>,
    pod: Option<String>,
    workload: Option<String>,
}

/// Services and their ports.
pub(super) fn services<'a>(snapshot: &'a Snapshot, filter: &Filter) -> Vec<ServiceView<'a>> {
    let services = matching(snapshot, filter).into_iter();
    services.map(|service| view(service, false)).collect()
}

/// Services, their ports and the endpoints of each.
pub(super) fn endpoints<'a>(snapshot: &'a Snapshot, filter: &Filter) -> Vec<ServiceView<'a>> {
    let services = matching(snapshot, filter).into_iter();
    services.map(|service| view(service, true)).collect()
}

/// Names and versions of every resource there is, by kind.
pub(super) fn resources(
    snapshot: &Snapshot,
    generator: &Generator,
) -> BTreeMap<&'static str, BTreeMap<String, String>> {
    let of_kind = |kind: Kind| {
        let names = generator.names(snapshot, kind).into_iter();
        let versions = names.filter_map(|name| {
            let resource = generator.resource(snapshot, kind, &name)?;
            Some((name, resource.version.to_string()))
        });
        (kind.word(), versions.collect())
    };
    Kind::ALL.into_iter().map(of_kind).collect()
}

fn matching<'a>(snapshot: &'a Snapshot, filter: &Filter) -> Vec<&'a ResolvedService> {
    let fits =
        |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    let services = snapshot.services().map(|service| &**service);
    let mut services: Vec<_> = services
        .filter(|service| {
            let name = &service.service.name;
            fits(&filter.namespace, &name.namespace) && fits(&filter.name, &name.name)
        })
        .collect();
    services.sort_by(|a, b| a.service.name.cmp(&b.service.name));
    services
}

fn view(service: &ResolvedService, with_endpoints: bool) -> ServiceView<'_> {
    let declared = &service.service;
    ServiceView {
        namespace: &declared.name.namespace,
        name: &declared.name.name,
        kind: match declared.kind {
            ServiceKind::ClusterIp => "ClusterIP",
            ServiceKind::Headless => "Headless",
            ServiceKind::ExternalName => "ExternalName",
        },
        addresses: &declared.addresses,
        internal_traffic_policy: match declared.internal_traffic_policy {
            InternalTrafficPolicy::Cluster => "Cluster",
            InternalTrafficPolicy::Local => "Local",
        },
        ports: service
            .ports()
            .map(|(port, endpoints)| port_view(port, with_endpoints.then_some(endpoints)))
            .collect(),
    }
}

fn port_view<'a>(
    port: &'a ServicePort,
    endpoints: Option<&'a [weir_discovery::model::Endpoint]>,
) -> PortView<'a> {
    let view = |endpoint: &'a weir_discovery::model::Endpoint| EndpointView {
        address: endpoint.address,
        readiness: match endpoint.readiness {
            Readiness::Ready => "ready",
            Readiness::Draining => "draining",
            Readiness::NotReady => "not ready",
        },
        node: endpoint.node.as_deref(),
        zone: Some(&*endpoint.locality.zone).filter(|zone| !zone.is_empty()),
        pod: endpoint.pod.as_ref().map(|pod| pod.name.to_string()),
        workload: endpoint.pod.as_ref().map(|pod| pod.workload.to_string()),
    };
    PortView {
        name: &port.name,
        port: port.port,
        protocol: port.hint.protocol.to_string(),
        protocol_from: port.hint.source.to_string(),
        endpoints: endpoints.map(|endpoints| endpoints.iter().map(view).collect()),
    }
}
