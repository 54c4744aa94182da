//! What a sidecar needs besides services: the two listeners that captured connections land on, and
//! the clusters for what the mesh does not know. A Weir sidecar has these in its bootstrap, and asks
//! for the listeners by name to learn what its pod and the settings of the mesh add; a client that
//! subscribes to everything, such as Envoy, gets them from here alone.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use weir_api::{
    identity, names, ports,
    xds::{
        codec,
        envoy::{
            config::{
                cluster::v3::{
                    Cluster,
                    cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy},
                },
                core::v3::{
                    BindConfig, ExtraSourceAddress, Metadata, SocketAddress, TrafficDirection,
                    address,
                },
                listener::v3::{FilterChain, FilterChainMatch, Listener, ListenerFilter},
            },
            extensions::filters::listener::original_dst::v3::OriginalDst,
        },
        google::protobuf::{Struct, Value, value},
        on_demand,
    },
};

use super::{
    boolean, cluster, duration, http, inbound, listener, outside, streams::Streams, wrapped,
};
use crate::{
    model::{Protocol, SessionAffinity},
    xds::{AccessLog, MeshConfig, OutboundMode},
};

/// Names of the listeners that a client with a wildcard gets.
pub(in crate::xds) const LISTENERS: [&str; 2] = [names::VIRTUAL_INBOUND, names::VIRTUAL_OUTBOUND];
/// Names of the clusters.
pub(in crate::xds) const CLUSTERS: [&str; 3] = [
    names::BLACK_HOLE_CLUSTER,
    names::INBOUND_PASSTHROUGH_CLUSTER,
    names::PASSTHROUGH_CLUSTER,
];

/// The listener of that name, for a client that knows all others already.
pub(in crate::xds) fn listener(name: &str, mesh: &MeshConfig) -> Option<Listener> {
    match name {
        names::VIRTUAL_OUTBOUND => {
            let address = Ipv4Addr::UNSPECIFIED.into();
            let mode = mesh.outbound_traffic_policy.mode;
            Some(virtual_outbound(name, address, mode, mesh.access_log))
        }
        names::VIRTUAL_INBOUND => Some(virtual_inbound(mesh)),
        _ => None,
    }
}

/// The listener of that name for a sidecar, whose pod takes this. It asks for the
/// listeners of its destinations when it needs them.
pub(in crate::xds) fn sidecar_listener<'a>(
    name: &str,
    mesh: &MeshConfig,
    unknown: OutboundMode,
    inbound: impl FnOnce() -> inbound::Inbound<'a>,
) -> Option<Listener> {
    let (base, address) = match name.strip_suffix(names::V6_SUFFIX) {
        Some(base) => (base, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
        None => (name, Ipv4Addr::UNSPECIFIED.into()),
    };
    match base {
        names::VIRTUAL_OUTBOUND => Some(Listener {
            metadata: Some(on_demand()),
            listener_filters: vec![original_dst()],
            ..virtual_outbound(name, address, unknown, mesh.access_log)
        }),
        names::VIRTUAL_INBOUND => Some(inbound::listener(
            name,
            address,
            &inbound(),
            mesh.access_log,
        )),
        _ => None,
    }
}

/// Whether the listener is made for each sidecar apart.
pub(in crate::xds) fn is_of_sidecar(name: &str) -> bool {
    let base = name.strip_suffix(names::V6_SUFFIX).unwrap_or(name);
    LISTENERS.contains(&base)
}

/// The cluster of that name.
pub(in crate::xds) fn cluster(name: &str) -> Option<Cluster> {
    match name {
        names::PASSTHROUGH_CLUSTER => Some(passthrough(name)),
        names::INBOUND_PASSTHROUGH_CLUSTER => Some(Cluster {
            upstream_bind_config: Some(inbound_source()),
            ..passthrough(name)
        }),
        names::BLACK_HOLE_CLUSTER => Some(Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
            ..cluster::outbound(name, Protocol::Tcp)
        }),
        name => names::inbound_cluster_port(name).map(|_| inbound::cluster(name)),
    }
}

