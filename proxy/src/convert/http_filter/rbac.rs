//! `envoy.filters.http.rbac`.

use weir_api::xds::{
    codec, envoy::extensions::filters::http::rbac::v3 as pb, google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    rbac::rules,
    value::unpack,
};
use crate::config::{
    http_filter::{HttpFilterConfig, RouteSpecificFilterConfig},
    rbac::Filter,
};

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_http_rbac)?;
    Some(HttpFilterConfig::Rbac(Box::new(rbac(at, message))))
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_rbac_per_route)?;
    take!(at, message => pb::RbacPerRoute { supported: rbac; });
    let filter = self::rbac(&at.field("rbac"), rbac.unwrap_or_default());
    Some(RouteSpecificFilterConfig::Rbac(Box::new(filter)))
}

fn rbac(at: &At<'_>, message: pb::Rbac) -> Filter {
    take!(at, message => pb::Rbac {
        supported: rules, rules_stat_prefix, shadow_rules, shadow_rules_stat_prefix,
            track_per_rule_stats;
        refused: matcher, shadow_matcher;
    });
    Filter {
        rules: rules.and_then(|message| self::rules(&at.field("rules"), message)),
        shadow_rules: shadow_rules
            .and_then(|message| self::rules(&at.field("shadow_rules"), message)),
        rules_stat_prefix,
        shadow_rules_stat_prefix,
        track_per_rule_stats,
    }
}
