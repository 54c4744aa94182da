//! Listeners and listener filters.

use std::{sync::Arc, time::Duration};

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            core::v3::{Metadata, TrafficDirection as PbTrafficDirection},
            listener::v3 as pb,
        },
        extensions::filters::listener::tls_inspector::v3 as tls_inspector_v3,
    },
    google::protobuf::Struct,
    on_demand,
};

use super::{
    access_log::access_logs,
    at::{At, take},
    filter_chain::filter_chains,
    value::{address, enumeration, non_empty, number, timeout, type_name, unpack},
};
use crate::config::listener::{
    FilterChain, Listener, ListenerFilter, OnDemand, TrafficDirection, TransportProtocol,
};

/// Envoy's default of `listener_filters_timeout`.
const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
/// The kernel caps the backlog at net.core.somaxconn, which is Envoy's default.
const BACKLOG: u32 = i32::MAX as u32;

pub(super) fn listener(at: &At<'_>, message: pb::Listener) -> Option<Listener> {
    take!(at, message => pb::Listener {
        supported: name, address, stat_prefix, filter_chains, use_original_dst,
            default_filter_chain, metadata, listener_filters,
            listener_filters_timeout, continue_on_listener_filters_timeout, traffic_direction,
            access_log, tcp_backlog_size, bind_to_port;
        fixed: transparent = false, freebind = false;
        ignored: connection_balance_config = "the kernel balances connections over the workers",
            enable_reuse_port = "each worker has a socket of its own in any case",
            max_connections_to_accept_per_socket_event = "bounds a batch of Envoy's event loop",
            ignore_global_conn_limit = "there is no global limit of connections",
            bypass_overload_manager = "there is no overload manager",
            per_connection_buffer_limit_bytes = "a buffer has 16 KiB, or 128 while much moves";
        refused: additional_addresses, stats_matcher, fcds_config, filter_chain_matcher,
            per_connection_buffer_high_watermark_timeout, deprecated_v1, drain_type,
            socket_options, tcp_fast_open_queue_length, udp_listener_config, api_listener,
            reuse_port, enable_mptcp, tcp_keepalive, listener_specifier;
    });
    let at_address = at.field("address");
    let address = at_address
        .required(address)
        .and_then(|message| self::address(&at_address, message));
    let (filter_chains, default_filter_chain) =
        self::filter_chains(at, filter_chains, default_filter_chain);
    let use_original_dst = use_original_dst.is_some_and(|value| value.value);
    let mut listener_filters =
        self::listener_filters(&at.field("listener_filters"), listener_filters);
    complete(&mut listener_filters, use_original_dst, &filter_chains);
    let access_logs = access_logs(&at.field("access_log"), access_log);
    let ours = metadata.map(|message| our_metadata(&at.field("metadata"), message));
    let OurMetadata {
        on_demand,
        replaceable,
    } = ours.unwrap_or_default();
    let direction = enumeration(&at.field("traffic_direction"), traffic_direction);
    let timeout = timeout(
        &at.field("listener_filters_timeout"),
        listener_filters_timeout,
        Some(LISTENER_FILTERS_TIMEOUT),
    );
    let address = address?;
    Some(Listener {
        name: if name.is_empty() {
            address.to_string()
        } else {
            name
        },
        stat_prefix: if stat_prefix.is_empty() {
            address.to_string().replace(':', "_")
        } else {
            stat_prefix
        },
        address,
        bind_to_port: bind_to_port.is_none_or(|bind| bind.value),
        use_original_dst,
        on_demand,
        replaceable,
        listener_filters,
        listener_filters_timeout: timeout,
        continue_on_listener_filters_timeout,
        filter_chains,
        default_filter_chain,
        direction: match direction? {
            PbTrafficDirection::Unspecified => TrafficDirection::Unspecified,
            PbTrafficDirection::Inbound => TrafficDirection::Inbound,
            PbTrafficDirection::Outbound => TrafficDirection::Outbound,
        },
        backlog: tcp_backlog_size.map_or(BACKLOG, |backlog| backlog.value),
        access_logs,
    })
}

fn listener_filters(at: &At<'_>, messages: Vec<pb::ListenerFilter>) -> Vec<ListenerFilter> {
    let converted = messages.into_iter().enumerate();
    converted
        .filter_map(|(index, message)| listener_filter(&at.index(index), message))
        .collect()
}

