//! What connections to a pod meet, the same messages as in the sidecar's own bootstrap: where
//! nothing new is known, nothing changes.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

use weir_api::{
    inbound_tls::Served,
    names, ports,
    protocol::Protocol,
    sidecar,
    spiffe::TrustDomain,
    workload,
    xds::{
        codec,
        envoy::{
            config::{
                cluster::v3::{
                    Cluster,
                    cluster::{ClusterDiscoveryType, DiscoveryType, LbPolicy},
                },
                core::v3::{
                    CidrRange, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
                    Metadata, TrafficDirection,
                },
                endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints},
                listener::v3::{Filter, FilterChain, FilterChainMatch, Listener},
                route::v3::RouteConfiguration,
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
        google::protobuf::{Struct, Value, value},
    },
};

use super::{
    access_log::access_log,
    authorization::Authorization,
    boolean, capture, cluster, duration, http,
    listener::{HTTP, http_inspector, listener_filter, network_filter, tcp_to, tls_inspector},
    route::{self, Rest},
    shape, tls, wrapped,
};
use crate::{
    model::{Probe, Question, SidecarScope, TrafficPolicy},
    xds::AccessLog,
};

/// The application decides how many are too many; these are the most that Envoy allows.
const MAX_HEADERS: u32 = 10_000;
/// How long a client may take for the head of a request that it has begun.
const REQUEST_HEAD: Duration = Duration::from_secs(60);
/// Below the 5 s at which common servers close, so that a request does not meet a close.
const UPSTREAM_IDLE: Duration = Duration::from_secs(4);

/// How long a client may take for its ClientHello where it must send one, and then for the rest of the
/// handshake: each is Envoy's default for the first of them.
const FIRST_BYTES: Duration = Duration::from_secs(15);

/// A port of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::xds) struct Port {
    /// Its number.
    pub(in crate::xds) number: u16,
    /// What is spoken there.
    pub(in crate::xds) protocol: Protocol,
    /// Who is served there, and how.
    pub(in crate::xds) mode: Served,
}

/// What a pod takes.
#[derive(Debug)]
pub(in crate::xds) struct Inbound<'a> {
    /// Its ports.
    pub(in crate::xds) ports: Vec<Port>,
    /// Hosts of the services that lead to them.
    pub(in crate::xds) services: Vec<(u16, String)>,
    /// Those of whose other end a rule says something.
    pub(in crate::xds) scoped: BTreeSet<u16>,
    /// Who is served on all others.
    pub(in crate::xds) others: Served,
    /// What the kubelet asks on ports that would refuse it.
    pub(in crate::xds) probes: Probes,
    /// What the identities of clients of the mesh begin with.
    pub(in crate::xds) trust_domain: &'a TrustDomain,
    /// Who may do what there.
    pub(in crate::xds) authorization: Authorization<'a>,
}

/// What the kubelet asks, and from where.
#[derive(Debug, Default)]
pub(in crate::xds) struct Probes {
    /// In the order of ports.
    pub(in crate::xds) questions: Vec<Probe>,
    /// Addresses of its node.
    pub(in crate::xds) from: Vec<IpAddr>,
}

// === impl Inbound ===

impl Inbound<'_> {
    /// The cluster of a port.
    fn cluster(&self, port: u16) -> String {
        match self.scoped.contains(&port) {
            true => names::inbound_scoped_cluster(port),
            false => names::inbound_cluster(port),
        }
    }
}

// === impl Probes ===

impl Probes {
    /// What connections of the kubelet to a port meet beside these criteria.
    fn at(&self, port: u16, criteria: FilterChainMatch) -> FilterChainMatch {
        FilterChainMatch {
            destination_port: Some(wrapped(port.into())),
            source_prefix_ranges: self.from.iter().map(|it| alone(*it)).collect(),
            ..criteria
        }
    }
}

