//! Listeners.

use crate::buffer::BufferLimit;
use std::time::Duration;

use weir_api::xds::{
    envoy::config::{
        core::v3::{Metadata, TrafficDirection as PbTrafficDirection},
        listener::v3 as pb,
    },
    google::protobuf::Struct,
    on_demand,
};

use super::{
    access_log::access_logs,
    at::{At, take},
    filter_chain::filter_chains,
    listener_filter::{check_original_src, complete, listener_filters},
    value::{address, enumeration, timeout},
};
use crate::config::listener::{Listener, OnDemand, TrafficDirection};

/// Envoy's default of `listener_filters_timeout`.
const LISTENER_FILTERS_TIMEOUT: Duration = Duration::from_secs(15);
/// The kernel caps the backlog at net.core.somaxconn, which is Envoy's default.
const BACKLOG: u32 = i32::MAX as u32;

pub(super) fn listener(at: &At<'_>, message: pb::Listener) -> Option<Listener> {
    take!(at, message => pb::Listener {
        supported: name, address, stat_prefix, filter_chains, use_original_dst,
            default_filter_chain, metadata, listener_filters,
            listener_filters_timeout, continue_on_listener_filters_timeout, traffic_direction,
            access_log, tcp_backlog_size, bind_to_port, ignore_global_conn_limit,
            bypass_overload_manager, per_connection_buffer_limit_bytes;
        fixed: transparent = false, freebind = false;
        ignored: connection_balance_config = "the kernel balances connections over the workers",
            enable_reuse_port = "each worker has a socket of its own in any case",
            max_connections_to_accept_per_socket_event = "bounds a batch of Envoy's event loop";
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
    let chains = filter_chains.iter().chain(&default_filter_chain);
    check_original_src(at, &listener_filters, chains.map(|chain| &**chain));
    let access_logs = access_logs(&at.field("access_log"), access_log);
    let services = metadata.as_ref().map(services).unwrap_or_default();
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
        services,
        ignore_global_conn_limit,
        bypass_overload_manager,
        buffer_limit: BufferLimit::new(per_connection_buffer_limit_bytes.map(|limit| limit.value)),
        backlog: tcp_backlog_size.map_or(BACKLOG, |backlog| backlog.value),
        access_logs,
    })
}

/// Which service leads to each port, as the metadata says for the labels of metrics.
fn services(metadata: &Metadata) -> Vec<(u16, Box<str>)> {
    use weir_api::xds::google::protobuf::value::Kind;

    let (namespace, field) = weir_api::workload::SERVICES;
    let ours = metadata.filter_metadata.get(namespace);
    let said = ours.and_then(|ours| ours.fields.get(field)?.kind.as_ref());
    match said {
        Some(Kind::StringValue(text)) => {
            let services = weir_api::workload::services_of_text(text);
            services.map(|(port, host)| (port, host.into())).collect()
        }
        _ => Vec::new(),
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
