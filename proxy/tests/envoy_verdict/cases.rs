//! Files that differ from an example in one place, and what Envoy says of them.

use super::Verdict::{self, Refused, Taken, Unsupported};

/// An example with something replaced.
pub(crate) struct Case {
    /// File in `examples/bootstraps`.
    pub(crate) example: &'static str,
    /// What is replaced, at its first occurrence.
    pub(crate) sound: &'static str,
    /// By what.
    pub(crate) spoilt: &'static str,
    /// What becomes of it.
    pub(crate) verdict: Verdict,
    /// Part of our error; empty if there is none.
    pub(crate) says: &'static str,
}

macro_rules! cases {
    ($($example:literal { $($sound:literal => $spoilt:literal, $verdict:ident $says:literal;)+ })+) => {
        &[$($(Case {
            example: concat!($example, ".yaml"),
            sound: $sound,
            spoilt: $spoilt,
            verdict: $verdict,
            says: $says,
        },)+)+]
    };
}

pub(crate) const CASES: &[Case] = cases! {
    "direct-response" {
        "static_resources:" => "static_resource:", Refused "unrecognized field name 'static_resource'";
        "stat_prefix: answers" => "stat_prefix: \"\"", Refused "Listener \"answers\": filter_chains[0].filters[0].typed_config.stat_prefix: must not be empty";
        "stat_prefix: answers" => "stat_prefix: answers\n          codec_type: HTTP3", Refused "codec_type: not supported: HTTP3";
        "stat_prefix: answers" => "stat_prefix: answers\n          codec_type: HTTP9", Refused "codec_type";
        "stat_prefix: answers" => "stat_prefix: answers\n          max_request_headers_kb: 0", Refused "max_request_headers_kb: 0";
        "stat_prefix: answers" => "stat_prefix: answers\n          max_request_headers_kb: 8192", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          max_request_headers_kb: 8193", Refused "max_request_headers_kb: 8193";
        "stat_prefix: answers" => "stat_prefix: answers\n          stream_idle_timeout: 0s", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          stream_idle_timeout: -1s", Refused "stream_idle_timeout: ";
        "stat_prefix: answers" => "stat_prefix: answers\n          drain_timeout: 1m", Refused "drain_timeout: ";
        "stat_prefix: answers" => "stat_prefix: answers\n          request_headers_timeout: 1.5s", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          server_name: weir", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          server_name: \"a\\nb\"", Refused "server_name";
        "stat_prefix: answers" => "stat_prefix: answers\n          via: weir", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          normalize_path: false", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          normalize_path: true", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          merge_slashes: true", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          drain_timeout: 1s", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          add_user_agent: true", Unsupported "add_user_agent: not supported: true";
        "stat_prefix: answers" => "stat_prefix: answers\n          use_remote_address: true\n          xff_num_trusted_hops: 1", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT", Unsupported "path_with_escaped_slashes_action";
        "stat_prefix: answers" => "stat_prefix: answers\n          common_http_protocol_options: { max_headers_count: 0 }", Refused "max_headers_count: 0";
        "stat_prefix: answers" => "stat_prefix: answers\n          common_http_protocol_options: { idle_timeout: 0s, max_headers_count: 50 }", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }", Unsupported "common_http_protocol_options.headers_with_underscores_action: not supported: 1";
        "stat_prefix: answers" => "stat_prefix: answers\n          common_http_protocol_options: { max_connection_duration: 0s }", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          http_protocol_options: { accept_http_10: true, default_host_for_http_10: a }", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          http_protocol_options: { header_key_format: { proper_case_words: {} } }", Unsupported "proper_case_words";
        "stat_prefix: answers" => "stat_prefix: answers\n          http_protocol_options: { header_key_format: {} }", Refused "header_key_format";
        "stat_prefix: answers" => "stat_prefix: answers\n          http_protocol_options: { header_key_format: { stateful_formatter: { name: preserve_case, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig } } } }", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          http2_protocol_options: { max_concurrent_streams: 0 }", Refused "max_concurrent_streams: 0";
        "stat_prefix: answers" => "stat_prefix: answers\n          http2_protocol_options: { initial_stream_window_size: 65534 }", Refused "initial_stream_window_size: 65534";
        "stat_prefix: answers" => "stat_prefix: answers\n          http2_protocol_options: { initial_connection_window_size: 2147483648 }", Refused "initial_connection_window_size";
        "stat_prefix: answers" => "stat_prefix: answers\n          upgrade_configs: [{ upgrade_type: websocket }, { upgrade_type: WebSocket }]", Refused "more than once";
        "stat_prefix: answers" => "stat_prefix: answers\n          upgrade_configs: [{ upgrade_type: CONNECT }]", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          upgrade_configs: [{ upgrade_type: CONNECT-UDP }]", Unsupported "upgrade_configs[0].upgrade_type: not supported: \"CONNECT-UDP\"";
        "stat_prefix: answers" => "stat_prefix: answers\n          upgrade_configs: [{ enabled: false }]", Taken "";
        "stat_prefix: answers" => "stat_prefix: answers\n          rds: { route_config_name: a, config_source: { ads: {}, resource_api_version: V3 } }", Refused "multiple fields provided for oneof";
        "virtual_hosts:" => "virtual_hosts: []\n            vhosts:", Refused "unrecognized field";
        "name: envoy.filters.network.http_connection_manager" => "name: \"\"", Refused "filters[0].name: must not be empty";
        "          - name: envoy.filters.http.router" => "          - disabled: true\n            name: envoy.filters.http.router", Refused "http_filters[0].disabled";
        "          - name: envoy.filters.http.router" => "          - name: \"\"", Refused "http_filters[0].name";
        "          - name: envoy.filters.http.router" => "          - name: cors\n            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }\n          - name: envoy.filters.http.router", Taken "";
        "          - name: envoy.filters.http.router" => "          - name: a\n            is_optional: true\n            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }\n          - name: envoy.filters.http.router", Taken "";
        "          - name: envoy.filters.http.router" => "          - name: a\n            disabled: true\n            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }\n          - name: envoy.filters.http.router", Taken "";
        "          - name: envoy.filters.http.router" => "          - name: first\n            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }\n          - name: envoy.filters.http.router", Refused "http_filters[0]: must be the last";
        "            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" => "", Refused "http_filters[0].typed_config: required";
        "          http_filters:\n          - name: envoy.filters.http.router\n            typed_config:\n              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" => "", Unsupported "http_filters: not supported";
        "filters.http.router.v3.Router" => "filters.http.router.v3.Routes", Refused "is not a type Weir knows";
        "filters.http.router.v3.Router" => "filters.http.router.v3.Router\n              dynamic_stats: false", Unsupported "dynamic_stats: not supported: false";
        "filters.http.router.v3.Router" => "filters.http.router.v3.Router\n              strict_check_headers: [x-envoy-max-retries]", Unsupported "strict_check_headers";
        "domains: [\"*\"]" => "domains: []", Refused "virtual_hosts[0].domains: must not be empty";
        "domains: [\"*\"]" => "domains: [a, A]", Refused "domain \"a\" appears more than once";
        "domains: [\"*\"]" => "domains: [\"*\", \"*\"]", Refused "domain \"*\" appears more than once";
        "domains: [\"*\"]" => "domains: [\"*.a\", \"*.a\"]", Refused "more than once";
        "domains: [\"*\"]" => "domains: [\"\"]", Taken "";
        "domains: [\"*\"]" => "domains: [\"a*b\"]", Taken "";
        "domains: [\"*\"]" => "domains: [\"a\\nb\"]", Refused "domains[0]";
        "- name: all" => "- name: \"\"", Refused "virtual_hosts[0].name: must not be empty";
        "- name: all" => "- name: twin\n              domains: [a]\n            - name: twin", Taken "";
        "- name: all" => "- require_tls: ALL\n              name: all", Unsupported "require_tls: not supported: 2";
        "{ path: /health }" => "{}", Refused "routes[0].match: prefix";
        "{ path: /health }" => "{ prefix: \"\" }", Taken "";
        "{ path: /health }" => "{ path: health }", Taken "";
        "{ path: /health }" => "{ path_separated_prefix: / }", Refused "path_separated_prefix";
        "{ path: /health }" => "{ path_separated_prefix: /a/ }", Refused "path_separated_prefix";
        "{ path: /health }" => "{ path_separated_prefix: \"/a?b\" }", Refused "path_separated_prefix";
        "{ path: /health }" => "{ path_separated_prefix: a }", Refused "path_separated_prefix";
        "{ path: /health }" => "{ path_separated_prefix: ab }", Taken "";
        "{ path: /health }" => "{ safe_regex: { regex: \"\" } }", Refused "must not be empty";
        "{ path: /health }" => "{ safe_regex: { regex: \"(\" } }", Refused "unclosed group";
        "{ path: /health }" => "{ safe_regex: { regex: \"a(?=b)\" } }", Refused "look-around";
        "{ path: /health }" => "{ safe_regex: { regex: \"/[[:alpha:]]+\\\\d*\" } }", Taken "";
        "{ path: /health }" => "{ safe_regex: { regex: \"/a\", google_re2: {} } }", Taken "";
        "{ path: /health }" => "{ connect_matcher: {} }", Taken "";
        "{ path: /health }" => "{ path: /health, case_sensitive: false }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: \"\" }] }", Refused "headers[0].name";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: \":method\", string_match: { exact: GET } }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, string_match: {} }] }", Refused "string_match: required";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, string_match: { prefix: \"\" } }] }", Refused "prefix: must not be empty";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, string_match: { exact: \"\" } }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, string_match: { safe_regex: { regex: a }, ignore_case: true } }] }", Refused "ignore_case";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, exact_match: b }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, prefix_match: b }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, suffix_match: b }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, contains_match: b }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, safe_regex_match: { regex: b } }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, range_match: { start: 1, end: 5 } }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, range_match: { start: 5, end: 1 } }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: a, present_match: false, invert_match: true }] }", Taken "";
        "{ path: /health }" => "{ path: /health, headers: [{ name: \"a b\" }] }", Taken "";
        "{ path: /health }" => "{ path: /health, query_parameters: [{ name: a, string_match: { prefix: b } }] }", Taken "";
        "{ path: /health }" => "{ path: /health, query_parameters: [{ name: \"\" }] }", Refused "query_parameters[0].name";
        "{ path: /health }" => "{ path: /health, query_parameters: [{ name: a, present_match: false }] }", Unsupported "present_match";
        "{ path: /health }" => "{ path: /health, runtime_fraction: { default_value: { numerator: 25 } } }", Taken "";
        "{ path: /health }" => "{ path: /health, runtime_fraction: { default_value: { numerator: 250 } } }", Taken "";
        "{ path: /health }" => "{ path: /health, runtime_fraction: { runtime_key: a } }", Refused "default_value: required";
        "{ path: /health }" => "{ path: /health, cookies: [{ name: a, string_match: { exact: b } }] }", Unsupported "cookies";
        "{ status: 410 }" => "{ status: 99 }", Refused "status: 99";
        "{ status: 410 }" => "{ status: 199 }", Refused "status: 199";
        "{ status: 410 }" => "{ status: 600 }", Refused "status: 600";
        "{ status: 410 }" => "{ status: 599 }", Taken "";
        "{ status: 410 }" => "{}", Refused "status: 0";
        "{ status: 410 }" => "{ status: 200, body: {} }", Refused "body: required";
        "{ status: 410 }" => "{ status: 200, body: { inline_string: \"\" } }", Taken "";
        "{ status: 410 }" => "{ status: 200, body: { inline_bytes: AAEC } }", Taken "";
        "{ status: 410 }" => "{ status: 200, body: { filename: /etc/hostname } }", Unsupported "body.filename";
        "direct_response: { status: 410 }" => "name: nothing", Refused "is required";
        "direct_response: { status: 410 }" => "non_forwarding_action: {}", Unsupported "non_forwarding_action";
        "{ key: content-language, value: en }" => "{ key: \":path\", value: a }", Refused "may not be changed";
        "{ key: content-language, value: en }" => "{ key: Host, value: a }", Refused "may not be changed";
        "{ key: content-language, value: en }" => "{ key: \"\", value: a }", Refused "header.key: must not be empty";
        "{ key: content-language, value: en }" => "{ key: \"a b\", value: a }", Taken "";
        "{ key: content-language, value: en }" => "{ key: \"a\\nb\", value: a }", Refused "header.key";
        "{ key: content-language, value: en }" => "{ key: a, value: \"\" }", Taken "";
        "{ key: content-language, value: en }" => "{ key: a, value: \"a\\rb\" }", Refused "header.value";
        "{ key: content-language, value: en }" => "{ key: a, value: \"50%\" }", Refused "header.value";
        "{ key: content-language, value: en }" => "{ key: a, value: \"100%%\" }", Taken "";
        "{ key: content-language, value: en }" => "{ key: a, value: \"%REQ(:path)%\" }", Taken "";
        "{ key: content-language, value: en }" => "{ key: a, value: \"%NOBODY_KNOWS%\" }", Refused "NOBODY_KNOWS";
        "{ key: content-language, value: en }" => "{ key: a, value: b }\n                  append: false", Taken "";
        "{ key: content-language, value: en }" => "{ key: a, value: b }\n                  append: true\n                  append_action: ADD_IF_ABSENT", Refused "append";
        "                - header: { key: content-language, value: en }" => "                - append_action: ADD_IF_ABSENT", Refused "header: required";
        "response_headers_to_add:" => "response_headers_to_remove: [\":status\"]\n                response_headers_to_add:", Refused "may not be changed";
        "response_headers_to_add:" => "response_headers_to_remove: [\"\"]\n                response_headers_to_add:", Refused "response_headers_to_remove[0]";
        "response_headers_to_add:" => "response_headers_to_remove: [server]\n                response_headers_to_add:", Taken "";
        "response_headers_to_add:" => "request_headers_to_remove: [host]\n                response_headers_to_add:", Refused "request_headers_to_remove[0]";
        "port_value: 10000" => "port_value: 65536", Refused "address.socket_address.port_value: 65536";
        "port_value: 10000" => "named_port: http", Refused "named_port";
        ", port_value: 10000" => "", Refused "port_specifier: required";
        "address: 127.0.0.1, port" => "address: localhost, port", Refused "\"localhost\": not an IP address";
        "address: 127.0.0.1, port" => "address: \"\", port", Refused "not an IP address";
        "address: 127.0.0.1, port" => "protocol: UDP, address: 127.0.0.1, port", Refused "protocol: not supported: 1";
        "    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }" => "    address: { pipe: { path: /tmp/weir.sock } }", Unsupported "address.pipe: not supported";
        "    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }" => "", Refused "address: required";
        "    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }" => "    address: {}", Refused "address: required";
        "- name: answers" => "- name: \"\"", Taken "";
        "- name: answers" => "- enable_reuse_port: false\n    name: answers", Taken "";
        "- name: answers" => "- reuse_port: true\n    name: answers", Unsupported "reuse_port: not supported: true";
        "- name: answers" => "- freebind: true\n    name: answers", Unsupported "freebind: not supported: true (only false is)";
        "- name: answers" => "- transparent: false\n    name: answers", Taken "";
        "- name: answers" => "- per_connection_buffer_limit_bytes: 32768\n    tcp_backlog_size: 10\n    name: answers", Taken "";
        "- name: answers" => "- listener_filters_timeout: -1s\n    name: answers", Refused "listener_filters_timeout";
        "- name: answers" => "- metadata: { filter_metadata: { a: { b: c } } }\n    name: answers", Taken "";
        "- name: answers" => "- bind_to_port: false\n    name: answers", Taken "";
        "static_resources:" => "layered_runtime: { layers: [{ name: admin, admin_layer: {} }] }\nstatic_resources:", Taken "";
        "static_resources:" => "admin: {}\nstatic_resources:", Taken "";
        "static_resources:" => "admin: { address: {} }\nstatic_resources:", Refused "admin.address";
        "static_resources:" => "stats_flush_interval: 5s\nstatic_resources:", Taken "";
        "static_resources:" => "overload_manager: {}\nstatic_resources:", Refused "overload_manager";
        "direct_response: { status: 410 }" => "route: { cluster: nobody }", Refused "unknown cluster \"nobody\"";
        "direct_response: { status: 410 }" => "route: { cluster: \"\" }", Refused "route.cluster: must not be empty";
        "direct_response: { status: 410 }" => "route: {}", Refused "is required";
        "direct_response: { status: 410 }" => "route: { cluster_header: x-cluster }", Taken "";
        "direct_response: { status: 410 }" => "route: { cluster_header: \"\" }", Refused "cluster_header";
    }
    "virtual-hosts" {
        "domains: [\"*\"]" => "domains: [SHOP.example]", Refused "more than once";
        "name: fallback" => "name: shop", Taken "";
        "weight: 10\n" => "weight: 0\n", Taken "";
        "weight: 90\n" => "weight: 4294967290\n", Refused "sum of weights";
        "                      weight: 90\n" => "", Refused "clusters[0].weight: required";
        "clusters:\n                    - name: shop-v1\n" => "clusters:\n                    - name: \"\"\n", Refused "name";
        "clusters:\n                    - name: shop-v1\n" => "clusters:\n                    - name: nobody\n", Refused "unknown cluster \"nobody\"";
        "clusters:\n                    - name: shop-v1\n" => "clusters:\n                    - cluster_header: a\n", Unsupported "cluster_header: not supported";
        "                  weighted_clusters:\n" => "                  metadata_match: { filter_metadata: { envoy.lb: { a: b } } }\n                  weighted_clusters:\n", Unsupported "metadata_match";
        "num_retries: 2" => "num_retries: 0", Taken "";
        "num_retries: 2" => "retry_back_off: {}", Refused "base_interval: required";
        "num_retries: 2" => "retry_back_off: { base_interval: 0s }", Refused "base_interval: 0s";
        "num_retries: 2" => "retry_back_off: { base_interval: 1s, max_interval: 0.5s }", Refused "max_interval: must be at least";
        "num_retries: 2" => "retry_back_off: { base_interval: 0.1s }", Taken "";
        "num_retries: 2" => "retriable_status_codes: [503]", Taken "";
        "num_retries: 2" => "per_try_idle_timeout: 1s", Unsupported "per_try_idle_timeout";
        "num_retries: 2" => "retry_host_predicate: [{ name: a, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate } }]", Unsupported "retry_host_predicate";
        "connect-failure,refused-stream" => "connect-failure, reset ,,reset-before-request", Taken "";
        "connect-failure,refused-stream" => "connect-failure,5xx", Taken "";
        "num_retries: 2" => "per_try_timeout: 1s", Taken "";
        "connect-failure,refused-stream" => "retriable-headers", Unsupported "retry_on: not supported: \"retriable-headers\"";
        "connect-failure,refused-stream" => "no-such-condition", Unsupported "retry_on: not supported: \"no-such-condition\"";
        "timeout: 3s" => "timeout: 0s", Taken "";
        "timeout: 3s" => "timeout: -3s", Refused "timeout";
        "timeout: 3s" => "priority: HIGH", Unsupported "priority: not supported: 1";
        "timeout: 3s" => "regex_rewrite: { pattern: { regex: a }, substitution: b }", Refused "regex_rewrite";
        "timeout: 3s" => "host_rewrite_literal: a", Taken "";
        "timeout: 3s" => "host_rewrite_literal: \"a\\nb\"", Refused "host_rewrite_literal";
        "timeout: 3s" => "auto_host_rewrite: true", Taken "";
        "timeout: 3s" => "auto_host_rewrite: false", Taken "";
        "timeout: 3s" => "host_rewrite_header: a", Taken "";
        "timeout: 3s" => "host_rewrite_path_regex: { pattern: { regex: a }, substitution: b }", Unsupported "host_rewrite_path_regex";
        "timeout: 3s" => "cluster_not_found_response_code: NOT_FOUND", Taken "";
        "timeout: 3s" => "hash_policy: [{ header: { header_name: a } }]", Unsupported "hash_policy[0].header";
        "timeout: 3s" => "hash_policy: [{ cookie: { name: a } }]", Unsupported "hash_policy[0].cookie";
        "timeout: 3s" => "hash_policy: [{}]", Refused "hash_policy[0]";
        "timeout: 3s" => "hash_policy: [{ connection_properties: { source_ip: true }, terminal: true }]", Taken "";
        "timeout: 3s" => "request_mirror_policies: [{ cluster: shop-v1 }]", Unsupported "request_mirror_policies";
        "timeout: 3s" => "upgrade_configs: [{ upgrade_type: websocket, enabled: false }]", Taken "";
        "timeout: 3s" => "upgrade_configs: [{ upgrade_type: a }, { upgrade_type: A }]", Refused "more than once";
        "prefix_rewrite: /internal/cart" => "prefix_rewrite: \"a\\nb\"", Refused "prefix_rewrite";
        "/items?id=\\1" => "/items?id=\\2", Unsupported "substitution";
        "/items?id=\\1" => "/items?id=\\a", Unsupported "substitution";
        "/items?id=\\1" => "", Taken "";
        "pattern: { regex: \"^/item/([0-9]+)$\" }" => "pattern: { regex: \"(\" }", Refused "unclosed group";
        "                    pattern: { regex: \"^/item/([0-9]+)$\" }\n" => "", Refused "pattern: required";
        "name: web\n            response" => "name: web\n            validate_clusters: false\n            response", Taken "";
        "name: web\n            response" => "name: web\n            most_specific_header_mutations_wins: true\n            ignore_port_in_host_matching: true\n            response", Taken "";
        "name: web\n            response" => "name: web\n            internal_only_headers: [a]\n            response", Unsupported "internal_only_headers";
        "name: web\n            response" => "name: web\n            max_direct_response_body_size_bytes: 10\n            response", Refused "max_direct_response_body_size_bytes: not supported: 10 (only 4096 is)";
        "name: web\n            response" => "name: web\n            vhds: {}\n            response", Refused "vhds";
        "lb_policy: LEAST_REQUEST" => "lb_policy: RANDOM", Taken "";
        "lb_policy: LEAST_REQUEST" => "lb_policy: RING_HASH", Taken "";
        "lb_policy: LEAST_REQUEST" => "lb_policy: RING_HASH\n    ring_hash_lb_config: { minimum_ring_size: 64, maximum_ring_size: 128 }", Taken "";
        "lb_policy: LEAST_REQUEST" => "lb_policy: RING_HASH\n    ring_hash_lb_config: { maximum_ring_size: 8388609 }", Refused "ring_hash_lb_config.maximum_ring_size: 8388609";
        "lb_policy: LEAST_REQUEST" => "lb_policy: RING_HASH\n    ring_hash_lb_config: { hash_function: MURMUR_HASH_2 }", Unsupported "ring_hash_lb_config.hash_function: not supported: MURMUR_HASH_2";
        "lb_policy: LEAST_REQUEST" => "lb_policy: MAGLEV", Unsupported "Cluster \"shop-v2\": lb_policy: not supported: MAGLEV";
        "lb_policy: LEAST_REQUEST" => "lb_policy: CLUSTER_PROVIDED", Refused "CLUSTER_PROVIDED";
        "lb_policy: LEAST_REQUEST" => "lb_policy: BEST", Refused "lb_policy";
        "lb_policy: LEAST_REQUEST" => "alt_stat_name: other", Taken "";
        "lb_policy: LEAST_REQUEST" => "dns_lookup_family: V4_ONLY", Taken "";
        "lb_policy: LEAST_REQUEST" => "http2_protocol_options: {}", Taken "";
        "lb_policy: LEAST_REQUEST" => "max_requests_per_connection: 1", Taken "";
        "lb_policy: LEAST_REQUEST" => "health_checks: [{ timeout: 1s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1, tcp_health_check: {} }]", Unsupported "health_checks";
        "lb_policy: LEAST_REQUEST" => "outlier_detection: {}", Unsupported "outlier_detection";
        "lb_policy: LEAST_REQUEST" => "common_lb_config: { healthy_panic_threshold: { value: 0 } }", Unsupported "common_lb_config";
        "lb_policy: LEAST_REQUEST" => "eds_cluster_config: { eds_config: { ads: {}, resource_api_version: V3 } }", Refused "eds_cluster_config";
        "lb_policy: LEAST_REQUEST" => "circuit_breakers: { thresholds: [{ priority: HIGH, max_requests: 1 }, { max_requests: 0 }] }", Taken "";
        "lb_policy: LEAST_REQUEST" => "circuit_breakers: { thresholds: [{ retry_budget: {} }] }", Unsupported "circuit_breakers.thresholds[0].retry_budget";
        "lb_policy: LEAST_REQUEST" => "upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 0 } }", Taken "";
        "lb_policy: LEAST_REQUEST" => "upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 1234 } }", Unsupported "port_value";
        "lb_policy: LEAST_REQUEST" => "upstream_bind_config: { source_address: { address: a, port_value: 0 } }", Refused "not an IP address";
        "lb_policy: LEAST_REQUEST" => "upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 0 }, extra_source_addresses: [{ address: { address: \"::6\", port_value: 0 } }] }", Taken "";
        "lb_policy: LEAST_REQUEST" => "transport_socket: { name: raw, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }", Taken "";
        "lb_policy: LEAST_REQUEST" => "transport_socket: { name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext } }", Unsupported "transport_socket.typed_config: not supported: transport socket envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        "lb_policy: LEAST_REQUEST" => "transport_socket: { name: envoy.transport_sockets.raw_buffer }", Refused "typed_config: required";
        "lb_policy: LEAST_REQUEST" => "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions } }", Refused "is required";
        "lb_policy: LEAST_REQUEST" => "typed_extension_protocol_options: { envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {} } }", Refused "is required";
        "lb_policy: LEAST_REQUEST" => "typed_extension_protocol_options: { a: { \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: { http_protocol_options: {} } } }", Refused "typed_extension_protocol_options";
        "lb_policy: LEAST_REQUEST" => "upstream_connection_options: { tcp_keepalive: {} }", Taken "";
        "type: STATIC\n    connect_timeout: 1s\n    lb_policy" => "type: STRICT_DNS\n    connect_timeout: 1s\n    lb_policy", Unsupported "type: not supported: STRICT_DNS";
        "type: STATIC\n    connect_timeout: 1s\n    lb_policy" => "type: LOGICAL_DNS\n    connect_timeout: 1s\n    lb_policy", Unsupported "type: not supported: LOGICAL_DNS";
        "connect_timeout: 1s\n    lb_policy" => "lb_policy", Taken "";
        "connect_timeout: 1s\n    lb_policy" => "connect_timeout: 0s\n    lb_policy", Refused "connect_timeout: 0s";
        "connect_timeout: 1s\n    lb_policy" => "connect_timeout: 0.5\n    lb_policy", Refused "connect_timeout";
        "  - name: shop-v2\n    type" => "  - name: shop-v1\n    type", Refused "appears more than once";
        "  - name: shop-v2\n    type" => "  - name: \"\"\n    type", Refused "name: must not be empty";
        "cluster_name: shop-v2" => "cluster_name: \"\"", Refused "cluster_name: must not be empty";
        "cluster_name: shop-v2" => "cluster_name: other", Taken "";
        "cluster_name: shop-v2" => "cluster_name: shop-v2\n      policy: { overprovisioning_factor: 140 }", Taken "";
        "cluster_name: shop-v2" => "cluster_name: shop-v2\n      policy: { overprovisioning_factor: 100 }", Unsupported "overprovisioning_factor: not supported: 100";
        "cluster_name: shop-v2" => "cluster_name: shop-v2\n      policy: { drop_overloads: [{ category: a }] }", Unsupported "drop_overloads";
        "{ address: 127.0.0.1, port_value: 8083 }" => "{ address: localhost, port_value: 8083 }", Refused "\"localhost\": not an IP address";
        "{ address: 127.0.0.1, port_value: 8083 }" => "{ address: 127.0.0.1, port_value: 70000 }", Refused "port_value: 70000";
        "{ address: { socket_address: { address: 127.0.0.1, port_value: 8083 } } }" => "{}", Refused "address: required";
        "- endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 8083 } } }" => "- endpoint_name: a", Refused "endpoint_name";
        "port_value: 8083 } } }" => "port_value: 8083 } } }\n          load_balancing_weight: 0", Refused "load_balancing_weight: 0";
        "port_value: 8083 } } }" => "port_value: 8083 } } }\n          health_status: UNHEALTHY", Taken "";
        "port_value: 8083 } } }" => "port_value: 8083 } } }\n          metadata: { filter_metadata: { envoy.lb: { a: b } } }", Taken "";
        "port_value: 8083 } } }" => "port_value: 8083 } } }\n        priority: 129", Refused "priority: 129";
        "port_value: 8083 } } }" => "port_value: 8083 } } }\n        priority: 3", Taken "";
        "port_value: 8083 } } }" => "port_value: 8083 } } }\n        load_balancing_weight: 0", Refused "load_balancing_weight: 0";
        "name: envoy.access_loggers.stdout" => "name: anything", Taken "";
        "name: envoy.access_loggers.stdout" => "name: a\n            filter: { status_code_filter: { comparison: { op: GE, value: { default_value: 500, runtime_key: a } } } }", Unsupported "access_log[0].filter";
        "%UPSTREAM_CLUSTER%" => "%NOBODY_KNOWS%", Refused "NOBODY_KNOWS";
        "%UPSTREAM_CLUSTER%" => "%REQ(:METHOD%", Refused "text_format_source";
        "%UPSTREAM_CLUSTER%" => "%START_TIME%", Taken "";
        "%UPSTREAM_CLUSTER%" => "%DYNAMIC_METADATA(a:b)%", Unsupported "DYNAMIC_METADATA";
        "port_value: 9901" => "port_value: 9901, resolver_name: a", Refused "resolver_name";
        "address: 127.0.0.1, port_value: 9901" => "address: \"::\", ipv4_compat: true, port_value: 9901", Unsupported "ipv4_compat";
    }
    "redirect" {
        "https_redirect: true" => "https_redirect: false", Taken "";
        "https_redirect: true" => "scheme_redirect: http", Taken "";
        "https_redirect: true" => "scheme_redirect: ftp", Unsupported "scheme_redirect";
        "port_redirect: 8443" => "port_redirect: 65536", Unsupported "port_redirect: not supported: 65536";
        "response_code: FOUND" => "response_code: NOT_FOUND", Refused "response_code";
        "response_code: FOUND" => "response_code: SEE_OTHER", Taken "";
        "host_redirect: docs.example" => "host_redirect: \"a\\nb\"", Refused "host_redirect";
        "path_redirect: /signin" => "path_redirect: \"/a?b\"", Taken "";
        "path_redirect: /signin" => "path_redirect: /a, prefix_rewrite: /b", Refused "oneof";
        "{ host_redirect: new.example }" => "{}", Taken "";
    }
    "sni-passthrough" {
        "[a.example]" => "[\"*.a.example\"]", Taken "";
        "[a.example]" => "[\"a*.example\"]", Refused "server_names[0]";
        "[a.example]" => "[\"*\"]", Refused "server_names[0]";
        "[a.example]" => "[\"*.*\"]", Taken "";
        "[a.example]" => "[A.example]", Taken "";
        "server_names: [a.example]" => "server_names: [\"x.b.example\", \"*.b.example\"], application_protocols: [h2]", Refused "matches the same connections";
        "server_names: [a.example]" => "transport_protocol: raw_buffer", Refused "matches the same connections as filter_chains[0]";
        "server_names: [a.example]" => "transport_protocol: quic", Unsupported "transport_protocol: not supported: \"quic\"";
        "server_names: [a.example]" => "destination_port: 0", Refused "destination_port: 0";
        "server_names: [a.example]" => "destination_port: 443", Taken "";
        "server_names: [a.example]" => "source_ports: [0]", Refused "source_ports[0]";
        "server_names: [a.example]" => "prefix_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }]", Taken "";
        "server_names: [a.example]" => "prefix_ranges: [{ address_prefix: 10.0.0.1, prefix_len: 64 }]", Taken "";
        "server_names: [a.example]" => "prefix_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 129 }]", Refused "prefix_len: 129";
        "server_names: [a.example]" => "prefix_ranges: [{ address_prefix: a }]", Refused "not an IP address";
        "server_names: [a.example]" => "prefix_ranges: [{ address_prefix: 10.0.0.0 }]", Taken "";
        "server_names: [a.example]" => "source_type: EXTERNAL", Taken "";
        "server_names: [a.example]" => "source_prefix_ranges: [{ address_prefix: \"::1\", prefix_len: 128 }], direct_source_prefix_ranges: [{ address_prefix: 10.0.0.0, prefix_len: 8 }]", Taken "";
        "server_names: [a.example]" => "address_suffix: a", Refused "address_suffix";
        "{ server_names: [a.example] }" => "{}", Taken "";
        "server_names: [a.example]" => "server_names: [a.example], application_protocols: [\"\"]", Taken "";
        "    - name: envoy.filters.listener.tls_inspector\n      typed_config:\n        \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" => "    - name: envoy.filters.listener.tls_inspector", Refused "listener_filters[0].typed_config: required";
        "tls_inspector.v3.TlsInspector" => "tls_inspector.v3.TlsInspector\n        enable_ja3_fingerprinting: true", Unsupported "enable_ja3_fingerprinting";
        "tls_inspector.v3.TlsInspector" => "tls_inspector.v3.TlsInspector\n        initial_read_buffer_size: 512", Taken "";
        "tls_inspector.v3.TlsInspector" => "tls_inspector.v3.TlsInspector\n        initial_read_buffer_size: 12", Refused "initial_read_buffer_size: 12";
        "tls_inspector.v3.TlsInspector" => "proxy_protocol.v3.ProxyProtocol", Unsupported "listener_filters[0].typed_config: not supported: listener filter";
        "    - name: envoy.filters.listener.tls_inspector" => "    - filter_disabled: { any_match: true }\n      name: envoy.filters.listener.tls_inspector", Unsupported "filter_disabled";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a", Refused "cluster: required";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: \"\"\n          cluster: a", Refused "stat_prefix";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: nobody", Taken "";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: \"\"", Taken "";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: a\n          idle_timeout: 0s", Taken "";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: a\n          tunneling_config: { hostname: a }", Unsupported "tunneling_config";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: a\n          max_connect_attempts: 0", Refused "max_connect_attempts: 0";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: a\n          hash_policy: [{ source_ip: {} }]", Taken "";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: a\n          hash_policy: [{ source_ip: {} }, { source_ip: {} }]", Refused "hash_policy";
        "          stat_prefix: a\n          cluster: a" => "          stat_prefix: a\n          cluster: a\n          hash_policy: [{ filter_state: { key: a } }]", Unsupported "hash_policy[0].filter_state";
        "    - name: a\n      filter_chain_match: { server_names: [a.example] }\n      filters:" => "    - name: a\n      filter_chain_match: { server_names: [a.example] }\n      filters:\n      - name: echo\n        typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo }", Refused "network filter envoy.extensions.filters.network.echo.v3.Echo";
        "    - name: a\n      filter_chain_match: { server_names: [a.example] }\n      filters:" => "    - name: a\n      filter_chain_match: { server_names: [a.example] }\n      filters:\n      - name: first\n        typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: a }", Refused "must be the last network filter";
        "    - name: a\n      filter_chain_match: { server_names: [a.example] }\n      filters:" => "    - name: a\n      filter_chain_match: { server_names: [c.example] }\n      filters: []\n    - name: a\n      filter_chain_match: { server_names: [a.example] }\n      filters:", Unsupported "a chain without filters";
        "    - name: a\n      filter_chain_match" => "    - name: a\n      transport_socket_connect_timeout: 1s\n      filter_chain_match", Unsupported "transport_socket_connect_timeout";
    }
    "tcp-weighted" {
        "weight: 3" => "weight: 0", Refused "weight: 0";
        "              weight: 3\n" => "", Refused "weight: 0";
        "- name: stable\n              weight" => "- name: \"\"\n              weight", Refused "name: must not be empty";
        "- name: stable\n              weight" => "- name: nobody\n              weight", Taken "";
        "            - name: stable\n              weight: 3\n            - name: next\n              weight: 1" => "              []", Refused "clusters: must not be empty";
        "path: /dev/stdout" => "path: \"\"", Refused "path: must not be empty";
        "path: /dev/stdout" => "path: /dev/null", Taken "";
        "path: /dev/stdout" => "path: /dev/stdout\n              log_format: { json_format: { a: \"%DURATION%\", b: text } }", Taken "";
        "path: /dev/stdout" => "path: /dev/stdout\n              log_format: { json_format: { a: { b: \"%DURATION%\" } } }", Unsupported "json_format[\"a\"]: not supported";
        "path: /dev/stdout" => "path: /dev/stdout\n              log_format: { text_format: \"a\\n\" }", Taken "";
        "path: /dev/stdout" => "path: /dev/stdout\n              log_format: {}", Refused "log_format.format: required";
        "path: /dev/stdout" => "path: /dev/stdout\n              log_format: { text_format_source: { inline_string: \"\" } }", Taken "";
        "path: /dev/stdout" => "path: /dev/stdout\n              log_format: { text_format_source: { inline_string: a }, omit_empty_values: true }", Unsupported "omit_empty_values";
        "path: /dev/stdout" => "path: /dev/stdout\n              format: \"%BYTES_SENT%\\n\"", Taken "";
        "path: /dev/stdout" => "path: /dev/stdout\n              json_format: { a: b }", Taken "";
        "file.v3.FileAccessLog" => "wasm.v3.WasmAccessLog", Refused "typed_config";
        "load_balancing_weight: 2" => "load_balancing_weight: 4294967295", Unsupported "sum of weights";
        "priority: DEFAULT, max_connections: 100" => "max_connections: 0", Taken "";
    }
    "transparent" {
        "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED" => "type: ORIGINAL_DST", Refused "CLUSTER_PROVIDED";
        "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED" => "type: ORIGINAL_DST\n    original_dst_lb_config: { use_http_header: true }\n    lb_policy: CLUSTER_PROVIDED", Unsupported "lb_config";
        "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED" => "type: ORIGINAL_DST\n    cleanup_interval: 60s\n    lb_policy: CLUSTER_PROVIDED", Taken "";
        "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED" => "type: ORIGINAL_DST\n    load_assignment: { cluster_name: a }\n    lb_policy: CLUSTER_PROVIDED", Refused "load_assignment";
        "port_value: 8000" => "port_value: 15001", Refused "address";
        "name: 0.0.0.0_8000" => "name: virtualOutbound", Unsupported "name";
        "use_original_dst: true" => "use_original_dst: true\n    metadata: { filter_metadata: { weir.dev: { on_demand: { timeout_ms: 100 } } } }", Taken "";
        "use_original_dst: true" => "use_original_dst: true\n    socket_options: [{ level: 6, name: 1, int_value: 1, state: STATE_PREBIND }]", Unsupported "socket_options";
        "use_original_dst: true" => "use_original_dst: true\n    drain_type: MODIFY_ONLY", Unsupported "drain_type";
        "use_original_dst: true" => "use_original_dst: true\n    additional_addresses: [{ address: { socket_address: { address: 127.0.0.1, port_value: 15003 } } }]", Unsupported "additional_addresses";
        "use_original_dst: true" => "use_original_dst: true\n    connection_balance_config: { exact_balance: {} }", Taken "";
        "        http2_protocol_options: {}" => "        http3_protocol_options: {}", Refused "http3_protocol_options";
        "          http2_protocol_options: {}\n" => "", Taken "";
    }
    "ads" {
        "api_type: DELTA_GRPC" => "api_type: GRPC", Taken "";
        "api_type: DELTA_GRPC" => "api_type: REST", Refused "api_type";
        "api_type: DELTA_GRPC" => "api_type: AGGREGATED_DELTA_GRPC", Refused "api_type";
        "    transport_api_version: V3\n" => "", Taken "";
        "    transport_api_version: V3\n" => "    transport_api_version: V2\n", Refused "transport_api_version: must be V3";
        "lds_config: { resource_api_version: V3, ads: {} }" => "lds_config: { ads: {} }", Taken "";
        "lds_config: { resource_api_version: V3, ads: {} }" => "lds_config: { resource_api_version: V3 }", Refused "config_source_specifier";
        "lds_config: { resource_api_version: V3, ads: {} }" => "lds_config: { resource_api_version: V3, self: {} }", Unsupported "lds_config.self";
        "cluster_name: xds }" => "cluster_name: nobody }", Refused "unknown cluster \"nobody\"";
        "cluster_name: xds }" => "cluster_name: backend }", Refused "must not itself come from ADS";
        "cluster_name: xds }" => "cluster_name: \"\" }", Refused "cluster_name: must not be empty";
        "    - envoy_grpc: { cluster_name: xds }" => "    - timeout: 1s", Refused "envoy_grpc: required";
        "    - envoy_grpc: { cluster_name: xds }" => "      []", Refused "grpc_services: required";
        "    - envoy_grpc: { cluster_name: xds }" => "    - envoy_grpc: { cluster_name: xds }\n      initial_metadata: [{ key: authorization, value: a }]", Taken "";
        "    - envoy_grpc: { cluster_name: xds }" => "    - envoy_grpc: { cluster_name: xds }\n    set_node_on_first_message_only: true", Taken "";
        "    - envoy_grpc: { cluster_name: xds }" => "    - google_grpc: { target_uri: a, stat_prefix: a }", Unsupported "google_grpc";
        "  cluster: example.default\n" => "", Refused "node: id and cluster are required";
        "      eds_config: { resource_api_version: V3, ads: {} }" => "      service_name2: a", Refused "service_name2";
        "      eds_config: { resource_api_version: V3, ads: {} }" => "", Refused "eds_config: required";
        "      service_name: outbound|8000||backend.default.svc.cluster.local\n" => "", Taken "";
        "    eds_cluster_config:\n      service_name: outbound|8000||backend.default.svc.cluster.local\n      eds_config: { resource_api_version: V3, ads: {} }" => "", Refused "eds_cluster_config: required";
        "    eds_cluster_config:" => "    load_assignment: { cluster_name: a }\n    eds_cluster_config:", Unsupported "load_assignment";
        "dynamic_resources:\n  ads_config:\n    api_type: DELTA_GRPC\n    transport_api_version: V3\n    grpc_services:\n    - envoy_grpc: { cluster_name: xds }\n  lds_config: { resource_api_version: V3, ads: {} }\n  cds_config: { resource_api_version: V3, ads: {} }" => "", Unsupported "ads without dynamic_resources.ads_config";
        "    api_type: DELTA_GRPC\n    transport_api_version: V3\n    grpc_services:\n    - envoy_grpc: { cluster_name: xds }" => "    {}", Refused "ads_config";
        "  ads_config:\n    api_type: DELTA_GRPC\n    transport_api_version: V3\n    grpc_services:\n    - envoy_grpc: { cluster_name: xds }\n" => "", Unsupported "ads without";
    }
    "grpc" {
        "num_retries: 3" => "retry_back_off: { base_interval: 0.05s, max_interval: 0s }", Refused "max_interval: 0s";
        "idle_timeout: 300s" => "max_headers_count: 50", Unsupported "max_headers_count: not supported: 50";
        "max_requests_per_connection: 10000" => "max_requests_per_connection: 0", Taken "";
        "max_requests_per_connection: 10000" => "max_stream_duration: 1s", Unsupported "max_stream_duration";
        "http2_protocol_options: { max_concurrent_streams: 100 }" => "http2_protocol_options: { connection_keepalive: { interval: 1s, timeout: 1s } }", Unsupported "connection_keepalive";
        "http2_protocol_options: { max_concurrent_streams: 100 }" => "http2_protocol_options: { hpack_table_size: 0 }", Unsupported "hpack_table_size";
        "explicit_http_config:\n          http2_protocol_options: { max_concurrent_streams: 100, initial_stream_window_size: 1048576 }" => "auto_config: {}", Refused "auto_config";
        "health_status: DRAINING" => "health_status: UNWELL", Refused "health_status";
        "hostname: grpc.example" => "additional_addresses: [{ address: { socket_address: { address: \"::1\", port_value: 1 } } }]", Unsupported "additional_addresses";
        "hostname: grpc.example" => "health_check_config: { port_value: 81 }", Taken "";
    }
};
