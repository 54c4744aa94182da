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
    envoy::{config, extensions, service},
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

fn pack_parts<M: Message>(parts: &[M], type_url: &'static str) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: parts.iter().flat_map(Message::encode_to_vec).collect(),
    }
}

fn copy<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("it was encoded here")
}

/// One function of a message, of one of the six kinds.
macro_rules! function {
    (decode $function:ident $message:ty, $name:literal) => {
        #[doc = concat!("Decodes an `", $name, "`.\n\n# Errors\nThe bytes are not one.")]
        pub fn $function(bytes: &[u8]) -> Result<$message, DecodeError> {
            decode(bytes, concat!("type.googleapis.com/", $name))
        }
    };
    (encode $function:ident $message:ty, $name:literal) => {
        #[doc = concat!("Encodes an `", $name, "`.")]
        #[must_use]
        pub fn $function(message: &$message) -> Vec<u8> {
            message.encode_to_vec()
        }
    };
    (unpack $function:ident $message:ty, $name:literal) => {
        #[doc = concat!("Takes an `", $name, "` out of an `Any`.\n\n# Errors\n")]
        #[doc = "The `Any` is of another type, or its bytes are not of that type."]
        pub fn $function(any: &Any) -> Result<$message, DecodeError> {
            unpack(any, concat!("type.googleapis.com/", $name))
        }
    };
    (pack $function:ident $message:ty, $name:literal) => {
        #[doc = concat!("Puts an `", $name, "` into an `Any`.")]
        #[must_use]
        pub fn $function(message: &$message) -> Any {
            pack(message, concat!("type.googleapis.com/", $name))
        }
    };
    (pack_parts $function:ident $message:ty, $name:literal) => {
        #[doc = concat!("Puts one `", $name, "` of several parts into an `Any`: who reads it merges")]
        #[doc = "them, as of every message. Entries of maps that come in parts of their own have"]
        #[doc = "the order of the parts."]
        #[doc = "<https://protobuf.dev/programming-guides/encoding/#last-one-wins>"]
        #[must_use]
        pub fn $function(parts: &[$message]) -> Any {
            pack_parts(parts, concat!("type.googleapis.com/", $name))
        }
    };
    (copy $function:ident $message:ty, $name:literal) => {
        #[doc = concat!("Copies an `", $name, "` by way of its bytes. What reads and writes them is")]
        #[doc = "there anyway; `Clone`, of all messages within, makes a program 0.1 MiB larger."]
        #[must_use]
        pub fn $function(message: &$message) -> $message {
            copy(message)
        }
    };
}

/// Of each message the functions that somebody needs, and no more: each is compiled for its type.
macro_rules! messages {
    ($($($kind:ident $function:ident),+: $message:ty, $name:literal;)+) => {
        $($(function!($kind $function $message, $name);)+)+

        #[cfg(test)]
        pub(super) const MESSAGES: &[&str] = &[$($name),+];
    };
}

