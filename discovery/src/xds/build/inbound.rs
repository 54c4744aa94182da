//! What connections to a pod meet, the same messages as in the sidecar's own bootstrap: where
//! nothing new is known, nothing changes.

use std::{net::IpAddr, time::Duration};

use weir_api::{
    names, ports,
    protocol::Protocol,
    spiffe::TrustDomain,
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
    route, tls, wrapped,
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

/// Who is served on a port, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::xds) enum Mode {
    /// Everybody in plaintext; TLS is the application's own.
    Plaintext,
    /// Clients of the mesh by mutual TLS with identities of this trust domain, everybody else as
    /// before.
    Permissive(TrustDomain),
}

/// The listener of captured inbound connections: filter chains for each port of the application,
/// and two that pass on everything else.
pub(in crate::xds) fn listener(
    name: &str,
    address: IpAddr,
    ports: &[Port],
    mode: &Mode,
    log: AccessLog,
) -> Listener {
    let passthrough = names::INBOUND_PASSTHROUGH_CLUSTER;
    let to = To {
        stat_prefix: passthrough,
        cluster: passthrough,
        log,
    };
    let mut catch_all = match mode {
        Mode::Plaintext => Vec::new(),
        Mode::Permissive(trust_domain) => to.mutual_tls(Protocol::Auto, trust_domain),
    };
    catch_all.push(to.http("catchall-http", plaintext_http()));
    let catch_all = catch_all.into_iter().map(|chain| FilterChain {
        name: format!("{}-{}", names::VIRTUAL_INBOUND, chain.name),
        ..chain
    });
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
    filter_chains.extend(ports.iter().flat_map(|port| chains(*port, mode, log)));
    filter_chains.extend(catch_all);
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
fn chains(port: Port, mode: &Mode, log: AccessLog) -> Vec<FilterChain> {
    let number = port.number;
    let cluster = names::inbound_cluster(number);
    let (stat_prefix, cluster) = (format!("inbound_{number}"), cluster.as_str());
    let of_port = |chain: FilterChain| FilterChain {
        name: format!("inbound|{number}|{}", chain.name),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(wrapped(number.into())),
            ..chain.filter_chain_match.unwrap_or_default()
        }),
        ..chain
    };
    let to = To {
        stat_prefix: &stat_prefix,
        cluster,
        log,
    };
    let mut chains = match mode {
        Mode::Plaintext => Vec::new(),
        Mode::Permissive(trust_domain) => to.mutual_tls(port.protocol, trust_domain),
    };
    let tcp_only = matches!(port.protocol, Protocol::Tcp | Protocol::Tls);
    match (tcp_only, mode) {
        (true, Mode::Plaintext) => chains.push(to.tcp("tcp", FilterChainMatch::default())),
        (true, Mode::Permissive(_)) => {}
        (false, _) => chains.push(to.http("http", plaintext_http())),
    }
    if !(tcp_only && *mode == Mode::Plaintext) {
        chains.push(to.tcp("tcp", transport("raw_buffer")));
        chains.push(to.tcp("tls", transport("tls")));
    }
    chains.into_iter().map(of_port).collect()
}

/// Where connections go.
struct To<'a> {
    stat_prefix: &'a str,
    cluster: &'a str,
    log: AccessLog,
}

// === impl To ===

impl To<'_> {
    /// The chains of clients of the mesh: of one that names HTTP by ALPN, and of one that does not.
    fn mutual_tls(&self, protocol: Protocol, trust_domain: &TrustDomain) -> Vec<FilterChain> {
        let any: Vec<_> = tls::MESH_TCP.into_iter().chain(tls::MESH_HTTP).collect();
        let within = |chain: FilterChain, alpn: &[&str]| FilterChain {
            transport_socket: Some(tls::downstream(trust_domain, alpn)),
            ..chain
        };
        let http = |kind: &str, named: &[&str]| within(self.http(kind, mesh(named)), &tls::HTTP);
        let tcp = |kind: &str, named: &[&str]| within(self.tcp(kind, mesh(named)), &[]);
        match protocol {
            Protocol::Http | Protocol::Http2 => vec![http("mtls", &any)],
            Protocol::Auto => vec![
                http("mtls-http", &tls::MESH_HTTP),
                tcp("mtls-tcp", &tls::MESH_TCP),
            ],
            Protocol::Tcp | Protocol::Tls => vec![tcp("mtls", &any)],
        }
    }

    fn http(&self, kind: &str, criteria: FilterChainMatch) -> FilterChain {
        let manager = connection_manager(self.stat_prefix, self.cluster, self.log);
        chain(kind, criteria, manager)
    }

    fn tcp(&self, kind: &str, criteria: FilterChainMatch) -> FilterChain {
        chain(kind, criteria, tcp_to(self.cluster, self.log))
    }
}

fn chain(name: &str, criteria: FilterChainMatch, filter: Filter) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(criteria),
        filters: vec![filter],
        ..FilterChain::default()
    }
}

fn transport(protocol: &str) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: protocol.to_owned(),
        ..FilterChainMatch::default()
    }
}

/// TLS of a client that names one of these.
fn mesh(named: &[&str]) -> FilterChainMatch {
    FilterChainMatch {
        application_protocols: named.iter().map(|it| (*it).to_owned()).collect(),
        ..transport("tls")
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
