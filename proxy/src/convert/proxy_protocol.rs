//! The PROXY protocol.

use weir_api::xds::envoy::{
    config::core::v3::proxy_protocol_config::Version as PbVersion,
    extensions::filters::listener::proxy_protocol::v3::{self as pb, proxy_protocol as nested},
};

use super::{
    at::{At, take},
    value::{enumeration, non_empty},
};
use crate::config::listener_filter::{ProxyProtocol, TlvEncoding, TlvLocation, TlvRule};

/// Where TLVs go whose rule names no namespace: the filter's own.
const NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

pub(super) fn proxy_protocol(at: &At<'_>, message: pb::ProxyProtocol) -> Option<ProxyProtocol> {
    take!(at, message => pb::ProxyProtocol {
        supported: rules, allow_requests_without_proxy_protocol, disallowed_versions, stat_prefix,
            tlv_location;
        ignored: pass_through_tlvs = "no header is sent to endpoints, so there is nothing to pass on";
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
