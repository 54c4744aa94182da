//! What a sidecar needs besides services: the two listeners that captured connections land on, and
//! the clusters for what the mesh does not know. A Weir sidecar has these in its bootstrap; a client
//! that subscribes to everything, such as Envoy, gets them from here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
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
                    BindConfig, ExtraSourceAddress, SocketAddress, TrafficDirection, address,
                },
                listener::v3::{FilterChain, FilterChainMatch, Listener},
            },
            extensions::filters::listener::original_dst::v3::OriginalDst,
        },
    },
};

use super::{boolean, cluster, duration, http, listener, wrapped};
use crate::model::Protocol;

/// Names of the listeners.
pub(in crate::xds) const LISTENERS: [&str; 2] = [names::VIRTUAL_INBOUND, names::VIRTUAL_OUTBOUND];
/// Names of the clusters.
pub(in crate::xds) const CLUSTERS: [&str; 3] = [
    names::BLACK_HOLE_CLUSTER,
    names::INBOUND_PASSTHROUGH_CLUSTER,
    names::PASSTHROUGH_CLUSTER,
];

/// The listener of that name.
pub(in crate::xds) fn listener(name: &str) -> Option<Listener> {
    match name {
        names::VIRTUAL_OUTBOUND => Some(virtual_outbound()),
        names::VIRTUAL_INBOUND => Some(virtual_inbound()),
        _ => None,
    }
}

/// The cluster of that name.
pub(in crate::xds) fn cluster(name: &str) -> Option<Cluster> {
    match name {
        names::PASSTHROUGH_CLUSTER => Some(to_original_destination(name)),
        names::INBOUND_PASSTHROUGH_CLUSTER => Some(Cluster {
            upstream_bind_config: Some(inbound_source()),
            ..to_original_destination(name)
        }),
        names::BLACK_HOLE_CLUSTER => Some(Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
            ..cluster::outbound(name, Protocol::Tcp)
        }),
        _ => None,
    }
}

/// Hands over to the listener of the original destination; what has none is passed through.
fn virtual_outbound() -> Listener {
    let passthrough = FilterChain {
        name: "virtualOutbound-catchall-tcp".to_owned(),
        filters: vec![listener::tcp_proxy(names::PASSTHROUGH_CLUSTER)],
        ..FilterChain::default()
    };
    Listener {
        use_original_dst: Some(boolean(true)),
        filter_chains: vec![black_hole("virtualOutbound-blackhole", ports::OUTBOUND)],
        default_filter_chain: Some(passthrough),
        traffic_direction: TrafficDirection::Outbound.into(),
        ..bound(names::VIRTUAL_OUTBOUND, ports::OUTBOUND)
    }
}

/// Forwards to the application at the address the peer used.
fn virtual_inbound() -> Listener {
    let cluster = names::INBOUND_PASSTHROUGH_CLUSTER;
    let catch_all = listener::outbound(&listener::Outbound {
        destination: (Ipv4Addr::UNSPECIFIED, ports::INBOUND).into(),
        protocol: Protocol::Auto,
        cluster,
        host: "localhost",
        routes: http::Routes::Inline,
    });
    let original_dst = codec::pack_original_dst(&OriginalDst::default());
    let original_dst =
        listener::listener_filter("envoy.filters.listener.original_dst", original_dst);
    let black_hole = black_hole("virtualInbound-blackhole", ports::INBOUND);
    Listener {
        listener_filters: [vec![original_dst], catch_all.listener_filters].concat(),
        listener_filters_timeout: Some(duration(Duration::ZERO)),
        continue_on_listener_filters_timeout: true,
        filter_chains: [vec![black_hole], catch_all.filter_chains].concat(),
        default_filter_chain: catch_all.default_filter_chain,
        traffic_direction: TrafficDirection::Inbound.into(),
        ..bound(names::VIRTUAL_INBOUND, ports::INBOUND)
    }
}

fn bound(name: &str, port: u16) -> Listener {
    Listener {
        name: name.to_owned(),
        address: Some(super::address((Ipv4Addr::UNSPECIFIED, port).into())),
        ..Listener::default()
    }
}

/// Who calls the port of the listener itself would come round for ever.
fn black_hole(name: &str, port: u16) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(wrapped(port.into())),
            ..FilterChainMatch::default()
        }),
        filters: vec![listener::tcp_proxy(names::BLACK_HOLE_CLUSTER)],
        ..FilterChain::default()
    }
}

fn to_original_destination(name: &str) -> Cluster {
    Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(
            DiscoveryType::OriginalDst.into(),
        )),
        lb_policy: LbPolicy::ClusterProvided.into(),
        ..cluster::outbound(name, Protocol::Auto)
    }
}

/// The source address that the capture rules let past.
fn inbound_source() -> BindConfig {
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