messages! {
    decode decode_listener, unpack unpack_listener, pack pack_listener,
    copy copy_listener:
        config::listener::v3::Listener, "envoy.config.listener.v3.Listener";
    decode decode_cluster, encode encode_cluster, unpack unpack_cluster, pack pack_cluster:
        config::cluster::v3::Cluster, "envoy.config.cluster.v3.Cluster";
    decode decode_route_configuration, unpack unpack_route_configuration,
    pack pack_route_configuration:
        config::route::v3::RouteConfiguration, "envoy.config.route.v3.RouteConfiguration";
    decode decode_cluster_load_assignment, encode encode_cluster_load_assignment,
    unpack unpack_cluster_load_assignment, pack pack_cluster_load_assignment:
        config::endpoint::v3::ClusterLoadAssignment,
        "envoy.config.endpoint.v3.ClusterLoadAssignment";
    encode encode_filter_chain:
        config::listener::v3::FilterChain, "envoy.config.listener.v3.FilterChain";
    unpack unpack_secret, pack pack_secret:
        extensions::transport_sockets::tls::v3::Secret,
        "envoy.extensions.transport_sockets.tls.v3.Secret";
    unpack unpack_bootstrap, pack pack_bootstrap, copy copy_bootstrap:
        config::bootstrap::v3::Bootstrap, "envoy.config.bootstrap.v3.Bootstrap";
    unpack unpack_original_dst, pack pack_original_dst:
        extensions::filters::listener::original_dst::v3::OriginalDst,
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
    unpack unpack_tls_inspector, pack pack_tls_inspector:
        extensions::filters::listener::tls_inspector::v3::TlsInspector,
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
    unpack unpack_http_inspector, pack pack_http_inspector:
        extensions::filters::listener::http_inspector::v3::HttpInspector,
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
    unpack unpack_fixed_heap:
        extensions::resource_monitors::fixed_heap::v3::FixedHeapConfig,
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig";
    unpack unpack_cgroup_memory:
        extensions::resource_monitors::cgroup_memory::v3::CgroupMemoryConfig,
        "envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig";
    unpack unpack_jwt_authentication, pack_parts pack_jwt_authentication:
        extensions::filters::http::jwt_authn::v3::JwtAuthentication,
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
    unpack unpack_jwt_authn_per_route:
        extensions::filters::http::jwt_authn::v3::PerRouteConfig,
        "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig";
    unpack unpack_downstream_connections:
        extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig,
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";
    unpack unpack_proxy_protocol:
        extensions::filters::listener::proxy_protocol::v3::ProxyProtocol,
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";
    unpack unpack_listener_local_rate_limit:
        extensions::filters::listener::local_ratelimit::v3::LocalRateLimit,
        "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit";
    unpack unpack_original_src:
        extensions::filters::listener::original_src::v3::OriginalSrc,
        "envoy.extensions.filters.listener.original_src.v3.OriginalSrc";
    unpack unpack_http_connection_manager, pack pack_http_connection_manager:
        extensions::filters::network::http_connection_manager::v3::HttpConnectionManager,
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    unpack unpack_tcp_proxy, pack pack_tcp_proxy:
        extensions::filters::network::tcp_proxy::v3::TcpProxy,
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    unpack unpack_echo:
        extensions::filters::network::echo::v3::Echo,
        "envoy.extensions.filters.network.echo.v3.Echo";
    unpack unpack_direct_response:
        extensions::filters::network::direct_response::v3::Config,
        "envoy.extensions.filters.network.direct_response.v3.Config";
    unpack unpack_connection_limit:
        extensions::filters::network::connection_limit::v3::ConnectionLimit,
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit";
    unpack unpack_network_local_rate_limit:
        extensions::filters::network::local_ratelimit::v3::LocalRateLimit,
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit";
    unpack unpack_sni_cluster:
        extensions::filters::network::sni_cluster::v3::SniCluster,
        "envoy.extensions.filters.network.sni_cluster.v3.SniCluster";
    unpack unpack_network_rbac, pack_parts pack_network_rbac:
        extensions::filters::network::rbac::v3::Rbac,
        "envoy.extensions.filters.network.rbac.v3.RBAC";
    unpack unpack_router, pack pack_router:
        extensions::filters::http::router::v3::Router,
        "envoy.extensions.filters.http.router.v3.Router";
    unpack unpack_upstream_codec:
        extensions::filters::http::upstream_codec::v3::UpstreamCodec,
        "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec";
    unpack unpack_buffer:
        extensions::filters::http::buffer::v3::Buffer,
        "envoy.extensions.filters.http.buffer.v3.Buffer";
    unpack unpack_buffer_per_route:
        extensions::filters::http::buffer::v3::BufferPerRoute,
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute";
    unpack unpack_cors, pack pack_cors:
        extensions::filters::http::cors::v3::Cors, "envoy.extensions.filters.http.cors.v3.Cors";
    unpack unpack_stateful_session, pack pack_stateful_session:
        extensions::filters::http::stateful_session::v3::StatefulSession,
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSession";
    unpack unpack_stateful_session_per_route, pack pack_stateful_session_per_route:
        extensions::filters::http::stateful_session::v3::StatefulSessionPerRoute,
        "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute";
    unpack unpack_cookie_session, pack pack_cookie_session:
        extensions::http::stateful_session::cookie::v3::CookieBasedSessionState,
        "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState";
    unpack unpack_header_session, pack pack_header_session:
        extensions::http::stateful_session::header::v3::HeaderBasedSessionState,
        "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState";
    unpack unpack_override_host:
        extensions::load_balancing_policies::override_host::v3::OverrideHost,
        "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost";
    unpack unpack_cors_policy, pack pack_cors_policy:
        extensions::filters::http::cors::v3::CorsPolicy,
        "envoy.extensions.filters.http.cors.v3.CorsPolicy";
    unpack unpack_ext_authz, pack pack_ext_authz:
        extensions::filters::http::ext_authz::v3::ExtAuthz,
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
    unpack unpack_ext_authz_per_route:
        extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute,
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute";
    unpack unpack_http_fault, pack pack_http_fault:
        extensions::filters::http::fault::v3::HttpFault,
        "envoy.extensions.filters.http.fault.v3.HTTPFault";
    unpack unpack_header_mutation:
        extensions::filters::http::header_mutation::v3::HeaderMutation,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    unpack unpack_header_mutation_per_route:
        extensions::filters::http::header_mutation::v3::HeaderMutationPerRoute,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
    unpack unpack_http_rbac, pack_parts pack_http_rbac:
        extensions::filters::http::rbac::v3::Rbac, "envoy.extensions.filters.http.rbac.v3.RBAC";
    unpack unpack_rbac_per_route, pack pack_rbac_per_route:
        extensions::filters::http::rbac::v3::RbacPerRoute,
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
    unpack unpack_filter_config:
        config::route::v3::FilterConfig, "envoy.config.route.v3.FilterConfig";
    unpack unpack_http_protocol_options, pack pack_http_protocol_options:
        extensions::upstreams::http::v3::HttpProtocolOptions,
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    unpack unpack_round_robin:
        extensions::load_balancing_policies::round_robin::v3::RoundRobin,
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
    unpack unpack_least_request:
        extensions::load_balancing_policies::least_request::v3::LeastRequest,
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
    unpack unpack_random:
        extensions::load_balancing_policies::random::v3::Random,
        "envoy.extensions.load_balancing_policies.random.v3.Random";
    unpack unpack_ring_hash, pack pack_ring_hash:
        extensions::load_balancing_policies::ring_hash::v3::RingHash,
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash";
    unpack unpack_maglev, pack pack_maglev:
        extensions::load_balancing_policies::maglev::v3::Maglev,
        "envoy.extensions.load_balancing_policies.maglev.v3.Maglev";
    unpack unpack_cluster_provided:
        extensions::load_balancing_policies::cluster_provided::v3::ClusterProvided,
        "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided";
    unpack unpack_subset:
        extensions::load_balancing_policies::subset::v3::Subset,
        "envoy.extensions.load_balancing_policies.subset.v3.Subset";
    unpack unpack_omit_host_metadata:
        extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig,
        "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig";
    unpack unpack_previous_priorities:
        extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig,
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";
    unpack unpack_aggregate_cluster:
        extensions::clusters::aggregate::v3::ClusterConfig,
        "envoy.extensions.clusters.aggregate.v3.ClusterConfig";
    unpack unpack_dns_cluster:
        extensions::clusters::dns::v3::DnsCluster, "envoy.extensions.clusters.dns.v3.DnsCluster";
    unpack unpack_dynamic_forward_proxy_cluster:
        extensions::clusters::dynamic_forward_proxy::v3::ClusterConfig,
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig";
    unpack unpack_dynamic_forward_proxy:
        extensions::filters::http::dynamic_forward_proxy::v3::FilterConfig,
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig";
    unpack unpack_dynamic_forward_proxy_per_route:
        extensions::filters::http::dynamic_forward_proxy::v3::PerRouteConfig,
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig";
    unpack unpack_sni_dynamic_forward_proxy:
        extensions::filters::network::sni_dynamic_forward_proxy::v3::FilterConfig,
        "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig";
    unpack unpack_cares_dns_resolver:
        extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig,
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
    unpack unpack_getaddrinfo_dns_resolver:
        extensions::network::dns_resolver::getaddrinfo::v3::GetAddrInfoDnsResolverConfig,
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig";
    unpack unpack_discovery_response:
        service::discovery::v3::DiscoveryResponse,
        "envoy.service.discovery.v3.DiscoveryResponse";
    unpack unpack_downstream_tls_context, pack pack_downstream_tls_context:
        extensions::transport_sockets::tls::v3::DownstreamTlsContext,
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
    unpack unpack_upstream_tls_context, pack pack_upstream_tls_context:
        extensions::transport_sockets::tls::v3::UpstreamTlsContext,
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
    unpack unpack_upstream_proxy_protocol:
        extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport,
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";
    unpack unpack_raw_buffer, pack pack_raw_buffer:
        extensions::transport_sockets::raw_buffer::v3::RawBuffer,
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
    unpack unpack_health_check_event_file_sink:
        extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink,
        "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink";
    unpack unpack_file_access_log:
        extensions::access_loggers::file::v3::FileAccessLog,
        "envoy.extensions.access_loggers.file.v3.FileAccessLog";
    unpack unpack_stdout_access_log, pack pack_stdout_access_log:
        extensions::access_loggers::stream::v3::StdoutAccessLog,
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
    unpack unpack_stderr_access_log:
        extensions::access_loggers::stream::v3::StderrAccessLog,
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";
    pack pack_preserve_case_formatter_config:
        extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig,
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
}

// What services are asked and answer is never text, and has no descriptors.
function!(encode encode_check_request
    service::auth::v3::CheckRequest, "envoy.service.auth.v3.CheckRequest");
function!(decode decode_check_response
    service::auth::v3::CheckResponse, "envoy.service.auth.v3.CheckResponse");
