//! Clusters.

use crate::buffer::BufferLimit;
use std::{collections::HashSet, net::IpAddr, sync::Arc, time::Duration};

use weir_api::xds::envoy::config::{
    cluster::v3::{self as pb, cluster as pb_cluster},
    core::v3 as core,
    endpoint::v3::ClusterLoadAssignment,
};

use super::{
    aggregate,
    at::{At, take},
    circuit_breakers, dns, dns_cache, dns_resolver,
    endpoint::load_assignment,
    health_check, http_options,
    load_balancing::{Said, balancing},
    original_dst, outlier_detection,
    upstream_http::{HttpOptions, extension_options},
    upstream_proxy_protocol,
    value::{
        ads, enumeration, json_object, non_empty, positive_duration, socket_address, type_name,
    },
};
use crate::config::{
    cluster::{Cluster, ClusterDiscovery, TcpKeepalive, TransportSocketMatch, UpstreamProtocol},
    dns::{DnsCluster, DnsEndpoints},
    endpoint::LoadAssignment,
    health_check::HealthCheck,
    tls::TransportSocket,
};

/// As Envoy refuses it.
const NEEDS_ALPN: &str = "auto_config needs TLS in every transport socket, whose ALPN decides";
/// Envoy's default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn cluster(at: &At<'_>, message: pb::Cluster) -> Option<Cluster> {
    take!(at, message => pb::Cluster {
        supported: name, alt_stat_name, eds_cluster_config, connect_timeout,
            lb_policy, lb_config, load_assignment, circuit_breakers,
            common_http_protocol_options, http_protocol_options, http2_protocol_options,
            max_requests_per_connection, typed_extension_protocol_options, upstream_bind_config,
            transport_socket, transport_socket_matches, upstream_connection_options,
            cluster_discovery_type, common_lb_config, outlier_detection, lb_subset_config,
            load_balancing_policy, health_checks, ignore_health_on_host_removal,
            close_connections_on_host_health_failure, dns_lookup_family,
            dns_refresh_rate, dns_jitter, dns_failure_refresh_rate, respect_dns_ttl,
            dns_resolvers, use_tcp_for_dns_lookups, dns_resolution_config,
            typed_dns_resolver_config, per_connection_buffer_limit_bytes;
        fixed: wait_for_warm_on_init = true;
        ignored: cleanup_interval = "hosts of an ORIGINAL_DST cluster are not kept",
            metadata = "for people and for filters that are not supported";
        refused: transport_socket_matcher, stats_matcher,
            per_connection_buffer_high_watermark_timeout, upstream_http_protocol_options,
            protocol_selection, filters, lrs_server,
            lrs_report_endpoint_metrics, track_timeout_budgets, upstream_config,
            track_cluster_stats, preconnect_policy, connection_pool_per_downstream_connection,
            queuing_policies;
    });
    let name = non_empty(&at.field("name"), name);
    let discovery = discovery(
        at,
        &name,
        cluster_discovery_type,
        eds_cluster_config,
        load_assignment,
        dns::Fields {
            refresh_rate: dns_refresh_rate,
            jitter: dns_jitter,
            failure_refresh_rate: dns_failure_refresh_rate,
            respect_ttl: respect_dns_ttl,
            lookup_family: dns_lookup_family,
            resolver: dns_resolver::OfCluster {
                typed: typed_dns_resolver_config,
                resolution: dns_resolution_config,
                resolvers: dns_resolvers,
                use_tcp: use_tcp_for_dns_lookups,
            },
        },
    );
    if let Some(ClusterDiscovery::Aggregate(_)) = discovery {
        // None of it would count: it is for the clusters that it is made of to say.
        at.field("transport_socket").refuse(&transport_socket);
        at.field("transport_socket_matches")
            .refuse(&transport_socket_matches);
        at.field("upstream_bind_config")
            .refuse(&upstream_bind_config);
        at.field("upstream_connection_options")
            .refuse(&upstream_connection_options);
        at.field("outlier_detection").refuse(&outlier_detection);
        at.field("health_checks").refuse(&health_checks);
        at.field("ignore_health_on_host_removal")
            .refuse(&ignore_health_on_host_removal);
        at.field("close_connections_on_host_health_failure")
            .refuse(&close_connections_on_host_health_failure);
        at.field("max_requests_per_connection")
            .refuse(&max_requests_per_connection);
        at.field("per_connection_buffer_limit_bytes")
            .refuse(&per_connection_buffer_limit_bytes);
        at.field("typed_extension_protocol_options")
            .refuse(&typed_extension_protocol_options);
        at.field("http2_protocol_options")
            .refuse(&http2_protocol_options);
        at.field("common_http_protocol_options")
            .refuse(&common_http_protocol_options);
    }
    let (original_dst, lb_config) = original_dst::lb_config(at, discovery.as_ref(), lb_config);
    let said = Said {
        lb_policy,
        lb_config,
        common: common_lb_config,
        subsets: lb_subset_config,
        policy: load_balancing_policy,
    };
    let balancing = balancing(at, said, discovery.as_ref());
    let is_forward_proxy = matches!(discovery, Some(ClusterDiscovery::ForwardProxy(_)));
    // What HttpProtocolOptions replaced is still taken by Envoy.
    let older = HttpOptions {
        common: http_options::upstream_common(
            &at.field("common_http_protocol_options"),
            common_http_protocol_options,
        ),
        protocol: if http2_protocol_options.is_some() {
            UpstreamProtocol::Http2
        } else {
            UpstreamProtocol::Http1
        },
        http2: http_options::http2(&at.field("http2_protocol_options"), http2_protocol_options),
        http_filters: None,
        auto_sni: is_forward_proxy.then_some(dns_cache::AUTO_SNI),
    };
    http_options::http1(&at.field("http_protocol_options"), http_protocol_options);
    let options = extension_options(
        &at.field("typed_extension_protocol_options"),
        typed_extension_protocol_options,
        older,
    );
    if let Some(ClusterDiscovery::ForwardProxy(forward_proxy)) = &discovery {
        dns_cache::check(at, forward_proxy, options.auto_sni.as_ref());
        // It would look at hosts that nobody asks for.
        at.field("health_checks").refuse(&health_checks);
    }
    let at_timeout = at.field("connect_timeout");
    let older_max = max_requests_per_connection
        .map(|max| max.value)
        .filter(|max| *max > 0);
    let is_original_dst = matches!(discovery, Some(ClusterDiscovery::OriginalDst));
    let outlier_detection = outlier_detection.map(|message| {
        let at = at.field("outlier_detection");
        if is_original_dst {
            at.unsupported("on a cluster of type ORIGINAL_DST, which has no choice of hosts");
        }
        outlier_detection::outlier_detection(&at, message)
    });
    let at_breakers = at.field("circuit_breakers");
    let circuit_breakers = circuit_breakers::circuit_breakers(&at_breakers, circuit_breakers);
    if matches!(discovery, Some(ClusterDiscovery::Aggregate(_)))
        && !circuit_breakers.bounds_retries_alone()
    {
        at_breakers
            .unsupported("of an aggregate, other than for retries: its clusters bound the rest");
    }
    let at_checks = at.field("health_checks");
    if is_original_dst && !health_checks.is_empty() {
        at_checks.unsupported("on a cluster of type ORIGINAL_DST, whose hosts are not kept");
    }
    let health_check = health_check::health_check(&at_checks, health_checks);
    let is_grpc = health_check.as_ref().is_some_and(HealthCheck::is_grpc);
    if is_grpc && options.protocol == UpstreamProtocol::Http1 {
        at_checks
            .index(0)
            .field("grpc_health_check")
            .error("only a cluster that speaks HTTP/2 may have it");
    }
    let at_socket = at.field("transport_socket");
    let (transport_socket, proxy_protocol) =
        upstream_proxy_protocol::upstream(&at_socket, transport_socket).unzip();
    let transport_socket_matches = self::transport_socket_matches(
        &at.field("transport_socket_matches"),
        transport_socket_matches,
    );
    if options.protocol == UpstreamProtocol::Auto {
        let others = transport_socket_matches
            .iter()
            .map(|it| &it.transport_socket);
        let mut sockets = others.chain(&transport_socket);
        if sockets.any(|socket| matches!(socket, TransportSocket::RawBuffer)) {
            at.field("typed_extension_protocol_options")
                .error(NEEDS_ALPN);
        }
    }
    let mut host_changes = balancing.as_ref()?.host_changes;
    host_changes.ignore_health_on_removal = ignore_health_on_host_removal;
    host_changes.close_on_health_failure = close_connections_on_host_health_failure;
    Some(Cluster {
        stat_name: if alt_stat_name.is_empty() {
            name.clone()
        } else {
            alt_stat_name
        },
        name,
        lb_policy: balancing.as_ref()?.policy,
        panic: balancing.as_ref()?.panic,
        load_balancing: balancing?.rest,
        discovery: discovery?,
        original_dst,
        buffer_limit: BufferLimit::new(per_connection_buffer_limit_bytes.map(|limit| limit.value)),
        connect_timeout: positive_duration(&at_timeout, connect_timeout).unwrap_or(CONNECT_TIMEOUT),
        protocol: options.protocol,
        transport_socket: transport_socket?,
        proxy_protocol: proxy_protocol.flatten(),
        transport_socket_matches,
        circuit_breakers,
        bind_source: bind_source(&at.field("upstream_bind_config"), upstream_bind_config),
        idle_timeout: options.common.idle_timeout,
        max_connection_duration: options.common.max_connection_duration,
        max_requests_per_connection: options.common.max_requests_per_connection.or(older_max),
        tcp_keepalive: tcp_keepalive(
            &at.field("upstream_connection_options"),
            upstream_connection_options,
        ),
        http2: options.http2,
        http_filters: options.http_filters,
        auto_sni: options.auto_sni,
        outlier_detection,
        health_check,
        host_changes,
    })
}

