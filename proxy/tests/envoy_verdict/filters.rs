//! HTTP filters, what routes say of them, and runtime layers, and what Envoy says.

use super::{
    Verdict::{Refused, Taken, Unsupported},
    cases::Case,
};

/// What each table replaces, and by what.
macro_rules! filters {
    (@case filters $type:literal $body:literal) => {
        (
            "          - name: envoy.filters.http.router",
            concat!(
                "          - { name: a, typed_config: { \"@type\": type.googleapis.com/",
                "envoy.extensions.filters.http.", $type, ", ", $body,
                " } }\n          - name: envoy.filters.http.router"
            ),
        )
    };
    (@case routes $type:literal $body:literal) => {
        (
            "- match: { path: /health }",
            concat!(
                "- typed_per_filter_config: { a: { \"@type\": type.googleapis.com/", $type, ", ",
                $body, " } }\n                match: { path: /health }"
            ),
        )
    };
    (@case upstream $type:literal $body:literal) => {
        (
            "filters.http.router.v3.Router",
            concat!(
                "filters.http.router.v3.Router\n              upstream_http_filters: [", $body, "]"
            ),
        )
    };
    (@case runtime $type:literal $body:literal) => {
        (
            "static_resources:",
            concat!("layered_runtime: { layers: [", $body, "] }\nstatic_resources:"),
        )
    };
    ($($kind:ident $type:literal { $($body:literal $verdict:ident $says:literal;)+ })+) => {
        &[$($({
            let (sound, spoilt) = filters!(@case $kind $type $body);
            Case {
                example: "direct-response.yaml",
                sound,
                spoilt,
                verdict: $verdict,
                says: $says,
            }
        },)+)+]
    };
}

