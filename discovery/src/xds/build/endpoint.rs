//! Load assignments.

use std::net::{IpAddr, SocketAddr};

use weir_api::{
    ports,
    workload::Workload,
    xds::{
        LAST_RESORT,
        envoy::config::{
            core::v3::{self as core, HealthStatus},
            endpoint::v3::{
                self as endpoint, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
                lb_endpoint,
            },
        },
        google::protobuf::{Struct, Value, value},
        on_demand::METADATA_NAMESPACE,
        peer,
    },
};

use super::{address, wrapped};
use crate::{
    model::{Endpoint, Locality, Pod, SessionAffinity},
    xds::resource::Metadata,
};

/// Endpoints under the name of their cluster: by locality, then by address. The metadata of each
/// endpoint comes beside the message, in the same order, because it is digested apart from it.
pub(in crate::xds) fn assignment<'a>(
    cluster: &str,
    endpoints: impl Iterator<Item = &'a Endpoint>,
    affinity: SessionAffinity,
) -> (ClusterLoadAssignment, Vec<Metadata>) {
    let mut endpoints: Vec<_> = endpoints.collect();
    endpoints.sort_by(|a, b| (&a.locality, a.address).cmp(&(&b.locality, b.address)));
    let localities = endpoints.chunk_by(|a, b| a.locality == b.locality);
    let localities = localities.map(|endpoints| LocalityLbEndpoints {
        locality: locality(&endpoints[0].locality),
        lb_endpoints: endpoints
            .iter()
            .map(|endpoint| weighted(address(endpoint.address), endpoint.weight()))
            .collect(),
        load_balancing_weight: Some(wrapped(endpoints.iter().fold(0, |all, endpoint| {
            endpoint.weight().saturating_add(all)
        }))),
        ..LocalityLbEndpoints::default()
    });
    let assignment = ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: localities.collect(),
        ..ClusterLoadAssignment::default()
    };
    let metadata = endpoints.iter().map(|endpoint| match affinity {
        SessionAffinity::None => metadata(endpoint),
        // A client comes to the same pod by whichever port.
        SessionAffinity::ClientIp => metadata(endpoint).hashed_by(endpoint.address.ip()),
    });
    (assignment, metadata.collect())
}

/// An address and, in the metadata of this one endpoint, whose it is. The port is that of what meets
/// everything that goes there.
pub(in crate::xds) fn workload(
    name: &str,
    address: IpAddr,
    pod: &Pod,
) -> (ClusterLoadAssignment, Metadata) {
    let endpoint = at((address, ports::INBOUND).into());
    let assignment = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![endpoint],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    (assignment, Metadata::new(fields(pod)))
}

/// Where a service has no endpoint that takes traffic, as far as is known here, its own address is
/// the last resort: kube-proxy may know of one already, and else refuses as it would without a
/// sidecar. It has a priority of its own, so that it can be told apart where it is used.
pub(in crate::xds) fn add_last_resort(assignment: &mut ClusterLoadAssignment, service: SocketAddr) {
    let mark = Struct {
        fields: [(
            LAST_RESORT.to_owned(),
            Value {
                kind: Some(value::Kind::BoolValue(true)),
            },
        )]
        .into(),
    };
    let endpoint = LbEndpoint {
        metadata: Some(core::Metadata {
            filter_metadata: [(METADATA_NAMESPACE.to_owned(), mark)].into(),
            ..core::Metadata::default()
        }),
        ..at(service)
    };
    assignment.endpoints.push(LocalityLbEndpoints {
        lb_endpoints: vec![endpoint],
        load_balancing_weight: Some(wrapped(1)),
        priority: 1,
        ..LocalityLbEndpoints::default()
    });
}

/// Gives each endpoint of a message its metadata.
pub(in crate::xds) fn attach(assignment: &mut ClusterLoadAssignment, metadata: &[Metadata]) {
    let endpoints = assignment.endpoints.iter_mut();
    let endpoints = endpoints.flat_map(|locality| &mut locality.lb_endpoints);
    for (endpoint, metadata) in endpoints.zip(metadata) {
        endpoint.metadata = metadata.to_message();
    }
}

fn at(socket: SocketAddr) -> LbEndpoint {
    weighted(address(socket), 1)
}

pub(super) fn weighted(address: core::Address, weight: u32) -> LbEndpoint {
    LbEndpoint {
        health_status: HealthStatus::Healthy.into(),
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address),
            ..endpoint::Endpoint::default()
        })),
        load_balancing_weight: Some(wrapped(weight)),
        ..LbEndpoint::default()
    }
}

pub(super) fn locality(locality: &Locality) -> Option<core::Locality> {
    (*locality != Locality::default()).then(|| core::Locality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: locality.sub_zone.to_string(),
    })
}

/// A pod, and whose it is, as metrics name that.
fn fields(pod: &Pod) -> Vec<(&'static str, String)> {
    let (name, namespace) = (&pod.workload.name, &pod.name.namespace);
    let label = |key: &str| pod.labels.get(key).map(AsRef::as_ref);
    let workload = Workload::new(name, namespace, label);
    let said = workload
        .fields()
        .map(|(key, value)| (key, value.to_owned()));
    let pod = [
        ("pod", pod.name.name.to_string()),
        ("workload_kind", pod.workload.kind.to_string()),
    ];
    said.chain(pod).collect()
}

/// Who is behind an endpoint, for the labels of metrics, and whether a sidecar stands before it.
fn metadata(endpoint: &Endpoint) -> Metadata {
    let sidecar = endpoint.pod.iter().filter(|pod| pod.sidecar);
    let sidecar = sidecar.map(|_| (peer::SIDECAR, peer::SIDECAR_YES.to_owned()));
    let pod = endpoint.pod.iter().flat_map(|pod| fields(pod));
    let metadata = Metadata::new(pod.chain(sidecar));
    match endpoint.mutual_tls {
        true => metadata.mutual_tls(),
        false => metadata,
    }
}