/// Hands over to the listener of the original destination. What has none is passed through, or
/// refused if only what the mesh knows may be reached.
fn virtual_outbound(name: &str, address: IpAddr, mode: OutboundMode, log: AccessLog) -> Listener {
    let unknown = outside::cluster(mode);
    let catch_all = FilterChain {
        name: format!("{}-catchall-tcp", names::VIRTUAL_OUTBOUND),
        filters: vec![listener::tcp_to(unknown, log)],
        ..FilterChain::default()
    };
    Listener {
        use_original_dst: Some(boolean(true)),
        filter_chains: vec![black_hole(names::VIRTUAL_OUTBOUND, ports::OUTBOUND, log)],
        default_filter_chain: Some(catch_all),
        traffic_direction: TrafficDirection::Outbound.into(),
        ..bound(name, address, ports::OUTBOUND)
    }
}

/// Forwards to the application at the address the peer used.
fn virtual_inbound(mesh: &MeshConfig) -> Listener {
    let cluster = names::INBOUND_PASSTHROUGH_CLUSTER;
    let catch_all = listener::outbound(&listener::Outbound {
        idle_timeout: None,
        streams: Streams::default(),
        heeded: http::Heeded::default(),
        destination: (Ipv4Addr::UNSPECIFIED, ports::INBOUND).into(),
        protocol: Protocol::Auto,
        cluster,
        host: "localhost",
        routes: http::Routes::Inline,
        affinity: SessionAffinity::None,
        log: mesh.access_log,
    });
    let black_hole = black_hole(names::VIRTUAL_INBOUND, ports::INBOUND, mesh.access_log);
    let any = Ipv4Addr::UNSPECIFIED.into();
    Listener {
        listener_filters: [vec![original_dst()], catch_all.listener_filters].concat(),
        listener_filters_timeout: Some(duration(Duration::ZERO)),
        continue_on_listener_filters_timeout: true,
        filter_chains: [vec![black_hole], catch_all.filter_chains].concat(),
        default_filter_chain: catch_all.default_filter_chain,
        traffic_direction: TrafficDirection::Inbound.into(),
        ..bound(names::VIRTUAL_INBOUND, any, ports::INBOUND)
    }
}

pub(super) fn bound(name: &str, address: IpAddr, port: u16) -> Listener {
    Listener {
        name: name.to_owned(),
        address: Some(super::address((address, port).into())),
        ..Listener::default()
    }
}

/// Discovery by need, with its defaults.
fn on_demand() -> Metadata {
    let of = |key: &str, value: Struct| Struct {
        fields: HashMap::from([(
            key.to_owned(),
            Value {
                kind: Some(value::Kind::StructValue(value)),
            },
        )]),
    };
    let ours = of(on_demand::FIELD, Struct::default());
    Metadata {
        filter_metadata: HashMap::from([(on_demand::METADATA_NAMESPACE.to_owned(), ours)]),
        ..Metadata::default()
    }
}

fn original_dst() -> ListenerFilter {
    let config = codec::pack_original_dst(&OriginalDst::default());
    listener::listener_filter("envoy.filters.listener.original_dst", config)
}

/// Who calls the port of the listener itself would come round for ever.
pub(super) fn black_hole(listener: &str, port: u16, log: AccessLog) -> FilterChain {
    FilterChain {
        name: format!("{listener}-blackhole"),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(wrapped(port.into())),
            ..FilterChainMatch::default()
        }),
        filters: vec![listener::tcp_to(names::BLACK_HOLE_CLUSTER, log)],
        ..FilterChain::default()
    }
}

/// What the client speaks is passed on.
fn passthrough(name: &str) -> Cluster {
    let http = cluster::outbound(name, Protocol::Auto);
    Cluster {
        typed_extension_protocol_options: http.typed_extension_protocol_options,
        ..to_original_destination(name)
    }
}

pub(super) fn to_original_destination(name: &str) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(
            DiscoveryType::OriginalDst.into(),
        )),
        lb_policy: LbPolicy::ClusterProvided.into(),
        ..cluster::outbound(name, Protocol::Tcp)
    }
}

/// The source address that the capture rules let past.
pub(super) fn inbound_source() -> BindConfig {
    let any_port = |address: IpAddr| -> Option<SocketAddress> {
        match super::address(SocketAddr::new(address, 0)).address? {
            address::Address::SocketAddress(address) => Some(address),
            _ => None,
        }
    };
    BindConfig {
        source_address: any_port(identity::INBOUND_PASSTHROUGH_V4.into()),
        extra_source_addresses: vec![ExtraSourceAddress {
            address: any_port(identity::INBOUND_PASSTHROUGH_V6.into()),
            ..ExtraSourceAddress::default()
        }],
        ..BindConfig::default()
    }
}
