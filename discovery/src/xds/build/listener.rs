//! Outbound listeners: one for each destination somebody claims.

use std::{net::SocketAddr, time::Duration};

use weir_api::{
    names,
    xds::{
        codec,
        envoy::{
            config::{
                core::v3::TrafficDirection,
                listener::v3::{
                    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter,
                    listener_filter,
                },
            },
            extensions::filters::{
                listener::{http_inspector::v3::HttpInspector, tls_inspector::v3::TlsInspector},
                network::tcp_proxy::v3::{TcpProxy, tcp_proxy},
            },
            r#type::v3::{HashPolicy, hash_policy},
        },
        google::protobuf::{Any, UInt32Value},
    },
};

use super::{
    access_log::access_log,
    address, boolean, duration, http,
    streams::{self, Streams},
};
use crate::{
    model::{Protocol, SessionAffinity},
    xds::AccessLog,
};

/// ALPN names the HTTP inspector gives to what it recognised.
pub(super) const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// Endpoints that are tried before a TCP connection fails. One that has just gone refuses at once,
/// and nothing was sent, so that another may be tried.
const CONNECT_ATTEMPTS: u32 = 3;

/// What an outbound listener needs to know.
#[derive(Debug)]
pub(in crate::xds) struct Outbound<'a> {
    /// The destination it serves.
    pub(in crate::xds) destination: SocketAddr,
    /// What is spoken there.
    pub(in crate::xds) protocol: Protocol,
    /// The cluster behind it.
    pub(in crate::xds) cluster: &'a str,
    /// The name people call it by.
    pub(in crate::xds) host: &'a str,
    /// Where its HTTP routes come from.
    pub(in crate::xds) routes: http::Routes,
    /// What they say of filters.
    pub(in crate::xds) heeded: http::Heeded,
    /// Whether a client comes to the same endpoint each time.
    pub(in crate::xds) affinity: SessionAffinity,
    /// Where connections go that are not looked into.
    pub(in crate::xds) streams: Streams,
    /// Bytes move within this, where they are not looked into. None: whenever the ends like.
    pub(in crate::xds) idle_timeout: Option<Duration>,
    /// Whether connections and requests are logged.
    pub(in crate::xds) log: AccessLog,
}

/// The listener, without its metadata.
///
/// With a hint for HTTP the proxy waits for the client's first bytes, because in HTTP the client
/// speaks first; what turns out not to be HTTP is carried as TCP. Without a hint it must not wait:
/// `continue_on_listener_filters_timeout` lets it dial and see which side speaks first. The timeout
/// of 0 means that no timer ends the wait. With a hint for TCP or TLS nothing is looked at.
pub(in crate::xds) fn outbound(outbound: &Outbound<'_>) -> Listener {
    let own = [(outbound.cluster.to_owned(), 1)];
    let rest = outbound.streams.rest.as_deref().unwrap_or(&own);
    let tcp_to = |name: &str, shares: &[(String, u32)]| FilterChain {
        name: name.to_owned(),
        filters: vec![tcp_proxy(outbound, shares)],
        ..FilterChain::default()
    };
    let tcp = |name: &str| tcp_to(name, rest);
    let by_name = outbound.streams.by_name.iter().enumerate();
    let by_name = by_name.map(|(index, (names, shares))| FilterChain {
        filter_chain_match: Some(streams::asks_for(names)),
        ..tcp_to(&format!("tls-{index}"), shares)
    });
    let by_name: Vec<_> = by_name.collect();
    let http = || FilterChain {
        name: "http".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            transport_protocol: "raw_buffer".to_owned(),
            application_protocols: HTTP.map(str::to_owned).to_vec(),
            ..FilterChainMatch::default()
        }),
        filters: vec![http::connection_manager(outbound)],
        ..FilterChain::default()
    };
    let (listener_filters, filter_chains, default_filter_chain) = match outbound.protocol {
        Protocol::Tcp => (vec![], vec![tcp("tcp")], None),
        Protocol::Tls if !by_name.is_empty() => (vec![tls_inspector()], by_name, Some(tcp("tls"))),
        Protocol::Tls => (vec![], vec![tcp("tls")], None),
        Protocol::Http | Protocol::Http2 => {
            // What is not HTTP there is none of what rules about connections are for.
            (
                vec![http_inspector()],
                vec![http()],
                Some(tcp_to("tcp", &own)),
            )
        }
        Protocol::Auto => {
            let mut tls = tcp("tls");
            tls.filter_chain_match = Some(FilterChainMatch {
                transport_protocol: "tls".to_owned(),
                ..FilterChainMatch::default()
            });
            let inspectors = vec![tls_inspector(), http_inspector()];
            let is_any = |it: &FilterChain| it.filter_chain_match == tls.filter_chain_match;
            let tls = (!by_name.iter().any(is_any)).then_some(tls);
            let chains = [http()].into_iter().chain(by_name).chain(tls);
            (inspectors, chains.collect(), Some(tcp("tcp")))
        }
    };
    Listener {
        name: names::outbound_listener(outbound.destination),
        address: Some(address(outbound.destination)),
        bind_to_port: Some(boolean(false)),
        traffic_direction: TrafficDirection::Outbound.into(),
        listener_filters_timeout: (!listener_filters.is_empty()).then(|| duration(Duration::ZERO)),
        continue_on_listener_filters_timeout: outbound.protocol == Protocol::Auto,
        listener_filters,
        filter_chains,
        default_filter_chain,
        ..Listener::default()
    }
}

