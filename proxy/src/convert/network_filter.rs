//! Network filters.

use std::sync::Arc;

use weir_api::xds::{
    codec,
    envoy::{
        config::listener::v3 as pb,
        extensions::filters::network::{
            direct_response::v3 as direct_response_v3, rbac::v3 as rbac_v3,
        },
    },
};

use super::{
    at::{At, take},
    dns_cache,
    http_connection_manager::http_connection_manager,
    local_rate_limit, rbac,
    tcp_proxy::tcp_proxy,
    value::{duration, enumeration, inline_text, non_empty, type_name, unpack},
};
use crate::config::{
    network_filter::{EnforcementType, NetworkFilter, NetworkRbac},
    rbac::Filter,
};

/// The filters of a chain: one that serves connections is the last, and only the last.
pub(super) fn network_filters(at: &At<'_>, messages: Vec<pb::Filter>) -> Vec<NetworkFilter> {
    if messages.is_empty() {
        at.unsupported("a chain without filters");
    }
    let last = messages.len().saturating_sub(1);
    let converted = messages.into_iter().enumerate();
    converted
        .filter_map(|(index, message)| {
            let at = at.index(index);
            let filter = network_filter(&at, message)?;
            match (filter.is_terminal(), index == last) {
                (true, false) => at.error("is terminal, and must be the last network filter"),
                (false, true) => at.error("is not terminal, and cannot be the last network filter"),
                _ => {}
            }
            Some(filter)
        })
        .collect()
}

fn network_filter(at: &At<'_>, message: pb::Filter) -> Option<NetworkFilter> {
    take!(at, message => pb::Filter { supported: name, config_type; });
    non_empty(&at.field("name"), name);
    let any = match at.field("typed_config").required(config_type)? {
        pb::filter::ConfigType::TypedConfig(any) => any,
        pb::filter::ConfigType::ConfigDiscovery(_) => {
            at.field("config_discovery")
                .unsupported("filters do not come over ECDS");
            return None;
        }
    };
    let at = at.field("typed_config");
    Some(match type_name(&any) {
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" => {
            let message = unpack(&at, &any, codec::unpack_tcp_proxy)?;
            NetworkFilter::TcpProxy(Arc::new(tcp_proxy(&at, message)))
        }
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" => {
            let message = unpack(&at, &any, codec::unpack_http_connection_manager)?;
            let manager = http_connection_manager(&at, message)?;
            NetworkFilter::HttpConnectionManager(Arc::new(manager))
        }
        "envoy.extensions.filters.network.echo.v3.Echo" => {
            unpack(&at, &any, codec::unpack_echo)?;
            NetworkFilter::Echo
        }
        "envoy.extensions.filters.network.direct_response.v3.Config" => {
            direct_response(&at, unpack(&at, &any, codec::unpack_direct_response)?)?
        }
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit" => {
            let message = unpack(&at, &any, codec::unpack_connection_limit)?;
            let limit = local_rate_limit::connection_limit(&at, message)?;
            NetworkFilter::ConnectionLimit(Arc::new(limit))
        }
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit" => {
            let message = unpack(&at, &any, codec::unpack_network_local_rate_limit)?;
            let limit = local_rate_limit::of_network(&at, message)?;
            NetworkFilter::LocalRateLimit(Arc::new(limit))
        }
        "envoy.extensions.filters.network.sni_cluster.v3.SniCluster" => {
            unpack(&at, &any, codec::unpack_sni_cluster)?;
            NetworkFilter::SniCluster
        }
        "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig" => {
            let message = unpack(&at, &any, codec::unpack_sni_dynamic_forward_proxy)?;
            NetworkFilter::SniDynamicForwardProxy(Arc::new(dns_cache::of_sni(&at, message)?))
        }
        "envoy.extensions.filters.network.rbac.v3.RBAC" => {
            let message = unpack(&at, &any, codec::unpack_network_rbac)?;
            NetworkFilter::Rbac(Arc::new(network_rbac(&at, message)?))
        }
        other => {
            at.unsupported(format!("network filter {other}"));
            return None;
        }
    })
}

fn direct_response(at: &At<'_>, message: direct_response_v3::Config) -> Option<NetworkFilter> {
    take!(at, message => direct_response_v3::Config { supported: response; });
    let response = match response {
        Some(response) => inline_text(&at.field("response"), response)?,
        None => Vec::new(),
    };
    Some(NetworkFilter::DirectResponse(response.into()))
}

fn network_rbac(at: &At<'_>, message: rbac_v3::Rbac) -> Option<NetworkRbac> {
    use rbac_v3::rbac::EnforcementType as Of;

    take!(at, message => rbac_v3::Rbac {
        supported: rules, shadow_rules, shadow_rules_stat_prefix, stat_prefix, enforcement_type,
            delay_deny;
        refused: matcher, shadow_matcher;
    });
    let (enforced, stat_prefix) = (rules, non_empty(&at.field("stat_prefix"), stat_prefix));
    let enforcement_type = match enumeration(&at.field("enforcement_type"), enforcement_type)? {
        Of::OneTimeOnFirstByte => EnforcementType::OneTimeOnFirstByte,
        Of::Continuous => EnforcementType::Continuous,
    };
    let rules_of = |name, message| {
        let at = at.field(name);
        let rules = rbac::rules(&at, message)?;
        if let Some(policy) = rules
            .policies
            .iter()
            .find(|policy| policy.asks_for_headers())
        {
            let policies = at.field("policies");
            let at = policies.key(&policy.name);
            at.error("has a rule on headers, which connections do not have");
        }
        Some(rules)
    };
    Some(NetworkRbac {
        stat_prefix,
        filter: Filter {
            rules: enforced.and_then(|message| rules_of("rules", message)),
            shadow_rules: shadow_rules.and_then(|message| rules_of("shadow_rules", message)),
            shadow_rules_stat_prefix,
            ..Filter::default()
        },
        enforcement_type,
        delay_deny: duration(&at.field("delay_deny"), delay_deny),
    })
}