/// The listener of captured inbound connections: filter chains for each port of the application,
/// and two that pass on everything else.
pub(in crate::xds) fn listener(
    name: &str,
    address: IpAddr,
    inbound: &Inbound<'_>,
    log: AccessLog,
) -> Listener {
    let original_dst = codec::pack_original_dst(&OriginalDst::default());
    let mut filter_chains = vec![capture::black_hole(
        names::VIRTUAL_INBOUND,
        ports::INBOUND,
        log,
    )];
    let ports = inbound.ports.iter();
    filter_chains.extend(ports.flat_map(|port| chains(*port, inbound, log)));
    filter_chains.extend(probe_chains(inbound, log));
    let (others, default_filter_chain) = of_other_ports(inbound, log);
    filter_chains.extend(others);
    Listener {
        listener_filters: vec![
            listener_filter("envoy.filters.listener.original_dst", original_dst),
            tls_inspector(),
            http_inspector(),
        ],
        listener_filters_timeout: Some(duration(patience(default_filter_chain.is_none()))),
        continue_on_listener_filters_timeout: true,
        filter_chains,
        default_filter_chain,
        traffic_direction: TrafficDirection::Inbound.into(),
        metadata: services(&inbound.services),
        ..capture::bound(name, address, ports::INBOUND)
    }
}

/// The services that lead to each port, for the labels of metrics.
fn services(by_port: &[(u16, String)]) -> Option<Metadata> {
    let by_port = by_port.iter().map(|(port, host)| (*port, host.as_str()));
    let text = workload::services_text(by_port);
    let (namespace, field) = workload::SERVICES;
    let ours = Struct {
        fields: HashMap::from([(
            field.to_owned(),
            Value {
                kind: Some(value::Kind::StringValue(text.clone())),
            },
        )]),
    };
    (!text.is_empty()).then(|| Metadata {
        filter_metadata: HashMap::from([(namespace.to_owned(), ours)]),
        ..Metadata::default()
    })
}

/// How long a client may be silent before it is told from its first bytes how it is served.
///
/// Where each port takes plaintext nobody waits for a timer: whichever side speaks first decides. A
/// client of a port that takes mutual TLS alone has to speak first, and may not be silent for ever.
fn patience(some_port_is_strict: bool) -> Duration {
    match some_port_is_strict {
        true => FIRST_BYTES,
        false => Duration::ZERO,
    }
}

/// The chains of the ports that nobody spoke of, and the one of what fits none.
fn of_other_ports(
    inbound: &Inbound<'_>,
    log: AccessLog,
) -> (Vec<FilterChain>, Option<FilterChain>) {
    let to = To {
        stat_prefix: names::INBOUND_PASSTHROUGH_CLUSTER,
        cluster: names::INBOUND_PASSTHROUGH_CLUSTER,
        inbound,
        log,
    };
    let rest = |name: String, cluster| FilterChain {
        name,
        filters: To { cluster, ..to }.tcp_filters(),
        ..FilterChain::default()
    };
    let mut chains = match inbound.others {
        Served::Refused => {
            let name = format!("{}-refused", names::VIRTUAL_INBOUND);
            return (Vec::new(), Some(rest(name, names::BLACK_HOLE_CLUSTER)));
        }
        mode => to.chains(Protocol::Auto, mode),
    };
    // What fits no chain may be plaintext on a port that serves TLS alone: there the rest is named.
    let mut modes = inbound.ports.iter().map(|port| port.mode);
    let strict = inbound.others == Served::Strict || modes.any(|mode| mode == Served::Strict);
    if !strict {
        chains.retain(|chain| !["tcp", "tls"].contains(&chain.name.as_str()));
    }
    let name = || names::VIRTUAL_INBOUND.to_owned();
    let default = (!strict).then(|| rest(name(), names::INBOUND_PASSTHROUGH_CLUSTER));
    for chain in &mut chains {
        let kind = match chain.name.as_str() {
            "http" => "catchall-http",
            kind => kind,
        };
        chain.name = format!("{}-{kind}", names::VIRTUAL_INBOUND);
    }
    (chains, default)
}

fn chains(port: Port, inbound: &Inbound<'_>, log: AccessLog) -> Vec<FilterChain> {
    let number = port.number;
    let cluster = inbound.cluster(number);
    let to = To {
        stat_prefix: &format!("inbound_{number}"),
        cluster: &cluster,
        inbound,
        log,
    };
    let of_port = |chain: FilterChain| FilterChain {
        name: format!("inbound|{number}|{}", chain.name),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(wrapped(number.into())),
            ..chain.filter_chain_match.unwrap_or_default()
        }),
        ..chain
    };
    let chains = to.chains(port.protocol, port.mode).into_iter();
    chains.map(of_port).collect()
}

