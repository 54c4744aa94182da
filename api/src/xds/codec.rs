//! Bytes and `Any`s to typed messages and back, by functions that are not generic: this crate
//! alone pays for compiling them.
//!
//! `decode_*` and `encode_*` are for the resources that travel over ADS, `unpack_*` and `pack_*`
//! for everything that sits in an `Any`, resources included. Messages with protobuf maps (metadata,
//! `typed_per_filter_config`) do not encode to the same bytes each time, so encoded bytes do not
//! tell whether two messages are equal.

use prost::Message;

use super::{
    DecodeError,
    envoy::{admin, config, extensions},
    google::protobuf::Any,
};

fn decode<M: Message + Default>(bytes: &[u8], type_url: &'static str) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|error| DecodeError {
        type_url,
        reason: error.to_string(),
    })
}

fn unpack<M: Message + Default>(any: &Any, type_url: &'static str) -> Result<M, DecodeError> {
    // Only what follows the last slash names the type; the prefix is free.
    let name = |url: &'static str| url.rsplit('/').next();
    if any.type_url.rsplit('/').next() != name(type_url) {
        return Err(DecodeError {
            type_url,
            reason: format!("expected, but the type is {:?}", any.type_url),
        });
    }
    decode(&any.value, type_url)
}

fn pack<M: Message>(message: &M, type_url: &'static str) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

macro_rules! resources {
    ($($decode:ident $encode:ident $message:ty, $name:literal;)+) => {$(
        #[doc = concat!("Decodes an `", $name, "`.\n\n# Errors\nThe bytes are not one.")]
        pub fn $decode(bytes: &[u8]) -> Result<$message, DecodeError> {
            decode(bytes, concat!("type.googleapis.com/", $name))
        }

        #[doc = concat!("Encodes an `", $name, "`.")]
        #[must_use]
        pub fn $encode(message: &$message) -> Vec<u8> {
            message.encode_to_vec()
        }
    )+};
}

macro_rules! packed {
    ($($unpack:ident $pack:ident $message:ty, $name:literal;)+) => {
        $(
            #[doc = concat!("Takes an `", $name, "` out of an `Any`.\n\n# Errors\n")]
            #[doc = "The `Any` is of another type, or its bytes are not of that type."]
            pub fn $unpack(any: &Any) -> Result<$message, DecodeError> {
                unpack(any, concat!("type.googleapis.com/", $name))
            }

            #[doc = concat!("Puts an `", $name, "` into an `Any`.")]
            #[must_use]
            pub fn $pack(message: &$message) -> Any {
                pack(message, concat!("type.googleapis.com/", $name))
            }
        )+

        #[cfg(test)]
        pub(super) const PACKED: &[&str] = &[$($name),+];
    };
}

resources! {
    decode_listener encode_listener config::listener::v3::Listener,
        "envoy.config.listener.v3.Listener";
    decode_cluster encode_cluster config::cluster::v3::Cluster,
        "envoy.config.cluster.v3.Cluster";
    decode_route_configuration encode_route_configuration config::route::v3::RouteConfiguration,
        "envoy.config.route.v3.RouteConfiguration";
    decode_cluster_load_assignment encode_cluster_load_assignment
        config::endpoint::v3::ClusterLoadAssignment,
        "envoy.config.endpoint.v3.ClusterLoadAssignment";
    decode_filter_chain encode_filter_chain config::listener::v3::FilterChain,
        "envoy.config.listener.v3.FilterChain";
    decode_secret encode_secret extensions::transport_sockets::tls::v3::Secret,
        "envoy.extensions.transport_sockets.tls.v3.Secret";
}

packed! {
    unpack_bootstrap pack_bootstrap config::bootstrap::v3::Bootstrap,
        "envoy.config.bootstrap.v3.Bootstrap";
    unpack_listener pack_listener config::listener::v3::Listener,
        "envoy.config.listener.v3.Listener";
    unpack_cluster pack_cluster config::cluster::v3::Cluster,
        "envoy.config.cluster.v3.Cluster";
    unpack_route_configuration pack_route_configuration config::route::v3::RouteConfiguration,
        "envoy.config.route.v3.RouteConfiguration";
    unpack_cluster_load_assignment pack_cluster_load_assignment
        config::endpoint::v3::ClusterLoadAssignment,
        "envoy.config.endpoint.v3.ClusterLoadAssignment";
    unpack_secret pack_secret extensions::transport_sockets::tls::v3::Secret,
        "envoy.extensions.transport_sockets.tls.v3.Secret";
    unpack_original_dst pack_original_dst
        extensions::filters::listener::original_dst::v3::OriginalDst,
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
    unpack_tls_inspector pack_tls_inspector
        extensions::filters::listener::tls_inspector::v3::TlsInspector,
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    unpack_http_inspector pack_http_inspector
        extensions::filters::listener::http_inspector::v3::HttpInspector,
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
    unpack_proxy_protocol pack_proxy_protocol
        extensions::filters::listener::proxy_protocol::v3::ProxyProtocol,
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
    unpack_http_connection_manager pack_http_connection_manager
        extensions::filters::network::http_connection_manager::v3::HttpConnectionManager,
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    unpack_tcp_proxy pack_tcp_proxy extensions::filters::network::tcp_proxy::v3::TcpProxy,
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    unpack_router pack_router extensions::filters::http::router::v3::Router,
        "envoy.extensions.filters.http.router.v3.Router";
    unpack_upstream_codec pack_upstream_codec
        extensions::filters::http::upstream_codec::v3::UpstreamCodec,
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
    unpack_buffer pack_buffer extensions::filters::http::buffer::v3::Buffer,
        "envoy.extensions.filters.http.buffer.v3.Buffer";
    unpack_buffer_per_route pack_buffer_per_route
        extensions::filters::http::buffer::v3::BufferPerRoute,
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute";
    unpack_cors pack_cors extensions::filters::http::cors::v3::Cors,
        "envoy.extensions.filters.http.cors.v3.Cors";
    unpack_cors_policy pack_cors_policy extensions::filters::http::cors::v3::CorsPolicy,
        "envoy.extensions.filters.http.cors.v3.CorsPolicy";
    unpack_http_fault pack_http_fault extensions::filters::http::fault::v3::HttpFault,
        "envoy.extensions.filters.http.fault.v3.HTTPFault";
    unpack_header_mutation pack_header_mutation
        extensions::filters::http::header_mutation::v3::HeaderMutation,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    unpack_header_mutation_per_route pack_header_mutation_per_route
        extensions::filters::http::header_mutation::v3::HeaderMutationPerRoute,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
    unpack_http_rbac pack_http_rbac extensions::filters::http::rbac::v3::Rbac,
        "envoy.extensions.filters.http.rbac.v3.RBAC";
    unpack_rbac_per_route pack_rbac_per_route extensions::filters::http::rbac::v3::RbacPerRoute,
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
    unpack_filter_config pack_filter_config config::route::v3::FilterConfig,
        "envoy.config.route.v3.FilterConfig";
    unpack_http_protocol_options pack_http_protocol_options
        extensions::upstreams::http::v3::HttpProtocolOptions,
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    unpack_raw_buffer pack_raw_buffer extensions::transport_sockets::raw_buffer::v3::RawBuffer,
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
    unpack_upstream_tls_context pack_upstream_tls_context
        extensions::transport_sockets::tls::v3::UpstreamTlsContext,
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    unpack_downstream_tls_context pack_downstream_tls_context
        extensions::transport_sockets::tls::v3::DownstreamTlsContext,
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    unpack_file_access_log pack_file_access_log extensions::access_loggers::file::v3::FileAccessLog,
        "envoy.extensions.access_loggers.file.v3.FileAccessLog";
    unpack_stdout_access_log pack_stdout_access_log
        extensions::access_loggers::stream::v3::StdoutAccessLog,
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
    unpack_stderr_access_log pack_stderr_access_log
        extensions::access_loggers::stream::v3::StderrAccessLog,
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";
    unpack_round_robin pack_round_robin
        extensions::load_balancing_policies::round_robin::v3::RoundRobin,
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
    unpack_least_request pack_least_request
        extensions::load_balancing_policies::least_request::v3::LeastRequest,
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
    unpack_random pack_random extensions::load_balancing_policies::random::v3::Random,
        "envoy.extensions.load_balancing_policies.random.v3.Random";
    unpack_cluster_provided pack_cluster_provided
        extensions::load_balancing_policies::cluster_provided::v3::ClusterProvided,
        "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided";
    unpack_dns_cluster pack_dns_cluster extensions::clusters::dns::v3::DnsCluster,
        "envoy.extensions.clusters.dns.v3.DnsCluster";
    unpack_preserve_case_formatter_config pack_preserve_case_formatter_config
        extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig,
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
    unpack_uuid_request_id_config pack_uuid_request_id_config
        extensions::request_id::uuid::v3::UuidRequestIdConfig,
        "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";
    unpack_config_dump pack_config_dump admin::v3::ConfigDump,
        "envoy.admin.v3.ConfigDump";
    unpack_bootstrap_config_dump pack_bootstrap_config_dump admin::v3::BootstrapConfigDump,
        "envoy.admin.v3.BootstrapConfigDump";
    unpack_listeners_config_dump pack_listeners_config_dump admin::v3::ListenersConfigDump,
        "envoy.admin.v3.ListenersConfigDump";
    unpack_clusters_config_dump pack_clusters_config_dump admin::v3::ClustersConfigDump,
        "envoy.admin.v3.ClustersConfigDump";
    unpack_routes_config_dump pack_routes_config_dump admin::v3::RoutesConfigDump,
        "envoy.admin.v3.RoutesConfigDump";
    unpack_endpoints_config_dump pack_endpoints_config_dump admin::v3::EndpointsConfigDump,
        "envoy.admin.v3.EndpointsConfigDump";
}
