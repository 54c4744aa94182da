//! How names are looked up.

use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3 as core,
        extensions::network::dns_resolver::{
            cares::v3::CaresDnsResolverConfig, getaddrinfo::v3::GetAddrInfoDnsResolverConfig,
        },
    },
    google::protobuf::{Any, UInt32Value, UInt64Value},
};

use super::{
    at::{At, take},
    value::{address, non_empty, type_name, unpack},
};
use crate::config::dns::DnsResolver;

/// Envoy takes an answer of getaddrinfo, which says nothing of its life, for one of a minute.
const GETADDRINFO_TTL: Duration = Duration::from_secs(60);
/// Longer waits are as good as none.
const MAX_TIMEOUT_SECONDS: u64 = 3600;

/// The fields of a Cluster that say how its names are looked up.
pub(super) struct OfCluster {
    pub(super) typed: Option<core::TypedExtensionConfig>,
    pub(super) resolution: Option<core::DnsResolutionConfig>,
    pub(super) resolvers: Vec<core::Address>,
    pub(super) use_tcp: bool,
}

/// What a cluster says; none: the bootstrap decides. Of several ways to say it, only one may be
/// used: Envoy would ignore the others.
pub(super) fn of_cluster(at: &At<'_>, fields: OfCluster) -> Option<Arc<DnsResolver>> {
    let OfCluster {
        typed,
        resolution,
        resolvers,
        use_tcp,
    } = fields;
    let at_tcp = at.field("use_tcp_for_dns_lookups");
    let resolver = if typed.is_some() {
        at.field("dns_resolution_config").refuse(&resolution);
        at.field("dns_resolvers").refuse(&resolvers);
        at_tcp.refuse(&use_tcp);
        self::typed(&at.field("typed_dns_resolver_config"), typed)
    } else if resolution.is_some() {
        at.field("dns_resolvers").refuse(&resolvers);
        at_tcp.refuse(&use_tcp);
        self::resolution(&at.field("dns_resolution_config"), resolution)
    } else if resolvers.is_empty() {
        // Envoy does not look at it then.
        at_tcp.refuse(&use_tcp);
        None
    } else {
        Some(DnsResolver {
            servers: servers(&at.field("dns_resolvers"), resolvers),
            tcp: use_tcp,
            ..DnsResolver::default()
        })
    };
    resolver.map(Arc::new)
}

/// What the bootstrap says.
pub(super) fn of_bootstrap(at: &At<'_>, fields: OfCluster) -> Arc<DnsResolver> {
    let OfCluster {
        typed,
        resolution,
        use_tcp,
        ..
    } = fields;
    if typed.is_some() || resolution.is_some() {
        at.field("use_tcp_for_dns_lookups").refuse(&use_tcp);
    }
    let resolver = if typed.is_some() {
        at.field("dns_resolution_config").refuse(&resolution);
        self::typed(&at.field("typed_dns_resolver_config"), typed)
    } else if resolution.is_some() {
        self::resolution(&at.field("dns_resolution_config"), resolution)
    } else {
        Some(DnsResolver {
            tcp: use_tcp,
            ..DnsResolver::default()
        })
    };
    Arc::new(resolver.unwrap_or_default())
}

/// `typed_dns_resolver_config`
pub(super) fn typed(
    at: &At<'_>,
    message: Option<core::TypedExtensionConfig>,
) -> Option<DnsResolver> {
    let message = message?;
    take!(at, message => core::TypedExtensionConfig { supported: name, typed_config; });
    non_empty(&at.field("name"), name);
    let at = at.field("typed_config");
    let any = at.required(typed_config)?;
    match type_name(&any) {
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig" => cares(&at, &any),
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig" => {
            getaddrinfo(&at, &any)
        }
        other => {
            at.unsupported(format!("resolver {other}"));
            None
        }
    }
}

