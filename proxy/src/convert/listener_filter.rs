//! Listener filters.

use std::sync::Arc;

use weir_api::xds::{
    codec,
    envoy::{
        config::listener::v3 as pb,
        extensions::filters::listener::{
            original_src::v3 as original_src_v3, tls_inspector::v3 as tls_inspector_v3,
        },
        r#type::v3::Int32Range,
    },
};

use super::{
    at::{At, take},
    local_rate_limit,
    proxy_protocol::proxy_protocol,
    value::{non_empty, number, type_name, unpack},
};
use crate::config::{
    listener::{FilterChain, NetworkFilter, TransportProtocol},
    listener_filter::{ListenerFilter, ListenerFilterKind, ListenerMatch},
};

/// Conditions within conditions. Messages come from elsewhere, and are read by recursion.
const MAX_DEPTH: usize = 32;

pub(super) fn listener_filters(
    at: &At<'_>,
    messages: Vec<pb::ListenerFilter>,
) -> Vec<ListenerFilter> {
    let converted = messages.into_iter().enumerate();
    converted
        .filter_map(|(index, message)| listener_filter(&at.index(index), message))
        .collect()
}

fn listener_filter(at: &At<'_>, message: pb::ListenerFilter) -> Option<ListenerFilter> {
    take!(at, message => pb::ListenerFilter {
        supported: name, config_type, filter_disabled;
    });
    non_empty(&at.field("name"), name);
    let disabled = filter_disabled
        .map(|message| listener_match(&at.field("filter_disabled"), message, MAX_DEPTH));
    let any = match at.field("typed_config").required(config_type)? {
        pb::listener_filter::ConfigType::TypedConfig(any) => any,
        pb::listener_filter::ConfigType::ConfigDiscovery(_) => {
            at.field("config_discovery")
                .unsupported("filters do not come over ECDS");
            return None;
        }
    };
    let at = at.field("typed_config");
    let kind = match type_name(&any) {
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" => {
            unpack(&at, &any, codec::unpack_original_dst)?;
            ListenerFilterKind::OriginalDst
        }
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" => {
            unpack(&at, &any, codec::unpack_http_inspector)?;
            ListenerFilterKind::HttpInspector
        }
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => {
            tls_inspector(&at, unpack(&at, &any, codec::unpack_tls_inspector)?);
            ListenerFilterKind::TlsInspector
        }
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" => {
            let message = unpack(&at, &any, codec::unpack_proxy_protocol)?;
            ListenerFilterKind::ProxyProtocol(Arc::new(proxy_protocol(&at, message)?))
        }
        "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit" => {
            let message = unpack(&at, &any, codec::unpack_listener_local_rate_limit)?;
            let limit = local_rate_limit::of_listener(&at, message)?;
            ListenerFilterKind::LocalRateLimit(Arc::new(limit))
        }
        "envoy.extensions.filters.listener.original_src.v3.OriginalSrc" => {
            original_src(&at, unpack(&at, &any, codec::unpack_original_src)?)
        }
        other => {
            at.unsupported(format!("listener filter {other}"));
            return None;
        }
    };
    let disabled = match disabled {
        Some(disabled) => Some(disabled?),
        None => None,
    };
    Some(ListenerFilter { kind, disabled })
}

fn tls_inspector(at: &At<'_>, message: tls_inspector_v3::TlsInspector) {
    take!(at, message => tls_inspector_v3::TlsInspector {
        supported: initial_read_buffer_size;
        fixed: enable_ja3_fingerprinting = false, enable_ja4_fingerprinting = false;
        refused: close_connection_on_client_hello_parsing_errors, max_client_hello_size;
    });
    // Checked and not used: the first read takes what is there.
    let at_size = at.field("initial_read_buffer_size");
    number(&at_size, initial_read_buffer_size, 256..=65_536);
}

