//! PROXY protocol headers that endpoints are sent.

use std::sync::Arc;

use weir_api::xds::{
    codec,
    envoy::{
        config::core::v3::{
            ProxyProtocolConfig, TlvEntry, TransportSocket as PbTransportSocket,
            proxy_protocol_config::Version, transport_socket::ConfigType,
        },
        extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport,
    },
};

use super::{
    at::{At, take},
    proxy_protocol::pass_through,
    tls,
    value::{enumeration, type_name, unpack},
};
use crate::config::{
    proxy_protocol::{ProxyProtocol, ProxyProtocolVersion},
    tls::{TransportSocket, UpstreamTlsContext},
};

const WRAPPER: &str =
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
/// Bytes of all that is added: a header has 65535 behind its first 16, and 36 of these are addresses.
const MAX_ADDED: usize = 65_535 - 36;

/// How bytes travel to an endpoint, and which header goes before them.
pub(super) type Upstream = (
    TransportSocket<UpstreamTlsContext>,
    Option<Arc<ProxyProtocol>>,
);

/// The transport socket of a cluster, which may have another within.
pub(super) fn upstream(at: &At<'_>, message: Option<PbTransportSocket>) -> Option<Upstream> {
    let wrapped = message
        .as_ref()
        .and_then(|message| match &message.config_type {
            Some(ConfigType::TypedConfig(any)) if type_name(any) == WRAPPER => Some(any.clone()),
            _ => None,
        });
    let Some(any) = wrapped else {
        return Some((tls::upstream(at, message)?, None));
    };
    let at = at.field("typed_config");
    let message = unpack(&at, &any, codec::unpack_upstream_proxy_protocol)?;
    take!(at, message => ProxyProtocolUpstreamTransport {
        supported: config, transport_socket;
        refused: allow_unspecified_address, tlv_as_pool_key;
    });
    let at_socket = at.field("transport_socket");
    let inner = at_socket.required(transport_socket)?;
    let config = self::config(&at.field("config"), config.unwrap_or_default())?;
    let socket = tls::upstream(&at_socket, Some(inner))?;
    Some((socket, Some(Arc::new(config))))
}

fn config(at: &At<'_>, message: ProxyProtocolConfig) -> Option<ProxyProtocol> {
    take!(at, message => ProxyProtocolConfig {
        supported: version, added_tlvs, pass_through_tlvs;
    });
    let version = match enumeration(&at.field("version"), version)? {
        Version::V1 => ProxyProtocolVersion::V1,
        Version::V2 => ProxyProtocolVersion::V2,
    };
    let at_added = at.field("added_tlvs");
    if version == ProxyProtocolVersion::V1 && !added_tlvs.is_empty() {
        at_added.unsupported("with version V1, which has none");
    }
    let mut added: Vec<(u8, Vec<u8>)> = Vec::new();
    for (index, message) in added_tlvs.into_iter().enumerate() {
        let at = at_added.index(index);
        take!(at, message => TlvEntry {
            supported: r#type, value;
            refused: format_string;
        });
        let at_type = at.field("type");
        let number = r#type;
        match u8::try_from(number) {
            Ok(kind) if added.iter().any(|(known, _)| *known == kind) => {
                at_type.unsupported(format!("{kind} more than once"));
            }
            Ok(kind) => added.push((kind, value)),
            Err(_) => at_type.error(format!("{number}: must be less than 256")),
        }
    }
    let bytes: usize = added.iter().map(|(_, value)| value.len() + 3).sum();
    if bytes > MAX_ADDED {
        at_added.unsupported(format!(
            "{bytes} bytes, and a header has {MAX_ADDED} for them"
        ));
    }
    Some(ProxyProtocol {
        version,
        added_tlvs: added,
        pass_through: pass_through(&at.field("pass_through_tlvs"), pass_through_tlvs)?,
    })
}