fn cares(at: &At<'_>, any: &Any) -> Option<DnsResolver> {
    let message = unpack(at, any, codec::unpack_cares_dns_resolver)?;
    take!(at, message => CaresDnsResolverConfig {
        supported: resolvers, use_resolvers_as_fallback, dns_resolver_options,
            query_timeout_seconds, query_tries, rotate_nameservers, edns0_max_payload_size;
        fixed: qcache_max_ttl = 0;
        ignored: udp_max_queries = "each question has a socket of its own",
            max_udp_channel_duration = "each question has a socket of its own",
            reinit_channel_on_timeout = "each question has a socket of its own";
        refused: filter_unroutable_families;
    });
    let at_servers = at.field("resolvers");
    let default = DnsResolver::default();
    let at_payload = at.field("edns0_max_payload_size");
    let payload = within(&at_payload, edns0_max_payload_size, 512..=4096);
    let (tcp, no_search) = options(&at.field("dns_resolver_options"), dns_resolver_options);
    Some(DnsResolver {
        servers: servers(&at_servers, resolvers),
        is_fallback: use_resolvers_as_fallback,
        tcp,
        no_search,
        timeout: timeout(&at.field("query_timeout_seconds"), query_timeout_seconds)
            .unwrap_or(default.timeout),
        tries: within(&at.field("query_tries"), query_tries, 1..=u32::MAX).unwrap_or(default.tries),
        rotates: rotate_nameservers,
        max_payload: payload
            .and_then(|size| u16::try_from(size).ok())
            .unwrap_or(default.max_payload),
        fixed_ttl: None,
    })
}

fn getaddrinfo(at: &At<'_>, any: &Any) -> Option<DnsResolver> {
    let message = unpack(at, any, codec::unpack_getaddrinfo_dns_resolver)?;
    take!(at, message => GetAddrInfoDnsResolverConfig {
        supported: num_retries;
        ignored: num_resolver_threads = "a lookup keeps no thread waiting";
    });
    let default = DnsResolver::default();
    Some(DnsResolver {
        tries: num_retries.map_or(default.tries, |retries| retries.value.saturating_add(1)),
        fixed_ttl: Some(GETADDRINFO_TTL),
        ..default
    })
}

fn resolution(at: &At<'_>, message: Option<core::DnsResolutionConfig>) -> Option<DnsResolver> {
    let message = message?;
    take!(at, message => core::DnsResolutionConfig {
        supported: resolvers, dns_resolver_options;
    });
    let at_servers = at.field("resolvers");
    if resolvers.is_empty() {
        at_servers.error("required");
    }
    let (tcp, no_search) = options(&at.field("dns_resolver_options"), dns_resolver_options);
    Some(DnsResolver {
        servers: servers(&at_servers, resolvers),
        tcp,
        no_search,
        ..DnsResolver::default()
    })
}

/// Whether lookups are over TCP, and go without search domains.
fn options(at: &At<'_>, message: Option<core::DnsResolverOptions>) -> (bool, bool) {
    let message = message.unwrap_or_default();
    take!(at, message => core::DnsResolverOptions {
        supported: use_tcp_for_dns_lookups, no_default_search_domain;
    });
    (use_tcp_for_dns_lookups, no_default_search_domain)
}

fn servers(at: &At<'_>, messages: Vec<core::Address>) -> Vec<SocketAddr> {
    let each = messages.into_iter().enumerate();
    let server = |(index, message)| {
        let mut server = address(&at.index(index), message)?;
        if server.port() == 0 {
            server.set_port(53);
        }
        Some(server)
    };
    each.filter_map(server).collect()
}

fn timeout(at: &At<'_>, value: Option<UInt64Value>) -> Option<Duration> {
    let seconds = value?.value;
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds) {
        at.unsupported(format!(
            "{seconds}: must be from 1 to {MAX_TIMEOUT_SECONDS}"
        ));
    }
    Some(Duration::from_secs(seconds.min(MAX_TIMEOUT_SECONDS)))
}

/// A number of the resolver's message, whose bounds Envoy looks at only when it makes the resolver.
fn within(at: &At<'_>, value: Option<UInt32Value>, range: RangeInclusive<u32>) -> Option<u32> {
    let value = value?.value;
    if !range.contains(&value) {
        let (least, most) = range.into_inner();
        at.unsupported(format!("{value}: must be from {least} to {most}"));
    }
    Some(value)
}

// === impl OfCluster ===

impl OfCluster {
    /// Refuses what is set.
    pub(super) fn refuse(&self, at: &At<'_>) {
        at.field("typed_dns_resolver_config").refuse(&self.typed);
        at.field("dns_resolution_config").refuse(&self.resolution);
        at.field("dns_resolvers").refuse(&self.resolvers);
        at.field("use_tcp_for_dns_lookups").refuse(&self.use_tcp);
    }
}
