//! Filter chains, and which connections they serve.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use ipnet::IpNet;
use weir_api::xds::{codec, envoy::config::listener::v3 as pb, google::protobuf::UInt32Value};

use super::{
    at::{At, take},
    network_filter::network_filters,
    tls,
    value::{cidr_ranges, enumeration, number, timeout},
};
use crate::config::listener::{FilterChain, FilterChainMatch, SourceType, TransportProtocol};

/// The chains of the listener at `at`, and its default chain.
pub(super) fn filter_chains(
    at: &At<'_>,
    messages: Vec<pb::FilterChain>,
    default: Option<pb::FilterChain>,
) -> (Vec<Arc<FilterChain>>, Option<Arc<FilterChain>>) {
    let at_chains = at.field("filter_chains");
    if messages.is_empty() && default.is_none() {
        at_chains.error("must not be empty without default_filter_chain");
    }
    let converted = messages.into_iter().enumerate();
    // A chain that could not be read is missing from the list, so its place is kept beside it.
    let chains: Vec<(usize, Arc<FilterChain>)> = converted
        .filter_map(|(index, message)| {
            Some((
                index,
                Arc::new(filter_chain(&at_chains.index(index), message)?),
            ))
        })
        .collect();
    for (position, (index, chain)) in chains.iter().enumerate() {
        let twin = chains[..position]
            .iter()
            .find(|(_, other)| overlap(chain, other));
        if let Some((other, _)) = twin {
            at_chains
                .index(*index)
                .field("filter_chain_match")
                .error(format!(
                    "matches the same connections as filter_chains[{other}]"
                ));
        }
    }
    let default = default
        .and_then(|message| filter_chain(&at.field("default_filter_chain"), message))
        .map(Arc::new);
    (
        chains.into_iter().map(|(_, chain)| chain).collect(),
        default,
    )
}

fn filter_chain(at: &At<'_>, mut message: pb::FilterChain) -> Option<FilterChain> {
    // It changes nothing, and as a map it has no fixed encoding.
    message.metadata = None;
    let fingerprint = fingerprint(&message);
    take!(at, message => pb::FilterChain {
        supported: filter_chain_match, filters, transport_socket, name,
            transport_socket_connect_timeout;
        ignored: metadata = "for people and for filters that are not supported";
        refused: use_proxy_proto;
    });
    let criteria = filter_chain_match.map_or_else(
        || Some(FilterChainMatch::default()),
        |message| self::filter_chain_match(&at.field("filter_chain_match"), message),
    );
    let filters = network_filters(&at.field("filters"), filters);
    Some(FilterChain {
        name,
        transport_socket: tls::downstream(&at.field("transport_socket"), transport_socket)?,
        transport_socket_connect_timeout: timeout(
            &at.field("transport_socket_connect_timeout"),
            transport_socket_connect_timeout,
            None,
        ),
        criteria: criteria?,
        filters,
        fingerprint,
    })
}

/// Equal for equal messages without metadata.
fn fingerprint(message: &pb::FilterChain) -> u64 {
    let mut hasher = DefaultHasher::new();
    codec::encode_filter_chain(message).hash(&mut hasher);
    hasher.finish()
}

fn filter_chain_match(at: &At<'_>, message: pb::FilterChainMatch) -> Option<FilterChainMatch> {
    take!(at, message => pb::FilterChainMatch {
        supported: destination_port, prefix_ranges, direct_source_prefix_ranges, source_type,
            source_prefix_ranges, source_ports, server_names, transport_protocol,
            application_protocols;
        refused: address_suffix, suffix_len;
    });
    let at_port = at.field("destination_port");
    let at_ports = at.field("source_ports");
    let at_names = at.field("server_names");
    let source_ports = source_ports.into_iter().enumerate();
    let server_names = server_names.into_iter().enumerate();
    let source_type = enumeration(&at.field("source_type"), source_type);
    Some(FilterChainMatch {
        destination_port: port(&at_port, destination_port),
        prefix_ranges: cidr_ranges(&at.field("prefix_ranges"), prefix_ranges),
        server_names: server_names
            .map(|(index, name)| server_name(&at_names.index(index), &name))
            .collect(),
        transport_protocol: match transport_protocol.as_str() {
            "" => None,
            "tls" => Some(TransportProtocol::Tls),
            "raw_buffer" => Some(TransportProtocol::RawBuffer),
            other => {
                at.field("transport_protocol")
                    .unsupported(format!("{other:?}"));
                None
            }
        },
        application_protocols,
        direct_source_prefix_ranges: cidr_ranges(
            &at.field("direct_source_prefix_ranges"),
            direct_source_prefix_ranges,
        ),
        source_type: match source_type? {
            pb::filter_chain_match::ConnectionSourceType::Any => SourceType::Any,
            pb::filter_chain_match::ConnectionSourceType::SameIpOrLoopback => {
                SourceType::SameIpOrLoopback
            }
            pb::filter_chain_match::ConnectionSourceType::External => SourceType::External,
        },
        source_prefix_ranges: cidr_ranges(&at.field("source_prefix_ranges"), source_prefix_ranges),
        source_ports: source_ports
            .filter_map(|(index, value)| port(&at_ports.index(index), Some(UInt32Value { value })))
            .collect(),
    })
}

fn port(at: &At<'_>, value: Option<UInt32Value>) -> Option<u16> {
    number(at, value, 1..=65535).and_then(|port| u16::try_from(port).ok())
}

/// Lower case.
fn server_name(at: &At<'_>, name: &str) -> String {
    if name.contains('*') && !name.starts_with("*.") {
        at.error(format!(
            "{name:?}: a wildcard is a whole label, and the first"
        ));
    }
    name.to_ascii_lowercase()
}

/// Whether a connection exists that two chains match equally well: in every respect they have a
/// value in common, or neither of them has any.
fn overlap(left: &FilterChain, right: &FilterChain) -> bool {
    fn share<T: PartialEq>(left: &[T], right: &[T]) -> bool {
        match (left.is_empty(), right.is_empty()) {
            (true, true) => true,
            (false, false) => left.iter().any(|value| right.contains(value)),
            _ => false,
        }
    }
    let ranges = |left: &[IpNet], right: &[IpNet]| share(left, right);
    let (left, right) = (&left.criteria, &right.criteria);
    left.destination_port == right.destination_port
        && left.transport_protocol == right.transport_protocol
        && left.source_type == right.source_type
        && ranges(&left.prefix_ranges, &right.prefix_ranges)
        && share(&left.server_names, &right.server_names)
        && share(&left.application_protocols, &right.application_protocols)
        && ranges(
            &left.direct_source_prefix_ranges,
            &right.direct_source_prefix_ranges,
        )
        && ranges(&left.source_prefix_ranges, &right.source_prefix_ranges)
        && share(&left.source_ports, &right.source_ports)
}