fn transport_socket_matches(
    at: &At<'_>,
    messages: Vec<pb_cluster::TransportSocketMatch>,
) -> Vec<TransportSocketMatch> {
    let mut names = HashSet::new();
    let converted = messages
        .into_iter()
        .enumerate()
        .filter_map(|(index, message)| {
            let at = at.index(index);
            take!(at, message => pb_cluster::TransportSocketMatch {
                supported: name, r#match, transport_socket;
            });
            let at_name = at.field("name");
            let name = non_empty(&at_name, name);
            if !names.insert(name.clone()) {
                at_name.unsupported(format!("{name:?} more than once"));
            }
            let at = at.field("transport_socket");
            let (transport_socket, proxy_protocol) =
                upstream_proxy_protocol::upstream(&at, transport_socket)?;
            Some(TransportSocketMatch {
                name,
                criteria: r#match.map(json_object).unwrap_or_default(),
                transport_socket,
                proxy_protocol,
            })
        });
    converted.collect()
}

fn discovery(
    at: &At<'_>,
    name: &str,
    discovery_type: Option<pb_cluster::ClusterDiscoveryType>,
    eds: Option<pb_cluster::EdsClusterConfig>,
    endpoints: Option<ClusterLoadAssignment>,
    dns_fields: dns::Fields,
) -> Option<ClusterDiscovery> {
    use pb_cluster::{ClusterDiscoveryType, DiscoveryType};

    let at_type = at.field("type");
    let kind = match discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => enumeration(&at_type, kind)?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            at.field("eds_cluster_config").refuse(&eds);
            return cluster_type(at, (name, custom), endpoints, &dns_fields);
        }
    };
    if kind != DiscoveryType::Eds && eds.is_some() {
        at.field("eds_cluster_config")
            .error("only a cluster of type EDS may have it");
    }
    match kind {
        DiscoveryType::OriginalDst if endpoints.is_some() => {
            let at = at.field("load_assignment");
            at.error("a cluster of type ORIGINAL_DST may not have it");
        }
        DiscoveryType::Eds => at.field("load_assignment").refuse(&endpoints),
        _ => {}
    }
    if !matches!(kind, DiscoveryType::StrictDns | DiscoveryType::LogicalDns) {
        dns_fields.refuse(at);
    }
    match kind {
        DiscoveryType::Static => {
            let assignment = endpoints.map_or_else(LoadAssignment::default, |message| {
                load_assignment(&at.field("load_assignment"), message)
            });
            Some(ClusterDiscovery::Static(Arc::new(assignment)))
        }
        DiscoveryType::Eds => {
            let at = at.field("eds_cluster_config");
            let message = at.required(eds)?;
            take!(at, message => pb_cluster::EdsClusterConfig {
                supported: eds_config, service_name;
            });
            let at_config = at.field("eds_config");
            if let Some(config) = at_config.required(eds_config) {
                ads(&at_config, config);
            }
            let service = if service_name.is_empty() {
                name.to_owned()
            } else {
                service_name
            };
            Some(ClusterDiscovery::Eds(service))
        }
        DiscoveryType::OriginalDst => Some(ClusterDiscovery::OriginalDst),
        DiscoveryType::StrictDns => {
            dns::of_type(at, DnsEndpoints::Each, dns_fields, endpoints).map(of_names)
        }
        DiscoveryType::LogicalDns => {
            dns::of_type(at, DnsEndpoints::Single, dns_fields, endpoints).map(of_names)
        }
    }
}

