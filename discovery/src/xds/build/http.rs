//! The HTTP connection manager of an outbound listener: as transparent as its settings allow.

use std::time::Duration;

use weir_api::{
    sidecar,
    xds::{
        codec,
        envoy::{
            config::{
                core::v3::{
                    Http1ProtocolOptions, HttpProtocolOptions, TypedExtensionConfig,
                    http1_protocol_options::{HeaderKeyFormat, header_key_format::HeaderFormat},
                },
                listener::v3::Filter,
            },
            extensions::{
                filters::{
                    http::router::v3::Router,
                    network::http_connection_manager::v3::{
                        HttpConnectionManager, HttpFilter, Rds,
                        http_connection_manager::{
                            CodecType, RouteSpecifier, ServerHeaderTransformation, UpgradeConfig,
                        },
                        http_filter,
                    },
                },
                http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig,
            },
        },
    },
};

use super::{
    access_log::access_log,
    ads, boolean, duration,
    listener::{Outbound, network_filter},
    route,
    routing::{cors_filter, fault_filter},
    wrapped,
};

/// Most headers of a message. Envoy's 100 is less than applications send each other.
const MAX_HEADERS: u32 = 1000;

/// Where the routes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::xds) enum Routes {
    /// A RouteConfiguration of the cluster's name: routes of a service change apart from it.
    Named,
    /// Within the listener: a single endpoint is never routed elsewhere.
    Inline,
}

/// What routes may say of filters. Of what none says anything, no request pays for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::xds) struct Heeded {
    /// Of other origins.
    pub(in crate::xds) cors: bool,
    /// Of what is made to go wrong.
    pub(in crate::xds) fault: bool,
}

impl std::ops::BitOrAssign for Heeded {
    fn bitor_assign(&mut self, other: Self) {
        self.cors |= other.cors;
        self.fault |= other.fault;
    }
}

pub(super) fn connection_manager(outbound: &Outbound<'_>) -> Filter {
    let routes = match outbound.routes {
        Routes::Named => RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: outbound.cluster.to_owned(),
        }),
        Routes::Inline => {
            let routes = route::to_cluster(outbound.cluster, outbound.affinity);
            RouteSpecifier::RouteConfig(routes)
        }
    };
    let manager = HttpConnectionManager {
        codec_type: CodecType::Auto.into(),
        stat_prefix: outbound.cluster.to_owned(),
        route_specifier: Some(routes),
        http_filters: {
            // In Istio's order.
            let fault = outbound.heeded.fault.then(fault_filter);
            let cors = outbound.heeded.cors.then(cors_filter);
            fault.into_iter().chain(cors).chain([router()]).collect()
        },
        common_http_protocol_options: Some(HttpProtocolOptions {
            max_headers_count: Some(wrapped(MAX_HEADERS)),
            ..HttpProtocolOptions::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: true,
            default_host_for_http_10: outbound.host.to_owned(),
            ..http1()
        }),
        max_request_headers_kb: Some(wrapped(sidecar::MAX_REQUEST_HEADERS_KB)),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        stream_idle_timeout: Some(duration(Duration::ZERO)),
        generate_request_id: Some(boolean(false)),
        upgrade_configs: upgrades(),
        access_log: access_log(outbound.log),
        ..HttpConnectionManager::default()
    };
    network_filter(
        "envoy.filters.network.http_connection_manager",
        codec::pack_http_connection_manager(&manager),
    )
}

/// What a client may ask its connection to become: one of WebSocket's, or a tunnel, which clients of a
/// forward proxy need.
pub(super) fn upgrades() -> Vec<UpgradeConfig> {
    let upgrade = |upgrade_type: &str| UpgradeConfig {
        upgrade_type: upgrade_type.to_owned(),
        ..UpgradeConfig::default()
    };
    vec![upgrade("websocket"), upgrade("CONNECT")]
}

/// HTTP/1 as it came: the case of header names is kept, and so are trailers.
pub(super) fn http1() -> Http1ProtocolOptions {
    let preserve_case =
        codec::pack_preserve_case_formatter_config(&PreserveCaseFormatterConfig::default());
    let formatter = TypedExtensionConfig {
        name: "envoy.http.stateful_header_formatters.preserve_case".to_owned(),
        typed_config: Some(preserve_case),
    };
    Http1ProtocolOptions {
        header_key_format: Some(HeaderKeyFormat {
            header_format: Some(HeaderFormat::StatefulFormatter(formatter)),
        }),
        enable_trailers: true,
        ..Http1ProtocolOptions::default()
    }
}

pub(super) fn router() -> HttpFilter {
    let config = codec::pack_router(&Router {
        suppress_envoy_headers: true,
        ..Router::default()
    });
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}
