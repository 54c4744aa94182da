//! Names that requests bring: the cache that they are looked up in, and the cluster of their hosts.

use std::time::Duration;

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{CidrRange, SocketAddress},
        extensions::{
            clusters::dynamic_forward_proxy::v3::{
                self as cluster_v3, cluster_config::ClusterImplementationSpecifier,
            },
            common::dynamic_forward_proxy::v3 as pb,
            filters::network::sni_dynamic_forward_proxy::v3 as sni_v3,
        },
        r#type::matcher::v3::AddressMatcher,
    },
    google::protobuf::Any,
};

use super::{
    at::{At, take},
    dns::{failure_rate, of_cluster},
    dns_resolver,
    value::{
        cidr_range, duration, enumeration, named_socket_address, non_empty, number,
        positive_duration, unpack,
    },
};
use crate::config::{
    cluster::AutoSni,
    dns::DnsResolver,
    dns_cache::{AddressFilter, DnsCacheConfig, ForwardProxy},
    network_filter::SniDynamicForwardProxy,
};

/// Envoy's defaults.
const REFRESH_RATE: Duration = Duration::from_secs(60);
const MIN_REFRESH_RATE: Duration = Duration::from_secs(5);
const HOST_TTL: Duration = Duration::from_secs(300);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HOSTS: u32 = 1024;
const MAX_PENDING: u32 = 1024;

/// What a cluster has that says nothing of it, as in Envoy.
pub(super) const AUTO_SNI: AutoSni = AutoSni {
    header: None,
    validates_san: true,
};

/// The configuration of a cluster whose hosts are the names that requests bring.
pub(super) fn cluster(at: &At<'_>, any: &Any) -> Option<ForwardProxy> {
    let message = unpack(at, any, codec::unpack_dynamic_forward_proxy_cluster)?;
    take!(at, message => cluster_v3::ClusterConfig {
        supported: cluster_implementation_specifier, allow_insecure_cluster_options;
        refused: allow_coalesced_connections;
    });
    let at_cache = at.field("dns_cache_config");
    let cache = match cluster_implementation_specifier {
        // Envoy takes it, and then there is nothing that it could do.
        None => {
            at_cache.unsupported("none");
            return None;
        }
        Some(ClusterImplementationSpecifier::DnsCacheConfig(message)) => cache(&at_cache, message)?,
        Some(ClusterImplementationSpecifier::SubClustersConfig(_)) => {
            let at = at.field("sub_clusters_config");
            at.unsupported("clusters that requests bring (dns_cache_config is)");
            return None;
        }
    };
    Some(ForwardProxy {
        cache: at_cache.shared_cache(cache),
        allows_insecure: allow_insecure_cluster_options,
    })
}

/// As Envoy: who asks for a name by TLS is to reach no other.
pub(super) fn check(at: &At<'_>, forward_proxy: &ForwardProxy, auto_sni: Option<&AutoSni>) {
    let is_checked = auto_sni.is_some_and(|auto| auto.validates_san);
    if !is_checked && !forward_proxy.allows_insecure {
        at.field("cluster_type").error(
            "a dynamic forward proxy must have auto_sni and auto_san_validation, unless \
             allow_insecure_cluster_options is true",
        );
    }
}

/// The filter that looks up the name in SNI.
pub(super) fn of_sni(at: &At<'_>, message: sni_v3::FilterConfig) -> Option<SniDynamicForwardProxy> {
    take!(at, message => sni_v3::FilterConfig {
        supported: dns_cache_config, port_specifier;
        refused: save_upstream_address;
    });
    let at_cache = at.field("dns_cache_config");
    let cache = cache(&at_cache, at_cache.required(dns_cache_config)?)?;
    let port = port_specifier.map(|sni_v3::filter_config::PortSpecifier::PortValue(port)| {
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        port.or_else(|| {
            at.field("port_value").error("must be from 1 to 65535");
            None
        })
    });
    Some(SniDynamicForwardProxy {
        cache: at_cache.shared_cache(cache),
        port: port.flatten(),
    })
}