/// The chains of the kubelet, for each port that it asks: it has no certificate, and no rule lets it in.
/// What it asks is answered to it alone: in plaintext exactly that, and over TLS, which nobody looks into,
/// on the ports that it asks over TLS. Where mutual TLS is not demanded, what it does not ask in plaintext is
/// taken as from everybody else.
fn probe_chains(inbound: &Inbound<'_>, log: AccessLog) -> impl Iterator<Item = FilterChain> {
    let questions = &inbound.probes.questions;
    let of_ports = questions.chunk_by(|one, other| one.port == other.port);
    of_ports.flat_map(move |of_port| {
        let is_tls = |probe: &&Probe| probe.question == Question::Tls;
        let plaintext = of_port.iter().any(|probe| !is_tls(&probe));
        let plaintext = plaintext.then(|| plaintext_probes(of_port, inbound, log));
        let tls = of_port.iter().find(is_tls);
        let tls = tls.map(|probe| tls_probes(probe.port, inbound, log));
        plaintext.into_iter().chain(tls)
    })
}

fn plaintext_probes(of_port: &[Probe], inbound: &Inbound<'_>, log: AccessLog) -> FilterChain {
    let number = of_port[0].port;
    let mut ports = inbound.ports.iter();
    let strict = ports.any(|port| port.number == number && port.mode == Served::Strict);
    let (of, criteria, authorization, rest) = if strict {
        ("_probe", transport("raw_buffer"), None, Rest::Refused)
    } else {
        let authorization = Some(&inbound.authorization);
        ("", plaintext_http(), authorization, Rest::AsOthers)
    };
    let asked = of_port.iter().map(|probe| &probe.question);
    let routes = route::questions_to(&inbound.cluster(number), asked, rest);
    let criteria = inbound.probes.at(number, criteria);
    let stat_prefix = format!("inbound_{number}{of}");
    let manager = connection_manager(&stat_prefix, routes, authorization, log);
    chain(&format!("inbound|{number}|probe"), criteria, vec![manager])
}

fn tls_probes(number: u16, inbound: &Inbound<'_>, log: AccessLog) -> FilterChain {
    let criteria = inbound.probes.at(number, transport("tls"));
    let to = tcp_to(&inbound.cluster(number), log);
    chain(&format!("inbound|{number}|probe-tls"), criteria, vec![to])
}

/// The range of one address.
fn alone(address: IpAddr) -> CidrRange {
    CidrRange {
        address_prefix: address.to_string(),
        prefix_len: Some(wrapped(if address.is_ipv4() { 32 } else { 128 })),
    }
}

/// Where connections go.
#[derive(Clone, Copy)]
struct To<'a> {
    stat_prefix: &'a str,
    cluster: &'a str,
    inbound: &'a Inbound<'a>,
    log: AccessLog,
}

// === impl To ===