fn of_names(cluster: DnsCluster) -> ClusterDiscovery {
    ClusterDiscovery::Dns(Arc::new(cluster))
}

/// A cluster whose type is an extension.
fn cluster_type(
    at: &At<'_>,
    (cluster_name, message): (&str, pb_cluster::CustomClusterType),
    endpoints: Option<ClusterLoadAssignment>,
    dns_fields: &dns::Fields,
) -> Option<ClusterDiscovery> {
    let at_type = at.field("cluster_type");
    take!(at_type, message => pb_cluster::CustomClusterType { supported: name, typed_config; });
    non_empty(&at_type.field("name"), name.clone());
    let config = typed_config.unwrap_or_default();
    match type_name(&config) {
        "envoy.extensions.clusters.dns.v3.DnsCluster" => {
            dns::of_cluster_type(at, &config, dns_fields, endpoints).map(of_names)
        }
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig" => {
            dns_fields.refuse(at);
            at.field("load_assignment").refuse(&endpoints);
            let forward_proxy = dns_cache::cluster(&at_type.field("typed_config"), &config)?;
            Some(ClusterDiscovery::ForwardProxy(Arc::new(forward_proxy)))
        }
        "envoy.extensions.clusters.aggregate.v3.ClusterConfig" => {
            dns_fields.refuse(at);
            at.field("load_assignment").refuse(&endpoints);
            let at_config = at_type.field("typed_config");
            let names = aggregate::clusters(&at_config, cluster_name, &config)?;
            Some(ClusterDiscovery::Aggregate(names))
        }
        _ => {
            at_type.unsupported(format!("{name:?}"));
            None
        }
    }
}