fn listener_filter(at: &At<'_>, message: pb::ListenerFilter) -> Option<ListenerFilter> {
    take!(at, message => pb::ListenerFilter {
        supported: name, config_type;
        refused: filter_disabled;
    });
    non_empty(&at.field("name"), name);
    let any = match at.field("typed_config").required(config_type)? {
        pb::listener_filter::ConfigType::TypedConfig(any) => any,
        pb::listener_filter::ConfigType::ConfigDiscovery(_) => {
            at.field("config_discovery")
                .unsupported("filters do not come over ECDS");
            return None;
        }
    };
    let at = at.field("typed_config");
    match type_name(&any) {
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" => {
            unpack(&at, &any, codec::unpack_original_dst)?;
            Some(ListenerFilter::OriginalDst)
        }
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" => {
            unpack(&at, &any, codec::unpack_http_inspector)?;
            Some(ListenerFilter::HttpInspector)
        }
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
            let message = unpack(&at, &any, codec::unpack_tls_inspector)?;
            take!(at, message => tls_inspector_v3::TlsInspector {
                supported: initial_read_buffer_size;
                fixed: enable_ja3_fingerprinting = false, enable_ja4_fingerprinting = false;
                refused: close_connection_on_client_hello_parsing_errors, max_client_hello_size;
            });
            // Checked and not used: the first read takes what is there.
            let at_size = at.field("initial_read_buffer_size");
            number(&at_size, initial_read_buffer_size, 256..=65_536);
            Some(ListenerFilter::TlsInspector)
        }
        other => {
            at.unsupported(format!("listener filter {other}"));
            None
        }
    }
}

/// Adds the listener filters that the rest of the listener needs and Envoy adds as well: the
/// original destination for `use_original_dst`, the TLS inspector for chains that ask for TLS,
/// server names or, without saying that they do not want TLS, for application protocols.
fn complete(
    filters: &mut Vec<ListenerFilter>,
    use_original_dst: bool,
    filter_chains: &[Arc<FilterChain>],
) {
    if use_original_dst && !filters.contains(&ListenerFilter::OriginalDst) {
        filters.insert(0, ListenerFilter::OriginalDst);
    }
    let inspects_tls = filter_chains.iter().any(|chain| {
        let criteria = &chain.criteria;
        let names = !criteria.server_names.is_empty() || !criteria.application_protocols.is_empty();
        match criteria.transport_protocol {
            Some(TransportProtocol::Tls) => true,
            Some(TransportProtocol::RawBuffer) => false,
            None => names,
        }
    });
    if inspects_tls && !filters.contains(&ListenerFilter::TlsInspector) {
        filters.push(ListenerFilter::TlsInspector);
    }
}

/// What the metadata asks of us. What else is in there is for people.
#[derive(Debug, Default)]
struct OurMetadata {
    on_demand: Option<OnDemand>,
    replaceable: bool,
}

fn our_metadata(at: &At<'_>, message: Metadata) -> OurMetadata {
    use weir_api::xds::google::protobuf::value::Kind;

    take!(at, message => Metadata {
        supported: filter_metadata;
        ignored: typed_filter_metadata = "for people and for filters that are not supported";
    });
    let at = at.field("filter_metadata");
    let at = at.key(on_demand::METADATA_NAMESPACE);
    let ours = { filter_metadata }.remove(on_demand::METADATA_NAMESPACE);
    let mut settings = OurMetadata::default();
    for (key, value) in ours.map(|ours| ours.fields).unwrap_or_default() {
        match (key.as_str(), value.kind) {
            (on_demand::FIELD, Some(Kind::StructValue(fields))) => {
                let at = at.field(on_demand::FIELD);
                settings.on_demand = Some(on_demand_settings(&at, fields));
            }
            (on_demand::FIELD, _) => at.field(on_demand::FIELD).error("must be a mapping"),
            (on_demand::REPLACEABLE, Some(Kind::BoolValue(value))) => settings.replaceable = value,
            (on_demand::REPLACEABLE, _) => {
                at.field(on_demand::REPLACEABLE)
                    .error("must be true or false");
            }
            _ => at.key(&key).unsupported("no such setting"),
        }
    }
    settings
}

fn on_demand_settings(at: &At<'_>, mut settings: Struct) -> OnDemand {
    use weir_api::xds::google::protobuf::value::Kind;

    let mut number = |name: &str, default: f64| match settings.fields.remove(name).map(|v| v.kind) {
        None => default,
        Some(Some(Kind::NumberValue(number))) if (0.0..1e9).contains(&number) => number,
        Some(_) => {
            at.field(name).error("must be a number from 0");
            default
        }
    };
    let on_demand = OnDemand {
        timeout: Duration::from_secs_f64(number(on_demand::TIMEOUT_MS, 200.0) / 1000.0),
        idle: Duration::from_secs_f64(number(on_demand::IDLE_S, 600.0)),
        absent_ttl: Duration::from_secs_f64(number(on_demand::ABSENT_TTL_S, 30.0)),
    };
    for other in settings.fields.keys() {
        at.key(other).unsupported("no such setting");
    }
    on_demand
}