/// Carries bytes to a cluster, for as long as both ends like: a connection that is silent for long
/// is the business of the ends, and keepalive finds the dead.
pub(super) fn tcp_proxy(outbound: &Outbound<'_>, shares: &[(String, u32)]) -> Filter {
    let source = hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp::default());
    pack_tcp_proxy(&TcpProxy {
        max_connect_attempts: Some(UInt32Value {
            value: CONNECT_ATTEMPTS,
        }),
        hash_policy: match outbound.affinity {
            SessionAffinity::None => Vec::new(),
            SessionAffinity::ClientIp => vec![HashPolicy {
                policy_specifier: Some(source),
            }],
        },
        cluster_specifier: Some(streams::clusters(shares)),
        idle_timeout: Some(duration(outbound.idle_timeout.unwrap_or(Duration::ZERO))),
        ..tcp_proxy_to(outbound.cluster, outbound.log)
    })
}

/// The same to a cluster that has one place to go to at most: there is no other to try.
pub(super) fn tcp_to(cluster: &str, log: AccessLog) -> Filter {
    pack_tcp_proxy(&tcp_proxy_to(cluster, log))
}

fn tcp_proxy_to(cluster: &str, log: AccessLog) -> TcpProxy {
    TcpProxy {
        stat_prefix: cluster.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        idle_timeout: Some(duration(Duration::ZERO)),
        access_log: access_log(log),
        ..TcpProxy::default()
    }
}

fn pack_tcp_proxy(config: &TcpProxy) -> Filter {
    let config = codec::pack_tcp_proxy(config);
    network_filter("envoy.filters.network.tcp_proxy", config)
}

pub(super) fn network_filter(name: &str, config: Any) -> Filter {
    Filter {
        name: name.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(config)),
    }
}

pub(super) fn tls_inspector() -> ListenerFilter {
    let config = codec::pack_tls_inspector(&TlsInspector::default());
    listener_filter("envoy.filters.listener.tls_inspector", config)
}

pub(super) fn http_inspector() -> ListenerFilter {
    let config = codec::pack_http_inspector(&HttpInspector::default());
    listener_filter("envoy.filters.listener.http_inspector", config)
}

pub(in crate::xds) fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..ListenerFilter::default()
    }
}