impl To<'_> {
    /// A connection is served by the chains of the first criterion that tells them apart, and there is
    /// no way back: beside a chain for plaintext HTTP, both other kinds must be named, too.
    fn chains(&self, protocol: Protocol, mode: Served) -> Vec<FilterChain> {
        let tcp_only = matches!(protocol, Protocol::Tcp | Protocol::Tls);
        let mut chains = match mode {
            Served::Refused => return vec![self.refused()],
            Served::Strict => return self.mutual_tls(protocol, mode),
            Served::Plaintext if tcp_only => {
                return vec![self.tcp("tcp", FilterChainMatch::default())];
            }
            Served::Plaintext => Vec::new(),
            Served::Permissive => self.mutual_tls(protocol, mode),
        };
        if !tcp_only {
            chains.push(self.http("http", plaintext_http()));
        }
        chains.push(self.tcp("tcp", transport("raw_buffer")));
        chains.push(self.tcp("tls", transport("tls")));
        chains
    }

    /// The chains of clients of the mesh: of one that names HTTP by ALPN, and of one that does not.
    /// Where nobody else is served, all TLS is meant for them.
    fn mutual_tls(&self, protocol: Protocol, mode: Served) -> Vec<FilterChain> {
        let any: Vec<_> = tls::MESH_TCP.into_iter().chain(tls::MESH_HTTP).collect();
        let rest = |named: &[&str]| match mode {
            Served::Strict => transport("tls"),
            _ => mesh(named),
        };
        let within = |chain: FilterChain, alpn: &[&str]| FilterChain {
            transport_socket: Some(tls::downstream(self.inbound.trust_domain, alpn)),
            transport_socket_connect_timeout: Some(duration(FIRST_BYTES)),
            ..chain
        };
        let http = |kind: &str, criteria| within(self.http(kind, criteria), &tls::HTTP);
        let tcp = |kind: &str, criteria| within(self.tcp(kind, criteria), &[]);
        match protocol {
            Protocol::Http | Protocol::Http2 => vec![http("mtls", rest(&any))],
            Protocol::Auto => vec![
                http("mtls-http", mesh(&tls::MESH_HTTP)),
                tcp("mtls-tcp", rest(&tls::MESH_TCP)),
            ],
            Protocol::Tcp | Protocol::Tls => vec![tcp("mtls", rest(&any))],
        }
    }

    fn refused(&self) -> FilterChain {
        let to = To {
            cluster: names::BLACK_HOLE_CLUSTER,
            ..*self
        };
        to.tcp("refused", FilterChainMatch::default())
    }

    fn http(&self, kind: &str, criteria: FilterChainMatch) -> FilterChain {
        let routes = route::unchanged_to(self.cluster);
        let authorization = Some(&self.inbound.authorization);
        let manager = connection_manager(self.stat_prefix, routes, authorization, self.log);
        chain(kind, criteria, vec![manager])
    }

    fn tcp(&self, kind: &str, criteria: FilterChainMatch) -> FilterChain {
        chain(kind, criteria, self.tcp_filters())
    }

    fn tcp_filters(&self) -> Vec<Filter> {
        let mut filters = self.inbound.authorization.network_filters();
        filters.push(tcp_to(self.cluster, self.log));
        filters
    }
}

fn chain(name: &str, criteria: FilterChainMatch, filters: Vec<Filter>) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        filter_chain_match: Some(criteria),
        filters,
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

/// Sends everything where its route says and changes nothing, but the paths of requests where rules
/// speak of paths: those are normalized, as everywhere with Istio.
fn connection_manager(
    stat_prefix: &str,
    routes: RouteConfiguration,
    authorization: Option<&Authorization<'_>>,
    log: AccessLog,
) -> Filter {
    let mut http_filters = authorization.map_or_else(Vec::new, Authorization::http_filters);
    http_filters.push(http::router());
    let normalize_path = authorization.is_some_and(Authorization::speaks_of_paths);
    let zero = || Some(duration(Duration::ZERO));
    let manager = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        http_filters,
        normalize_path: normalize_path.then(|| boolean(true)),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: zero(),
            max_headers_count: Some(wrapped(MAX_HEADERS)),
            ..HttpProtocolOptions::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: true,
            ..Http1ProtocolOptions::default()
        }),
        max_request_headers_kb: Some(wrapped(sidecar::MAX_REQUEST_HEADERS_KB)),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        stream_idle_timeout: zero(),
        request_timeout: zero(),
        request_headers_timeout: Some(duration(REQUEST_HEAD)),
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
    with_options(name, &http_options())
}

/// The same of a port of which a rule says more, in a pod with these addresses.
pub(in crate::xds) fn scoped_cluster(
    name: &str,
    port: u16,
    scope: &SidecarScope,
    addresses: &[IpAddr],
) -> Cluster {
    let mut message = cluster(name);
    if let Some(endpoint) = scope.endpoint_of(port, addresses) {
        let address = super::address(endpoint);
        message.cluster_discovery_type =
            Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
        message.lb_policy = LbPolicy::RoundRobin.into();
        message.load_assignment = Some(ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![super::endpoint::weighted(address, 1)],
                ..LocalityLbEndpoints::default()
            }],
            ..ClusterLoadAssignment::default()
        });
    }
    let policy = TrafficPolicy {
        pool: scope.pool_of(port).cloned(),
        ..TrafficPolicy::default()
    };
    shape::bound(&mut message, Some(http_options()), &policy);
    message
}

fn http_options() -> upstream::HttpProtocolOptions {
    upstream::HttpProtocolOptions {
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
    }
}

fn with_options(name: &str, options: &upstream::HttpProtocolOptions) -> Cluster {
    Cluster {
        upstream_bind_config: Some(capture::inbound_source()),
        typed_extension_protocol_options: cluster::extension_options(options),
        ..capture::to_original_destination(name)
    }
}
