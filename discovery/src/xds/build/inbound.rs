//! What connections to a pod meet, the same messages as in the sidecar's own bootstrap: where
//! nothing new is known, nothing changes.

use std::{net::IpAddr, time::Duration};

use weir_api::{
    names, ports,
    protocol::Protocol,
    xds::{
        codec,
        envoy::{
            config::{
                cluster::v3::Cluster,
                core::v3::{
                    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
                    TrafficDirection,
                },
                listener::v3::{Filter, FilterChain, FilterChainMatch, Listener},
            },
            extensions::{
                filters::{
                    listener::original_dst::v3::OriginalDst,
                    network::http_connection_manager::v3::{
                        HttpConnectionManager,
                        http_connection_manager::{
                            CodecType, RouteSpecifier, ServerHeaderTransformation,
                        },
                    },
                },
                upstreams::http::v3::{
                    self as upstream,
                    http_protocol_options::{UpstreamProtocolOptions, UseDownstreamHttpConfig},
                },
            },
        },
    },
};

use super::{
    access_log::access_log,
    boolean, capture, cluster, duration, http,
    listener::{HTTP, http_inspector, listener_filter, network_filter, tcp_to, tls_inspector},
    route, wrapped,
};
use crate::xds::AccessLog;

/// The application decides how much is too much; these are the most that Envoy allows.
const MAX_REQUEST_HEADERS_KB: u32 = 8192;
const MAX_HEADERS: u32 = 10_000;
/// Below the 5 s at which common servers close, so that a request does not meet a close.
const UPSTREAM_IDLE: Duration = Duration::from_secs(4);

/// A port of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::xds) struct Port {
    /// Its number.
    pub(in crate::xds) number: u16,
    /// What is spoken there.
    pub(in crate::xds) protocol: Protocol,
}

/// The listener of captured inbound connections: filter chains for each port of the application,
/// and two that pass on everything else.
pub(in crate::xds) fn listener(
    name: &str,
    address: IpAddr,
    ports: &[Port],
    log: AccessLog,
) -> Listener {
    let passthrough = names::INBOUND_PASSTHROUGH_CLUSTER;
    let catch_all = FilterChain {
        name: format!("{}-catchall-http", names::VIRTUAL_INBOUND),
        filter_chain_match: Some(plaintext_http()),
        filters: vec![connection_manager(passthrough, passthrough, log)],
        ..FilterChain::default()
    };
    let default = FilterChain {
        name: names::VIRTUAL_INBOUND.to_owned(),
        filters: vec![tcp_to(passthrough, log)],
        ..FilterChain::default()
    };
    let original_dst = codec::pack_original_dst(&OriginalDst::default());
    let mut filter_chains = vec![capture::black_hole(
        names::VIRTUAL_INBOUND,
        ports::INBOUND,
        log,
    )];
    filter_chains.extend(ports.iter().flat_map(|port| chains(*port, log)));
    filter_chains.push(catch_all);
    Listener {
        listener_filters: vec![
            listener_filter("envoy.filters.listener.original_dst", original_dst),
            tls_inspector(),
            http_inspector(),
        ],
        // Nobody waits for a timer: whichever side speaks first decides.
        listener_filters_timeout: Some(duration(Duration::ZERO)),
        continue_on_listener_filters_timeout: true,
        filter_chains,
        default_filter_chain: Some(default),
        traffic_direction: TrafficDirection::Inbound.into(),
        ..capture::bound(name, address, ports::INBOUND)
    }
}

/// A connection is served by the chains of the first criterion that tells them apart, and there is
/// no way back: beside a chain for plaintext HTTP, both other kinds must be named, too.
fn chains(port: Port, log: AccessLog) -> Vec<FilterChain> {
    let number = port.number;
    let cluster = names::inbound_cluster(number);
    let chain = |kind: &str, criteria: FilterChainMatch, filter: Filter| FilterChain {
        name: format!("inbound|{number}|{kind}"),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(wrapped(number.into())),
            ..criteria
        }),
        filters: vec![filter],
        ..FilterChain::default()
    };
    let transport = |protocol: &str| FilterChainMatch {
        transport_protocol: protocol.to_owned(),
        ..FilterChainMatch::default()
    };
    match port.protocol {
        Protocol::Tcp | Protocol::Tls => {
            vec![chain(
                "tcp",
                FilterChainMatch::default(),
                tcp_to(&cluster, log),
            )]
        }
        Protocol::Http | Protocol::Http2 | Protocol::Auto => {
            let manager = connection_manager(&format!("inbound_{number}"), &cluster, log);
            vec![
                chain("http", plaintext_http(), manager),
                chain("tcp", transport("raw_buffer"), tcp_to(&cluster, log)),
                chain("tls", transport("tls"), tcp_to(&cluster, log)),
            ]
        }
    }
}

fn plaintext_http() -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "raw_buffer".to_owned(),
        application_protocols: HTTP.map(str::to_owned).to_vec(),
        ..FilterChainMatch::default()
    }
}

/// Sends everything to one cluster and changes nothing.
fn connection_manager(stat_prefix: &str, cluster: &str, log: AccessLog) -> Filter {
    let zero = || Some(duration(Duration::ZERO));
    let manager = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(route::unchanged_to(cluster))),
        http_filters: vec![http::router()],
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: zero(),
            max_headers_count: Some(wrapped(MAX_HEADERS)),
            ..HttpProtocolOptions::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: true,
            ..Http1ProtocolOptions::default()
        }),
        max_request_headers_kb: Some(wrapped(MAX_REQUEST_HEADERS_KB)),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        stream_idle_timeout: zero(),
        request_timeout: zero(),
        generate_request_id: Some(boolean(false)),
        upgrade_configs: http::upgrades(),
        access_log: access_log(log),
        ..HttpConnectionManager::default()
    };
    network_filter(
        "envoy.filters.network.http_connection_manager",
        codec::pack_http_connection_manager(&manager),
    )
}

/// The cluster of a port of the application: dials it at the address the peer used, from the
/// source that the capture rules let past.
pub(in crate::xds) fn cluster(name: &str) -> Cluster {
    let options = upstream::HttpProtocolOptions {
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(UPSTREAM_IDLE)),
            ..HttpProtocolOptions::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
            UseDownstreamHttpConfig {
                http_protocol_options: Some(Http1ProtocolOptions::default()),
                http2_protocol_options: Some(Http2ProtocolOptions::default()),
                ..UseDownstreamHttpConfig::default()
            },
        )),
        ..upstream::HttpProtocolOptions::default()
    };
    Cluster {
        upstream_bind_config: Some(capture::inbound_source()),
        typed_extension_protocol_options: cluster::extension_options(&options),
        ..capture::to_original_destination(name)
    }
}
