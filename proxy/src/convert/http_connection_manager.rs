//! The HTTP connection manager and its HTTP filters.

use std::{sync::Arc, time::Duration};

use weir_api::xds::envoy::extensions::filters::network::http_connection_manager::v3::{
    self as pb,
    http_connection_manager::{
        CodecType as PbCodecType, RouteSpecifier, ServerHeaderTransformation, UpgradeConfig,
    },
};

use super::{
    access_log::access_logs,
    at::{At, take},
    http_filter::http_filters,
    http_options,
    route::inline_route_configuration,
    value::{ads, duration, enumeration, header_value, non_empty, number, timeout},
};
use crate::config::access_log::AccessLogOptions;
use crate::config::http::{
    CertDetail, ClientCertDetails, CodecType, EscapedSlashes, ForwardClientCert,
    HttpConnectionManager, PathOptions, RouteSource, ServerHeader,
};

/// Envoy's default of `stream_idle_timeout`.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Envoy's default of `drain_timeout`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy's default of `max_headers_count`.
const MAX_HEADERS: u32 = 100;
/// Envoy's default of `max_request_headers_kb`.
const MAX_REQUEST_HEADERS_KB: u32 = 60;
pub(super) fn http_connection_manager(
    at: &At<'_>,
    message: pb::HttpConnectionManager,
) -> Option<HttpConnectionManager> {
    take!(at, message => pb::HttpConnectionManager {
        supported: codec_type, stat_prefix, http_filters, common_http_protocol_options,
            http_protocol_options, http2_protocol_options, server_name,
            server_header_transformation, max_request_headers_kb, stream_idle_timeout,
            request_timeout, request_headers_timeout, access_log,
            flush_access_log_on_new_request, access_log_options,
            use_remote_address, xff_num_trusted_hops, skip_xff_append, via, generate_request_id,
            preserve_external_request_id, always_set_request_id_in_response, upgrade_configs,
            path_with_escaped_slashes_action, route_specifier, drain_timeout, normalize_path,
            merge_slashes, forward_client_cert_details, set_current_client_cert_details;
        fixed: stream_error_on_invalid_http_message = false;
        ignored: proxy_100_continue = "100 (Continue) is always forwarded";
        refused: add_user_agent, tracing, http1_safe_max_connection_duration,
            http3_protocol_options, scheme_header_transformation, stream_flush_timeout,
            drain_timeout_jitter, delayed_close_timeout, access_log_flush_interval,
            original_ip_detection_extensions, early_header_mutation_extensions,
            internal_address_config, forward_client_cert_matcher,
            represent_ipv4_remote_address_as_ipv4_mapped_ipv6, request_id_extension,
            local_reply_config, strip_matching_host_port, path_normalization_options,
            strip_trailing_host_dot, proxy_status_config, typed_header_validation_config,
            append_x_forwarded_port, append_local_overload, add_proxy_protocol_connection_state,
            forward_proto_config, strip_port_mode;
    });
    let common = http_options::common(
        &at.field("common_http_protocol_options"),
        common_http_protocol_options,
    );
    let http1 = http_options::http1(&at.field("http_protocol_options"), http_protocol_options);
    let http2 = http_options::http2(&at.field("http2_protocol_options"), http2_protocol_options);
    let (filters, router) = self::http_filters(&at.field("http_filters"), http_filters);
    let upgrades = upgrades(&at.field("upgrade_configs"), upgrade_configs);
    let access_logs = access_logs(&at.field("access_log"), access_log);
    let at_kb = at.field("max_request_headers_kb");
    let time = |name: &str, value, default| timeout(&at.field(name), value, default);
    let codec = codec_type_of(&at.field("codec_type"), codec_type);
    let server_header = server_header(
        &at.field("server_header_transformation"),
        server_header_transformation,
    );
    let stat_prefix = non_empty(&at.field("stat_prefix"), stat_prefix);
    let routes = routes(at, route_specifier);
    let client_cert = client_cert(
        at,
        forward_client_cert_details,
        set_current_client_cert_details,
    );
    Some(HttpConnectionManager {
        client_cert: client_cert?,
        stat_prefix,
        codec: codec?,
        routes: routes?,
        filters,
        router: router?,
        server_header: server_header?,
        server_name: if server_name.is_empty() {
            "envoy".to_owned()
        } else {
            header_value(&at.field("server_name"), server_name)
        },
        generate_request_id: generate_request_id.is_none_or(|generate| generate.value),
        preserve_external_request_id,
        always_set_request_id_in_response,
        use_remote_address: use_remote_address.is_some_and(|remote| remote.value),
        skip_xff_append,
        xff_num_trusted_hops,
        via: header_value(&at.field("via"), via),
        idle_timeout: common.idle_timeout,
        max_connection_duration: common.max_connection_duration,
        stream_idle_timeout: time(
            "stream_idle_timeout",
            stream_idle_timeout,
            Some(STREAM_IDLE_TIMEOUT),
        ),
        request_timeout: time("request_timeout", request_timeout, None),
        request_headers_timeout: time("request_headers_timeout", request_headers_timeout, None),
        drain_timeout: duration(&at.field("drain_timeout"), drain_timeout).unwrap_or(DRAIN_TIMEOUT),
        max_headers_count: common.max_headers_count.unwrap_or(MAX_HEADERS),
        max_request_headers_bytes: number(&at_kb, max_request_headers_kb, 1..=8192)
            .unwrap_or(MAX_REQUEST_HEADERS_KB)
            .saturating_mul(1024),
        max_requests_per_connection: common.max_requests_per_connection,
        accept_http_10: http1.accept_http_10,
        default_host_for_http_10: http1.default_host_for_http_10,
        path: PathOptions {
            normalize: normalize_path.is_some_and(|normalize| normalize.value),
            merge_slashes,
            escaped_slashes: escaped_slashes(
                &at.field("path_with_escaped_slashes_action"),
                path_with_escaped_slashes_action,
            )?,
        },
        upgrades,
        http2,
        access_logs,
        access_log_options: access_log_options_of(
            &at.field("access_log_options"),
            access_log_options,
            flush_access_log_on_new_request,
        ),
    })
}

