//! Where an `ORIGINAL_DST` cluster leads.

use weir_api::xds::envoy::{
    config::cluster::v3::cluster as pb,
    r#type::metadata::v3::{MetadataKey as PbMetadataKey, metadata_key::path_segment::Segment},
};

use super::{
    at::{At, take},
    value::{header_name, non_empty, number},
};
use crate::config::{
    cluster::ClusterDiscovery,
    original_dst::{MetadataKey, OriginalDstLb},
};

/// Envoy's default.
const HEADER: &str = "x-envoy-original-dst-host";

/// The settings of a cluster of that type, and those of another policy.
pub(super) fn lb_config(
    at: &At<'_>,
    discovery: Option<&ClusterDiscovery>,
    config: Option<pb::LbConfig>,
) -> (Option<Box<OriginalDstLb>>, Option<pb::LbConfig>) {
    let message = match config {
        Some(pb::LbConfig::OriginalDstLbConfig(message)) => message,
        other => return (None, other),
    };
    let at = at.field("original_dst_lb_config");
    if !matches!(discovery, Some(ClusterDiscovery::OriginalDst)) {
        at.unsupported("on a cluster that is not of type ORIGINAL_DST");
    }
    take!(at, message => pb::OriginalDstLbConfig {
        supported: use_http_header, http_header_name, upstream_port_override, metadata_key;
    });
    let at_header = at.field("http_header_name");
    if !use_http_header && !http_header_name.is_empty() {
        at_header.error("needs use_http_header");
    }
    let header = match http_header_name.as_str() {
        "" => HEADER.to_owned(),
        name => header_name(&at_header, name),
    };
    let port = number(
        &at.field("upstream_port_override"),
        upstream_port_override,
        0..=u32::from(u16::MAX),
    );
    let lb = OriginalDstLb {
        header: use_http_header.then_some(header),
        metadata: metadata_key.map(|message| metadata(&at.field("metadata_key"), message)),
        port: port.and_then(|port| u16::try_from(port).ok()),
    };
    (Some(Box::new(lb)), None)
}

pub(super) fn metadata(at: &At<'_>, message: PbMetadataKey) -> MetadataKey {
    take!(at, message => PbMetadataKey { supported: key, path; });
    let at_path = at.field("path");
    if path.is_empty() {
        at_path.error("must not be empty");
    }
    let path = path.into_iter().enumerate();
    let path = path.filter_map(|(index, message)| {
        let at = at_path.index(index);
        match at.field("key").required(message.segment)? {
            Segment::Key(key) => Some(non_empty(&at.field("key"), key)),
            Segment::Index(index) => {
                at.field("index").unsupported(index);
                None
            }
        }
    });
    MetadataKey {
        namespace: non_empty(&at.field("key"), key),
        path: path.collect(),
    }
}