fn bind_source(at: &At<'_>, message: Option<core::BindConfig>) -> Vec<IpAddr> {
    let Some(message) = message else {
        return Vec::new();
    };
    take!(at, message => core::BindConfig {
        supported: source_address, extra_source_addresses;
        fixed: freebind = false;
        refused: socket_options, additional_source_addresses, local_address_selector,
            validate_network_namespaces;
    });
    let mut sources = Vec::new();
    let mut push = |at: &At<'_>, message: Option<core::SocketAddress>| {
        let address = at
            .required(message)
            .and_then(|message| socket_address(at, message));
        let Some(address) = address else {
            return;
        };
        if address.port() != 0 {
            at.field("port_value")
                .unsupported(format!("{} (only 0 is)", address.port()));
        }
        if sources
            .iter()
            .any(|known: &IpAddr| known.is_ipv4() == address.is_ipv4())
        {
            at.unsupported(format!("{}: a second address of its family", address.ip()));
        }
        sources.push(address.ip());
    };
    let at_extra = at.field("extra_source_addresses");
    if source_address.is_some() || extra_source_addresses.is_empty() {
        push(&at.field("source_address"), source_address);
    }
    for (index, message) in extra_source_addresses.into_iter().enumerate() {
        let at = at_extra.index(index);
        take!(at, message => core::ExtraSourceAddress {
            supported: address;
            refused: socket_options;
        });
        push(&at.field("address"), address);
    }
    sources
}

fn tcp_keepalive(
    at: &At<'_>,
    message: Option<pb::UpstreamConnectionOptions>,
) -> Option<TcpKeepalive> {
    let message = message?;
    take!(at, message => pb::UpstreamConnectionOptions {
        supported: tcp_keepalive;
        refused: set_local_interface_name_on_upstream_connections, happy_eyeballs_config;
    });
    let message = tcp_keepalive?;
    let at = at.field("tcp_keepalive");
    take!(at, message => core::TcpKeepalive {
        supported: keepalive_probes, keepalive_time, keepalive_interval;
    });
    let seconds = |value: u32| Duration::from_secs(value.into());
    Some(TcpKeepalive {
        probes: keepalive_probes.map(|probes| probes.value),
        time: keepalive_time.map(|time| seconds(time.value)),
        interval: keepalive_interval.map(|interval| seconds(interval.value)),
    })
}
