//! The PROXY protocol.

use weir_api::xds::envoy::{
    config::core::v3::{
        ProxyProtocolPassThroughTlVs, proxy_protocol_config::Version as PbVersion,
        proxy_protocol_pass_through_tl_vs::PassTlVsMatchType,
    },
    extensions::filters::listener::proxy_protocol::v3::{self as pb, proxy_protocol as nested},
};

use super::{
    at::{At, take},
    value::{enumeration, non_empty},
};
use crate::config::{
    listener_filter::{ProxyProtocol, TlvEncoding, TlvLocation, TlvRule},
    proxy_protocol::PassThroughTlvs,
};

/// Where TLVs go whose rule names no namespace: the filter's own.
const NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

pub(super) fn proxy_protocol(at: &At<'_>, message: pb::ProxyProtocol) -> Option<ProxyProtocol> {
    take!(at, message => pb::ProxyProtocol {
        supported: rules, allow_requests_without_proxy_protocol, disallowed_versions, stat_prefix,
            tlv_location, pass_through_tlvs;
    });
    let at_versions = at.field("disallowed_versions");
    let versions: Vec<PbVersion> = disallowed_versions
        .into_iter()
        .enumerate()
        .filter_map(|(index, version)| enumeration(&at_versions.index(index), version))
        .collect();
    if versions.contains(&PbVersion::V1) && versions.contains(&PbVersion::V2) {
        at_versions.error("every version is disallowed");
    }
    let at_rules = at.field("rules");
    let rules = rules.into_iter().enumerate();
    let rules = rules.filter_map(|(index, message)| rule(&at_rules.index(index), message));
    Some(ProxyProtocol {
        pass_through: pass_through(&at.field("pass_through_tlvs"), pass_through_tlvs)?,
        rules: rules.collect(),
        allow_without: allow_requests_without_proxy_protocol,
        disallow_v1: versions.contains(&PbVersion::V1),
        disallow_v2: versions.contains(&PbVersion::V2),
        stat_prefix,
        location: match enumeration(&at.field("tlv_location"), tlv_location)? {
            nested::TlvLocation::DynamicMetadata => TlvLocation::DynamicMetadata,
            nested::TlvLocation::FilterState => TlvLocation::FilterState,
        },
    })
}

/// Which TLVs are passed on.
pub(super) fn pass_through(
    at: &At<'_>,
    message: Option<ProxyProtocolPassThroughTlVs>,
) -> Option<PassThroughTlvs> {
    let Some(message) = message else {
        return Some(PassThroughTlvs::None);
    };
    take!(at, message => ProxyProtocolPassThroughTlVs { supported: match_type, tlv_type; });
    let at_types = at.field("tlv_type");
    let types = tlv_type
        .into_iter()
        .enumerate()
        .filter_map(|(index, kind)| {
            let known = u8::try_from(kind).ok();
            if known.is_none() {
                let at = at_types.index(index);
                at.error(format!("{kind}: must be less than 256"));
            }
            known
        });
    let types = types.collect();
    Some(match enumeration(&at.field("match_type"), match_type)? {
        PassTlVsMatchType::IncludeAll => PassThroughTlvs::All,
        PassTlVsMatchType::Include => PassThroughTlvs::Types(types),
    })
}

/// None without `on_tlv_present`, as then nothing is kept.
fn rule(at: &At<'_>, message: nested::Rule) -> Option<TlvRule> {
    use nested::key_value_pair::ValueStringEncoding;

    take!(at, message => nested::Rule { supported: tlv_type, on_tlv_present; });
    let kind = u8::try_from(tlv_type).ok();
    if kind.is_none() {
        at.field("tlv_type")
            .error(format!("{tlv_type}: must be less than 256"));
    }
    let (at, message) = (at.field("on_tlv_present"), on_tlv_present?);
    take!(at, message => nested::KeyValuePair {
        supported: metadata_namespace, key, value_string_encoding;
    });
    let encoding = enumeration(&at.field("value_string_encoding"), value_string_encoding);
    Some(TlvRule {
        kind: kind?,
        namespace: match metadata_namespace.is_empty() {
            true => NAMESPACE.to_owned(),
            false => metadata_namespace,
        },
        key: non_empty(&at.field("key"), key),
        encoding: match encoding? {
            ValueStringEncoding::Unspecified | ValueStringEncoding::SanitizedUtf8 => {
                TlvEncoding::Sanitized
            }
            ValueStringEncoding::Base64 => TlvEncoding::Base64,
        },
    })
}