#[rustfmt::skip]
pub(crate) const FILTERS: &[Case] = filters! {
    filters "buffer.v3.Buffer" {
        "max_request_bytes: 1" Taken "";
        "max_request_bytes: 0" Refused "http_filters[0].typed_config.max_request_bytes: 0";
        "" Refused "max_request_bytes: required";
    }
    filters "fault.v3.HTTPFault" {
        "" Taken "";
        "delay: {}" Refused "delay.fixed_delay: required";
        "delay: { fixed_delay: 0s }" Refused "fixed_delay: 0s";
        "delay: { fixed_delay: 1s }" Taken "";
        "delay: { header_delay: {}, percentage: { numerator: 1 } }" Taken "";
        "delay: { fixed_delay: 1s, percentage: { numerator: 101 } }" Taken "";
        "delay: { fixed_delay: 1s, percentage: { numerator: 1, denominator: MILLION } }" Taken "";
        "abort: {}" Refused "abort.http_status: required";
        "abort: { http_status: 199 }" Refused "abort.http_status: 199";
        "abort: { http_status: 600 }" Refused "abort.http_status: 600";
        "abort: { http_status: 599, response_body: x }" Taken "";
        "abort: { grpc_status: 99 }" Taken "";
        "abort: { header_abort: {} }" Taken "";
        "response_rate_limit: {}" Refused "fixed_limit: required";
        "response_rate_limit: { fixed_limit: { limit_kbps: 0 } }" Refused "limit_kbps: 0";
        "response_rate_limit: { fixed_limit: { limit_kbps: 1 }, percentage: { numerator: 100 } }" Taken "";
        "response_rate_limit: { header_limit: {} }" Taken "";
        "upstream_cluster: x, headers: [{ name: a }], downstream_nodes: [b], max_active_faults: 0, delay_percent_runtime: a, abort_percent_runtime: a, delay_duration_runtime: a, abort_http_status_runtime: a, max_active_faults_runtime: a, response_rate_limit_percent_runtime: a, abort_grpc_status_runtime: a, disable_downstream_cluster_stats: true, filter_metadata: { a: 1 }" Taken "";
    }
    filters "header_mutation.v3.HeaderMutation" {
        "" Taken "";
        "mutations: {  }" Taken "";
        "mutations: { request_mutations: [{}] }" Refused "request_mutations[0]: required";
        "mutations: { request_mutations: [{ remove: host }] }" Unsupported "remove: not supported: \"host\"";
        "mutations: { request_mutations: [{ remove: \"\" }] }" Taken "";
        "mutations: { request_mutations: [{ remove: \":path\" }] }" Unsupported "remove: not supported";
        "mutations: { request_mutations: [{ append: {} }] }" Refused "append.header: required";
        "mutations: { request_mutations: [{ append: { header: { value: a } } }] }" Refused "header.key: must not be empty";
        "mutations: { request_mutations: [{ append: { header: { key: \":path\", value: a } } }] }" Refused "pseudo headers";
        "mutations: { response_mutations: [{ append: { header: { key: \":status\", value: \"200\" } } }] }" Refused "pseudo headers";
        "mutations: { request_mutations: [{ append: { header: { key: content-length, value: \"1\" } } }] }" Unsupported "written for each hop";
        "mutations: { request_mutations: [{ append: { header: { key: a, value: \"%NO%\" } } }] }" Refused "%NO%";
        "mutations: { request_mutations: [{ append: { header: { key: a, value: b }, append: true, append_action: ADD_IF_ABSENT } }] }" Refused "append_action";
        "mutations: { request_mutations: [{ remove_on_match: { key_matcher: { prefix: a } } }] }" Taken "";
        "mutations: { request_mutations: [{ remove_on_match: {} }] }" Refused "key_matcher: required";
        "mutations: { request_trailers_mutations: [{ remove: a }], response_trailers_mutations: [{ append: { header: { key: a, value: b } } }] }" Taken "";
        "mutations: { query_parameter_mutations: [{  }] }" Refused "append or remove";
        "mutations: { query_parameter_mutations: [{ remove: a, append: { record: { key: a, value: b } } }] }" Refused "together";
        "mutations: { query_parameter_mutations: [{ append: {} }] }" Refused "record: required";
        "mutations: { query_parameter_mutations: [{ append: { record: { key: a, value: 1 } } }] }" Refused "must be a string";
        "mutations: { query_parameter_mutations: [{ append: { record: { value: \"1\" } } }] }" Refused "key: must not be empty";
        "mutations: { query_parameter_mutations: [{ append: { record: { key: a, value: b }, entry: { key: a } } }] }" Taken "";
        "mutations: { query_parameter_mutations: [{ append: { record: { key: a, value: b }, action: ADD_IF_ABSENT } }] }" Taken "";
        "mutations: { query_parameter_mutations: [{ append: { record: { key: a, value: \"\" } } }] }" Taken "";
        "mutations: { query_parameter_mutations: [{ append: { record: { key: a } } }] }" Refused "must be a string";
        "mutations: { query_parameter_mutations: [{ append: { record: { key: a, value: \"%NO%\" } } }] }" Refused "%NO%";
    }
    filters "rbac.v3.RBAC" {
        "" Taken "";
        "rules: {}" Taken "";
        "rules: { policies: { p: { permissions: [], principals: [{ any: true }] } } }" Refused "rules.policies[\"p\"].permissions: must not be empty";
        "rules: { policies: { p: { permissions: [{ any: true }] } } }" Refused "principals: must not be empty";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: false }], principals: [{ any: true }] } } }" Refused "any: must be true";
        "rules: { policies: { p: { permissions: [{  }], principals: [{ any: true }] } } }" Refused "permissions[0]: required";
        "rules: { policies: { p: { permissions: [{ and_rules: { rules: [] } }], principals: [{ any: true }] } } }" Refused "and_rules.rules: must not be empty";
        "rules: { policies: { p: { permissions: [{ or_rules: { rules: [{ any: true }] } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ header: { name: a, string_match: { exact: b } } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ header: {} }], principals: [{ any: true }] } } }" Refused "header.name";
        "rules: { policies: { p: { permissions: [{ url_path: { path: { exact: a } } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ url_path: {} }], principals: [{ any: true }] } } }" Refused "url_path.path: required";
        "rules: { policies: { p: { permissions: [{ destination_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ destination_ip: { address_prefix: x } }], principals: [{ any: true }] } } }" Refused "not an IP address";
        "rules: { policies: { p: { permissions: [{ destination_port: 80 }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ destination_port: 65536 }], principals: [{ any: true }] } } }" Refused "destination_port: 65536";
        "rules: { policies: { p: { permissions: [{ destination_port_range: { start: 1, end: 5 } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ destination_port_range: { start: 5, end: 5 } }], principals: [{ any: true }] } } }" Refused "must not be empty";
        "rules: { policies: { p: { permissions: [{ destination_port_range: { start: -1, end: 5 } }], principals: [{ any: true }] } } }" Refused "start: -1";
        "rules: { policies: { p: { permissions: [{ destination_port_range: { start: 1, end: 65536 } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ destination_port_range: { start: 1, end: 65537 } }], principals: [{ any: true }] } } }" Refused "end: 65537";
        "rules: { policies: { p: { permissions: [{ metadata: { filter: a, path: [{ key: b }], value: { string_match: { exact: c } } } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ metadata: { filter: a, value: { null_match: {} } } }], principals: [{ any: true }] } } }" Refused "path: must not be empty";
        "rules: { policies: { p: { permissions: [{ metadata: { filter: a, path: [{ key: b }] } }], principals: [{ any: true }] } } }" Refused "value: required";
        "rules: { policies: { p: { permissions: [{ metadata: { filter: a, path: [{ key: b }], value: {} } }], principals: [{ any: true }] } } }" Refused "value: required";
        "rules: { policies: { p: { permissions: [{ metadata: { path: [{ key: b }], value: { null_match: {} } } }], principals: [{ any: true }] } } }" Refused "filter: must not be empty";
        "rules: { policies: { p: { permissions: [{ metadata: { filter: a, path: [{ key: b }], value: { or_match: { value_matchers: [{ null_match: {} }] } } } }], principals: [{ any: true }] } } }" Refused "at least 2";
        "rules: { policies: { p: { permissions: [{ metadata: { filter: a, path: [{ key: b }], value: { list_match: { one_of: { bool_match: true } } } } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ sourced_metadata: { metadata_matcher: { filter: a, path: [{ key: b }], value: { double_match: { range: { start: 1, end: 2 } } } }, metadata_source: ROUTE } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ not_rule: { any: true } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ not_rule: {} }], principals: [{ any: true }] } } }" Refused "not_rule: required";
        "rules: { policies: { p: { permissions: [{ requested_server_name: { exact: a } }], principals: [{ any: true }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ source_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ remote_ip: { address_prefix: 10.0.0.0, prefix_len: 8 } }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ direct_remote_ip: { address_prefix: \"::1\", prefix_len: 128 } }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ filter_state: { key: a, string_match: { exact: b } } }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ filter_state: { key: a } }] } } }" Refused "string_match: required";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ authenticated: {} }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ authenticated: { principal_name: { exact: a } } }] } } }" Taken "";
        "rules: { policies: { p: { permissions: [{ any: true }], principals: [{ not_id: { or_ids: { ids: [{ any: true }] } } }] } } }" Taken "";
        "rules: { audit_logging_options: { audit_condition: ON_DENY } }" Unsupported "audit_logging_options";
        "rules: { action: LOG }" Taken "";
        "rules: { action: 7 }" Refused "action";
        "shadow_rules: { action: DENY }, shadow_rules_stat_prefix: a, rules_stat_prefix: b, track_per_rule_stats: true" Taken "";
    }
    filters "cors.v3.Cors" {
        "" Taken "";
    }
    filters "grpc_web.v3.GrpcWeb" {
        "" Unsupported "HTTP filter envoy.extensions.filters.http.grpc_web.v3.GrpcWeb";
    }
    routes "envoy.extensions.filters.http.buffer.v3.BufferPerRoute" {
        "disabled: true" Taken "";
        "disabled: false" Refused "disabled: must be true";
        "" Refused "disabled: required";
        "buffer: {}" Refused "max_request_bytes: required";
    }
    routes "envoy.extensions.filters.http.buffer.v3.Buffer" {
        "max_request_bytes: 1" Refused "as configuration of a filter for a route";
    }
    routes "envoy.extensions.filters.http.router.v3.Router" {
        "" Refused "routes[0].typed_per_filter_config[\"a\"]";
    }
    routes "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" {
        "" Refused "typed_per_filter_config[\"a\"]";
    }
    routes "envoy.extensions.filters.http.fault.v3.HTTPFault" {
        "abort: { http_status: 500 }" Taken "";
    }
    routes "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" {
        "mutations: { request_mutations: [{ remove: a }] }" Taken "";
        "" Taken "";
    }
    routes "envoy.extensions.filters.http.rbac.v3.RBACPerRoute" {
        "rbac: { rules: {} }" Taken "";
        "" Taken "";
    }
    routes "envoy.extensions.filters.http.rbac.v3.RBAC" {
        "rules: {}" Refused "as configuration of a filter for a route";
    }
    routes "envoy.extensions.filters.http.cors.v3.CorsPolicy" {
        "allow_origin_string_match: [{ prefix: a }], allow_methods: a, allow_headers: a, expose_headers: a, max_age: \"1\", allow_credentials: true, filter_enabled: { default_value: { numerator: 1 }, runtime_key: k }, shadow_enabled: { default_value: {} }, allow_private_network_access: true, forward_not_matching_preflights: false" Taken "";
        "filter_enabled: {}" Refused "filter_enabled.default_value: required";
    }
    routes "envoy.config.route.v3.FilterConfig" {
        "disabled: true" Taken "";
        "disabled: true, config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }" Taken "";
        "" Refused "config: required";
        "config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }" Refused "config";
        "is_optional: true, config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }" Taken "";
        "is_optional: true, config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }" Taken "";
    }
    upstream "" {
        "" Taken "";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Taken "";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Taken "";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation } }" Refused "that is the upstream codec";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1 } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Unsupported "not supported: HTTP filter";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Refused "not supported: HTTP filter";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Unsupported "not supported: HTTP filter";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Refused "not supported: HTTP filter";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation } }" Refused "must be the last HTTP filter";
        "{ name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Refused "not supported: HTTP filter";
        "{ name: h, disabled: true, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation } }, { name: h, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }" Taken "";
    }
    runtime "" {
        "{ name: a, static_layer: { a: 1, b: x, c: true, d: { numerator: 5 }, e: { f: { g: 1 } } } }" Taken "";
        "{ name: a, static_layer: { a: null } }" Refused "static_layer[\"a\"]";
        "{ name: a, static_layer: { a: [1] } }" Refused "static_layer[\"a\"]";
        "{ name: \"\", admin_layer: {} }" Refused "layers[0].name: must not be empty";
        "{ name: a }" Refused "static_layer: required";
        "{ name: a, admin_layer: {} }, { name: b, admin_layer: {} }" Refused "only one layer";
        "{ name: a, admin_layer: {} }, { name: a, static_layer: {} }" Refused "more than once";
        "{ name: a, disk_layer: { symlink_root: /nowhere } }" Unsupported "disk_layer: not supported: \"/nowhere\"";
    }
};