fn access_log_options_of(
    at: &At<'_>,
    message: Option<pb::http_connection_manager::HcmAccessLogOptions>,
    on_new_request: bool,
) -> AccessLogOptions {
    let message = message.unwrap_or_default();
    take!(at, message => pb::http_connection_manager::HcmAccessLogOptions {
        supported: flush_access_log_on_new_request;
        refused: access_log_flush_interval, flush_log_on_tunnel_successfully_established;
    });
    AccessLogOptions {
        flush_on_new_request: flush_access_log_on_new_request || on_new_request,
        ..AccessLogOptions::default()
    }
}

fn codec_type_of(at: &At<'_>, value: i32) -> Option<CodecType> {
    match enumeration(at, value)? {
        PbCodecType::Auto => Some(CodecType::Auto),
        PbCodecType::Http1 => Some(CodecType::Http1),
        PbCodecType::Http2 => Some(CodecType::Http2),
        PbCodecType::Http3 => {
            at.unsupported("HTTP3");
            None
        }
    }
}

fn server_header(at: &At<'_>, value: i32) -> Option<ServerHeader> {
    Some(match enumeration(at, value)? {
        ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
        ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
        ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
    })
}

fn routes(at: &At<'_>, specifier: Option<RouteSpecifier>) -> Option<RouteSource> {
    match specifier {
        None => {
            at.field("route_config").error("required, or rds");
            None
        }
        Some(RouteSpecifier::RouteConfig(message)) => {
            let routes = inline_route_configuration(&at.field("route_config"), message);
            Some(RouteSource::Inline(Arc::new(routes)))
        }
        Some(RouteSpecifier::Rds(message)) => {
            let at = at.field("rds");
            take!(at, message => pb::Rds { supported: config_source, route_config_name; });
            let at_source = at.field("config_source");
            ads(&at_source, at_source.required(config_source)?);
            let name = non_empty(&at.field("route_config_name"), route_config_name);
            Some(RouteSource::Rds(name))
        }
        Some(RouteSpecifier::ScopedRoutes(message)) => {
            at.field("scoped_routes")
                .unsupported(format!("{:?}", message.name));
            None
        }
    }
}

fn upgrades(at: &At<'_>, messages: Vec<UpgradeConfig>) -> Vec<String> {
    let mut upgrades: Vec<String> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, message => UpgradeConfig {
            supported: upgrade_type, enabled;
            refused: filters;
        });
        let upgrade = upgrade_type_of(&at.field("upgrade_type"), &upgrade_type);
        if seen.contains(&upgrade) {
            at.field("upgrade_type")
                .error(format!("{upgrade:?} appears more than once"));
        }
        seen.push(upgrade.clone());
        if enabled.is_none_or(|enabled| enabled.value) {
            upgrades.push(upgrade);
        }
    }
    upgrades
}

/// Lower case. `CONNECT`, a method of its own, stands for tunnels to the endpoint of the route; what
/// is said within UDP is not supported.
pub(super) fn upgrade_type_of(at: &At<'_>, upgrade_type: &str) -> String {
    let upgrade = upgrade_type.to_ascii_lowercase();
    if upgrade == "connect-udp" {
        at.unsupported(format!("{upgrade_type:?}"));
    }
    upgrade
}

fn client_cert(
    at: &At<'_>,
    forward: i32,
    details: Option<pb::http_connection_manager::SetCurrentClientCertDetails>,
) -> Option<ClientCertDetails> {
    use pb::http_connection_manager::{
        ForwardClientCertDetails as Pb, SetCurrentClientCertDetails,
    };

    let message = details.unwrap_or_default();
    let at_details = at.field("set_current_client_cert_details");
    take!(at_details, message => SetCurrentClientCertDetails {
        supported: subject, cert, chain, dns, uri;
        refused: issuer, format;
    });
    let wanted = [
        (cert, CertDetail::Cert),
        (chain, CertDetail::Chain),
        (
            subject.is_some_and(|subject| subject.value),
            CertDetail::Subject,
        ),
        (uri, CertDetail::Uri),
        (dns, CertDetail::Dns),
    ];
    let details = wanted.into_iter().filter(|(wanted, _)| *wanted);
    let forward = enumeration(&at.field("forward_client_cert_details"), forward)?;
    Some(ClientCertDetails {
        forward: match forward {
            Pb::Sanitize => ForwardClientCert::Sanitize,
            Pb::ForwardOnly => ForwardClientCert::ForwardOnly,
            Pb::AppendForward => ForwardClientCert::AppendForward,
            Pb::SanitizeSet => ForwardClientCert::SanitizeSet,
            Pb::AlwaysForwardOnly => ForwardClientCert::AlwaysForwardOnly,
        },
        details: details.map(|(_, detail)| detail).collect(),
    })
}

fn escaped_slashes(at: &At<'_>, value: i32) -> Option<EscapedSlashes> {
    use pb::http_connection_manager::PathWithEscapedSlashesAction as Action;

    Some(match enumeration(at, value)? {
        Action::ImplementationSpecificDefault | Action::KeepUnchanged => EscapedSlashes::Keep,
        Action::RejectRequest => EscapedSlashes::Reject,
        Action::UnescapeAndRedirect => EscapedSlashes::Redirect,
        Action::UnescapeAndForward => EscapedSlashes::Forward,
    })
}
