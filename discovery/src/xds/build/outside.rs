//! Connections to addresses that no service has: recognised by the name that they ask for, where a host
//! without an address is declared, or else passed through or refused.

use std::{net::SocketAddr, time::Duration};

use weir_api::{
    names,
    xds::envoy::config::{
        core::v3::TrafficDirection,
        listener::v3::{FilterChain, FilterChainMatch, Listener},
        route::v3::{RouteConfiguration, VirtualHost},
    },
};

use super::{
    address, boolean, duration, http, listener, route,
    listener::Outbound,
    streams::{Shares, asks_for},
};
use crate::xds::OutboundMode;

/// How long a client may be silent before a connection is refused that is passed to nobody. Those that
/// are passed through do not wait.
const SILENCE: Duration = Duration::from_secs(5);

/// What connections to one such address may be.
pub(in crate::xds) struct Outside<'a> {
    /// The address.
    pub(in crate::xds) destination: SocketAddr,
    /// Requests that name a host, whose routes are those of the port. None: nobody looks for them.
    pub(in crate::xds) http: Option<Outbound<'a>>,
    /// Connections of TLS that ask for a name: for which, and where they go.
    pub(in crate::xds) tls: Vec<(String, Outbound<'a>, Shares)>,
    /// Everything else.
    pub(in crate::xds) rest: OutboundMode,
    /// Everything else, as a connection.
    pub(in crate::xds) log: crate::xds::AccessLog,
}

/// The cluster of what the mesh does not know.
pub(in crate::xds) fn cluster(mode: OutboundMode) -> &'static str {
    match mode {
        OutboundMode::AllowAny => names::PASSTHROUGH_CLUSTER,
        OutboundMode::RegistryOnly => names::BLACK_HOLE_CLUSTER,
    }
}

/// The listener. As long as anything may be behind the address, it is dialled at once, and who speaks
/// first decides; where nothing is, the client has some seconds to say whom it wants.
pub(in crate::xds) fn listener(outside: &Outside<'_>) -> Listener {
    let tls = outside.tls.iter().map(|(name, outbound, shares)| FilterChain {
        name: format!("tls-{name}"),
        filter_chain_match: Some(asks_for(std::slice::from_ref(name))),
        filters: vec![listener::tcp_proxy(outbound, shares)],
        ..FilterChain::default()
    });
    let http = outside.http.iter().map(|outbound| FilterChain {
        name: "http".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            application_protocols: listener::HTTP.map(str::to_owned).to_vec(),
            ..FilterChainMatch::default()
        }),
        filters: vec![http::connection_manager(outbound)],
        ..FilterChain::default()
    });
    let (has_tls, has_http) = (!outside.tls.is_empty(), outside.http.is_some());
    let inspectors = [
        has_tls.then(listener::tls_inspector),
        has_http.then(listener::http_inspector),
    ];
    let passes = outside.rest == OutboundMode::AllowAny;
    Listener {
        name: names::outbound_listener(outside.destination),
        address: Some(address(outside.destination)),
        bind_to_port: Some(boolean(false)),
        traffic_direction: TrafficDirection::Outbound.into(),
        listener_filters: inspectors.into_iter().flatten().collect(),
        listener_filters_timeout: Some(duration(match passes {
            true => Duration::ZERO,
            false => SILENCE,
        })),
        continue_on_listener_filters_timeout: passes,
        filter_chains: http.chain(tls).collect(),
        default_filter_chain: Some(FilterChain {
            name: "unknown".to_owned(),
            filters: vec![listener::tcp_to(cluster(outside.rest), outside.log)],
            ..FilterChain::default()
        }),
        ..Listener::default()
    }
}

/// The routes of requests to a port of such addresses: of each host its own, and of all others what
/// becomes of what the mesh does not know.
pub(in crate::xds) fn routes(
    name: &str,
    hosts: impl Iterator<Item = (String, RouteConfiguration)>,
    rest: OutboundMode,
) -> RouteConfiguration {
    let mut heeds_order = false;
    let mut virtual_hosts: Vec<_> = hosts
        .flat_map(|(host, routes)| {
            heeds_order |= routes.most_specific_header_mutations_wins;
            let of_host = routes.virtual_hosts.into_iter();
            of_host.map(move |it| VirtualHost {
                name: format!("{host}:{name}"),
                domains: vec![host.clone()],
                ..it
            })
        })
        .collect();
    let (others, name_of_others) = match rest {
        OutboundMode::AllowAny => (route::unchanged_to(names::PASSTHROUGH_CLUSTER), "allow_any"),
        OutboundMode::RegistryOnly => (route::answered(502), "block_all"),
    };
    let others = others.virtual_hosts.into_iter();
    virtual_hosts.extend(others.map(|it| VirtualHost {
        name: name_of_others.to_owned(),
        ..it
    }));
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        ignore_port_in_host_matching: true,
        most_specific_header_mutations_wins: heeds_order,
        ..RouteConfiguration::default()
    }
}
