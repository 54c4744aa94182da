//! `v1.Endpoints`, as written by hand for services without a selector: what a cluster mirrors into
//! EndpointSlices.

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointSubset, Endpoints},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::kubernetes::{
    SERVICE_NAME_LABEL,
    wire::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Meta, TargetRef},
};

/// A slice for each subset and family.
pub(super) fn mirror(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let subsets = endpoints.subsets.iter().flatten().enumerate();
    subsets
        .flat_map(|(at, subset)| ["IPv4", "IPv6"].map(|family| (at, subset, family)))
        .map(|(at, subset, family)| slice(&endpoints.metadata, at, subset, family))
        .filter(|slice| slice.endpoints.iter().flatten().next().is_some())
        .collect()
}

fn slice(meta: &ObjectMeta, at: usize, subset: &EndpointSubset, family: &str) -> EndpointSlice {
    let service = meta.name.clone().unwrap_or_default();
    let of = |addresses: &Option<Vec<EndpointAddress>>, ready: bool| -> Vec<Endpoint> {
        let addresses = addresses.iter().flatten();
        // What is no address at all stays in one of them, to be reported where slices are read.
        let addresses = addresses.filter(|it| it.ip.contains(':') == (family == "IPv6"));
        addresses.map(|address| endpoint(address, ready)).collect()
    };
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: port.name.clone(),
        port: Some(port.port),
        protocol: port.protocol.clone(),
    });
    EndpointSlice {
        metadata: Meta {
            // No name an object can have: it never meets a slice out of a file.
            name: Some(format!("{service}/endpoints-{at}-{family}")),
            namespace: meta.namespace.clone(),
            labels: Some([(SERVICE_NAME_LABEL.to_owned(), service)].into()),
            ..Meta::default()
        },
        address_type: family.to_owned(),
        ports: Some(ports.collect()),
        endpoints: Some(
            [
                of(&subset.addresses, true),
                of(&subset.not_ready_addresses, false),
            ]
            .concat(),
        ),
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: Some(vec![address.ip.clone()]),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.as_ref().map(|target| TargetRef {
            kind: target.kind.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
        }),
        ..Endpoint::default()
    }
}