/// `DnsCacheConfig`
pub(super) fn cache(at: &At<'_>, message: pb::DnsCacheConfig) -> Option<DnsCacheConfig> {
    take!(at, message => pb::DnsCacheConfig {
        supported: name, dns_lookup_family, dns_refresh_rate, dns_min_refresh_rate, host_ttl,
            max_hosts, disable_dns_refresh_on_failure, dns_failure_refresh_rate,
            dns_cache_circuit_breaker, use_tcp_for_dns_lookups, dns_resolution_config,
            typed_dns_resolver_config, preresolve_hostnames, dns_query_timeout,
            resolved_address_filter;
        refused: key_value_config;
    });
    let at_family = at.field("dns_lookup_family");
    let at_minimum = at.field("dns_min_refresh_rate");
    let minimum = duration(&at_minimum, dns_min_refresh_rate).unwrap_or(MIN_REFRESH_RATE);
    if minimum < Duration::from_secs(1) {
        at_minimum.error("must be 1s or more");
    }
    let at_rate = at.field("dns_refresh_rate");
    let refresh_rate = duration(&at_rate, dns_refresh_rate).unwrap_or(REFRESH_RATE);
    if refresh_rate < Duration::from_millis(1) {
        at_rate.error("must be 0.001s or more");
    }
    let at_hosts = at.field("max_hosts");
    let max_hosts = number(&at_hosts, max_hosts, 1..=u32::MAX).unwrap_or(MAX_HOSTS);
    let at_names = at.field("preresolve_hostnames");
    let preresolve = names(&at_names, preresolve_hostnames);
    if preresolve.len() > usize::try_from(max_hosts).unwrap_or(usize::MAX) {
        at_names.error(format!(
            "must not be more than max_hosts, which is {max_hosts}"
        ));
    }
    let query_timeout = duration(&at.field("dns_query_timeout"), dns_query_timeout);
    let query_timeout = query_timeout.unwrap_or(QUERY_TIMEOUT);
    let resolver = match use_tcp_for_dns_lookups && typed_dns_resolver_config.is_none() {
        // Alone, too, it counts here.
        true if dns_resolution_config.is_none() => Some(
            DnsResolver {
                tcp: true,
                ..DnsResolver::default()
            }
            .into(),
        ),
        _ => dns_resolver::of_cluster(
            at,
            dns_resolver::OfCluster {
                typed: typed_dns_resolver_config,
                resolution: dns_resolution_config,
                resolvers: Vec::new(),
                use_tcp: use_tcp_for_dns_lookups,
            },
        ),
    };
    let at_filter = at.field("resolved_address_filter");
    Some(DnsCacheConfig {
        name: non_empty(&at.field("name"), name),
        family: enumeration(&at_family, dns_lookup_family).map(of_cluster)?,
        refresh_rate,
        min_refresh_rate: minimum,
        failure: failure_rate(
            &at.field("dns_failure_refresh_rate"),
            dns_failure_refresh_rate,
        ),
        forgets_failures: disable_dns_refresh_on_failure,
        host_ttl: positive_duration(&at.field("host_ttl"), host_ttl).unwrap_or(HOST_TTL),
        max_hosts,
        max_pending_requests: max_pending(
            &at.field("dns_cache_circuit_breaker"),
            dns_cache_circuit_breaker,
        ),
        preresolve,
        query_timeout: (!query_timeout.is_zero()).then_some(query_timeout),
        resolver,
        filter: resolved_address_filter.map(|message| address_filter(&at_filter, message)),
    })
}

fn max_pending(at: &At<'_>, message: Option<pb::DnsCacheCircuitBreakers>) -> u32 {
    let Some(message) = message else {
        return MAX_PENDING;
    };
    take!(at, message => pb::DnsCacheCircuitBreakers { supported: max_pending_requests; });
    max_pending_requests.map_or(MAX_PENDING, |most| most.value)
}

fn names(at: &At<'_>, messages: Vec<SocketAddress>) -> Vec<(Box<str>, u16)> {
    let messages = messages.into_iter().enumerate();
    let each = messages.filter_map(|(index, message)| {
        let (name, port) = named_socket_address(&at.index(index), message)?;
        Some((name.into(), port))
    });
    each.collect()
}

fn address_filter(at: &At<'_>, message: AddressMatcher) -> AddressFilter {
    take!(at, message => AddressMatcher { supported: ranges, invert_match; });
    let at_ranges = at.field("ranges");
    AddressFilter {
        ranges: ranges
            .into_iter()
            .enumerate()
            .filter_map(|(index, range)| {
                let range = CidrRange {
                    address_prefix: range.address_prefix,
                    prefix_len: range.prefix_len,
                };
                cidr_range(&at_ranges.index(index), range)
            })
            .collect(),
        inverts: invert_match,
    }
}