fn original_src(at: &At<'_>, message: original_src_v3::OriginalSrc) -> ListenerFilterKind {
    take!(at, message => original_src_v3::OriginalSrc {
        supported: mark;
        refused: bind_port;
    });
    ListenerFilterKind::OriginalSrc { mark }
}

fn listener_match(
    at: &At<'_>,
    message: pb::ListenerFilterChainMatchPredicate,
    depth: usize,
) -> Option<ListenerMatch> {
    use pb::listener_filter_chain_match_predicate::{MatchSet, Rule};

    take!(at, message => pb::ListenerFilterChainMatchPredicate { supported: rule; });
    let Some(deeper) = depth.checked_sub(1) else {
        at.unsupported(format!(
            "more than {MAX_DEPTH} conditions within each other"
        ));
        return None;
    };
    let set = |at: &At<'_>, message: MatchSet| {
        take!(at, message => MatchSet { supported: rules; });
        let at = at.field("rules");
        if rules.len() < 2 {
            at.error("must have at least two entries");
        }
        let rules = rules.into_iter().enumerate();
        let converted = rules.map(|(index, rule)| listener_match(&at.index(index), rule, deeper));
        converted.collect::<Option<Vec<_>>>()
    };
    match rule {
        None => {
            at.error("rule: required");
            None
        }
        Some(Rule::OrMatch(message)) => set(&at.field("or_match"), message).map(ListenerMatch::Or),
        Some(Rule::AndMatch(message)) => {
            set(&at.field("and_match"), message).map(ListenerMatch::And)
        }
        Some(Rule::NotMatch(message)) => {
            let other = listener_match(&at.field("not_match"), *message, deeper)?;
            Some(ListenerMatch::Not(Box::new(other)))
        }
        Some(Rule::AnyMatch(true)) => Some(ListenerMatch::Any),
        Some(Rule::AnyMatch(false)) => {
            at.field("any_match").error("false: must be true");
            None
        }
        Some(Rule::DestinationPortRange(message)) => {
            let at = at.field("destination_port_range");
            take!(at, message => Int32Range { supported: start, end; });
            Some(ListenerMatch::DestinationPort(start..end))
        }
    }
}

/// Adds the listener filters that the rest of the listener needs and Envoy adds as well: the
/// original destination for `use_original_dst`, the TLS inspector for chains that ask for TLS,
/// server names or, without saying that they do not want TLS, for application protocols.
pub(super) fn complete(
    filters: &mut Vec<ListenerFilter>,
    use_original_dst: bool,
    filter_chains: &[Arc<FilterChain>],
) {
    let implied = |kind| ListenerFilter {
        kind,
        disabled: None,
    };
    let has = |filters: &[ListenerFilter], wanted: fn(&ListenerFilterKind) -> bool| {
        filters.iter().any(|filter| wanted(&filter.kind))
    };
    let original_dst = |kind: &_| matches!(kind, ListenerFilterKind::OriginalDst);
    if use_original_dst && !has(filters, original_dst) {
        filters.insert(0, implied(ListenerFilterKind::OriginalDst));
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
    let tls = |kind: &_| matches!(kind, ListenerFilterKind::TlsInspector);
    if inspects_tls && !has(filters, tls) {
        filters.push(implied(ListenerFilterKind::TlsInspector));
    }
}

/// A pooled connection leaves from the address of whoever came first, so that only connections
/// that are not pooled may leave from the client's.
pub(super) fn check_original_src<'a>(
    at: &At<'_>,
    filters: &[ListenerFilter],
    chains: impl Iterator<Item = &'a FilterChain>,
) {
    let original_src =
        |filter: &ListenerFilter| matches!(filter.kind, ListenerFilterKind::OriginalSrc { .. });
    let Some(index) = filters.iter().position(original_src) else {
        return;
    };
    let is_http = |filter| matches!(filter, &NetworkFilter::HttpConnectionManager(_));
    if chains.flat_map(|chain| &chain.filters).any(is_http) {
        at.field("listener_filters")
            .index(index)
            .unsupported("original_src before an HTTP connection manager");
    }
}
