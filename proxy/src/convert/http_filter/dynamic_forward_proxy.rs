//! `envoy.filters.http.dynamic_forward_proxy`.

use weir_api::xds::{
    codec,
    envoy::extensions::filters::http::dynamic_forward_proxy::v3::{
        self as pb, filter_config::ImplementationSpecifier, per_route_config::HostRewriteSpecifier,
    },
    google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    dns_cache,
    value::{header_name, header_value, unpack},
};
use crate::config::http_filter::{HostRewrite, HttpFilterConfig, RouteSpecificFilterConfig};

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_dynamic_forward_proxy)?;
    take!(at, message => pb::FilterConfig {
        supported: implementation_specifier;
        refused: save_upstream_address, allow_dynamic_host_from_filter_state;
    });
    let at_cache = at.field("dns_cache_config");
    let cache = match at_cache.required(implementation_specifier)? {
        ImplementationSpecifier::DnsCacheConfig(message) => dns_cache::cache(&at_cache, message)?,
        ImplementationSpecifier::SubClusterConfig(_) => {
            let at = at.field("sub_cluster_config");
            at.unsupported("clusters that requests bring (dns_cache_config is)");
            return None;
        }
    };
    let cache = at_cache.shared_cache(cache);
    Some(HttpFilterConfig::DynamicForwardProxy(cache))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_dynamic_forward_proxy_per_route)?;
    take!(at, message => pb::PerRouteConfig { supported: host_rewrite_specifier; });
    let rewrite = match host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if !host.is_empty() => {
            let host = header_value(&at.field("host_rewrite_literal"), host);
            Some(HostRewrite::Literal(host))
        }
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) if !name.is_empty() => {
            let name = header_name(&at.field("host_rewrite_header"), &name);
            Some(HostRewrite::Header(name))
        }
        _ => None,
    };
    Some(RouteSpecificFilterConfig::DynamicForwardProxy(rewrite))
}
