//! Configurations, and what is sent to them.

/// A configuration, and requests: a line with method and path, headers, an empty line, a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Fields of `ExtAuthz`.
    pub(super) filter: &'static str,
    /// Of the virtual host, and of the route: `typed_per_filter_config`.
    pub(super) host: &'static str,
    pub(super) route: &'static str,
    /// Filters before it, and behind it.
    pub(super) before: &'static str,
    pub(super) after: &'static str,
    pub(super) send: &'static [&'static str],
}

const fn case(name: &'static str, filter: &'static str, send: &'static [&'static str]) -> Case {
    Case {
        name,
        filter,
        host: "",
        route: "",
        before: "",
        after: "",
        send,
    }
}

const fn per_route(mut case: Case, host: &'static str, route: &'static str) -> Case {
    (case.host, case.route) = (host, route);
    case
}

macro_rules! grpc {
    ($more:literal) => {
        concat!("grpc_service: { envoy_grpc: { cluster_name: grpc, authority: authz }, timeout: 20s }, ", $more)
    };
}
macro_rules! http {
    ($more:literal) => {
        concat!(
            "http_service: { server_uri: { uri: 'http://authz', cluster: http, timeout: 20s } ",
            $more
        )
    };
}
macro_rules! of_route {
    ($fields:literal) => {
        concat!("authz: { '@type': type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute, ", $fields, " }")
    };
}

/// Refuses requests of which the authorization filter has said something.
const SAID: &str = "- { name: rbac, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC, rules: { action: DENY, policies: { said: { permissions: [ { any: true } ], principals: [ { or_ids: { ids: [ { metadata: { filter: envoy.filters.http.ext_authz, path: [ { key: who } ], value: { string_match: { exact: said } } } }, { metadata: { filter: envoy.filters.http.ext_authz, path: [ { key: x-said } ], value: { string_match: { exact: '1' } } } } ] } } ] } } } } }";
const OWN: &str = "GET /headers\nx-own: own\nx-more: own\nx-set: own\nx-gone: own";
const ACTIONS: &str =
    "GET /actions\nx-own-append: own\nx-own-absent: own\nx-own-over: own\nx-own-only: own";

pub(super) const GRPC: &[Case] = &[
    case(
        "all is said and heeded",
        grpc!(""),
        &[
            "GET /plain?a=b\nx-two: 1\nx-two: 2\nx-envoy-auth-partial-body: true",
            OWN,
            "GET /back",
            "GET /query?a=1&gone=2&z=%20",
            "GET /denied",
            "GET /unknown",
            "GET /said",
            "GET /failed",
            "GET /error",
            "HEAD /denied",
        ],
    ),
    case("kinds of changes", grpc!(""), &[ACTIONS]),
    case(
        "a server that fails lets requests pass",
        grpc!("failure_mode_allow: true, failure_mode_allow_header_add: true"),
        &["GET /failed", "GET /error", "GET /denied"],
    ),
    case(
        "a status for failures",
        grpc!("status_on_error: { code: 503 }"),
        &["GET /failed", "GET /error"],
    ),
    case(
        "a server that is gone or slow",
        "grpc_service: { envoy_grpc: { cluster_name: gone }, timeout: 20s }",
        &["GET /plain"],
    ),
    case(
        "a server that is slow",
        "grpc_service: { envoy_grpc: { cluster_name: grpc, authority: authz }, timeout: 0.3s }",
        &["GET /sleep"],
    ),
    case(
        "initial metadata",
        "grpc_service: { envoy_grpc: { cluster_name: grpc, authority: authz }, initial_metadata: [ { key: x-initial, value: v } ], timeout: 30s }",
        &["GET /plain"],
    ),
    case(
        "bodies",
        grpc!("with_request_body: { max_request_bytes: 10 }"),
        &[
            "POST /plain\n\n0123456789",
            "POST /plain\n\n0123456789a",
            "GET /plain",
        ],
    ),
    case(
        "parts of bodies",
        grpc!(
            "with_request_body: { max_request_bytes: 10, allow_partial_message: true, pack_as_bytes: true }"
        ),
        &[
            "POST /plain\n\n012345678",
            "POST /plain\n\n0123456789abcdef",
        ],
    ),
    case(
        "routes are chosen again",
        grpc!("clear_route_cache: true"),
        &[OWN],
    ),
    case(
        "what is sent of headers",
        grpc!(
            "allowed_headers: { patterns: [ { prefix: x- }, { exact: ':path' } ] }, disallowed_headers: { patterns: [ { suffix: '-no' } ] }"
        ),
        &["GET /plain\nx-yes: 1\nx-no: 2\ny: 3"],
    ),
    case(
        "raw headers",
        grpc!("encode_raw_headers: true, with_request_body: { max_request_bytes: 9 }"),
        &["POST /plain\nx-two: 1\nx-two: 2\n\nabc"],
    ),
    case(
        "none are asked about",
        grpc!("filter_enabled: { default_value: { numerator: 0 } }"),
        &["GET /denied"],
    ),
    case(
        "none are asked about and all refused",
        grpc!(
            "filter_enabled: { default_value: { numerator: 0 } }, deny_at_disable: { runtime_key: a, default_value: true }, status_on_error: { code: 429 }"
        ),
        &["GET /plain"],
    ),
    Case {
        before: "- { name: rbac, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC, shadow_rules: { action: DENY, policies: { a: { permissions: [ { url_path: { path: { prefix: /denied } } } ], principals: [ { any: true } ] } } } } }",
        ..case(
            "only those of which other filters say so",
            grpc!(
                "filter_enabled_metadata: { filter: envoy.filters.http.rbac, path: [ { key: shadow_engine_result } ], value: { string_match: { exact: denied } } }, metadata_context_namespaces: [ envoy.filters.http.rbac, none ], route_metadata_context_namespaces: [ of.route ]"
            ),
            &["GET /denied", "GET /denied-not", "GET /other"],
        )
    },
    case(
        "rules for changes",
        grpc!("decoder_header_mutation_rules: { disallow_expression: { regex: x-new } }"),
        &[OWN],
    ),
    case(
        "no changes",
        grpc!(
            "decoder_header_mutation_rules: { disallow_all: true, allow_expression: { regex: x-set } }"
        ),
        &[OWN],
    ),
    case(
        "changes of all kinds",
        grpc!("decoder_header_mutation_rules: { allow_envoy: true, allow_all_routing: true }"),
        &[OWN],
    ),
    case(
        "no changes of pseudo headers",
        grpc!("decoder_header_mutation_rules: { disallow_system: true }"),
        &[OWN],
    ),
    case(
        "changes that are errors",
        grpc!("decoder_header_mutation_rules: { disallow_is_error: true }"),
        &[OWN, "GET /plain"],
    ),
    case(
        "changes are looked at",
        grpc!("validate_mutations: true"),
        &["GET /odd", "GET /plain", "GET /back"],
    ),
    Case {
        after: SAID,
        ..case(
            "metadata is heeded",
            grpc!(""),
            &["GET /said", "GET /plain"],
        )
    },
    Case {
        after: SAID,
        ..case(
            "metadata is not heeded",
            grpc!("enable_dynamic_metadata_ingestion: false"),
            &["GET /said"],
        )
    },
    case(
        "a name of its own and short refusals",
        grpc!(
            "stat_prefix: mine, max_denied_response_body_bytes: 4, charge_cluster_response_stats: false"
        ),
        &["GET /denied", "GET /plain"],
    ),
    per_route(
        case("not here", grpc!(""), &["GET /denied"]),
        of_route!("check_settings: { context_extensions: { a: '1' } }"),
        of_route!("disabled: true"),
    ),
    per_route(
        case(
            "extensions of levels",
            grpc!("with_request_body: { max_request_bytes: 10 }"),
            &["POST /plain\n\nabc"],
        ),
        of_route!("check_settings: { context_extensions: { a: '1', b: '1' } }"),
        of_route!(
            "check_settings: { context_extensions: { b: '2', c: '2' }, disable_request_body_buffering: true }"
        ),
    ),
    per_route(
        case("another body", grpc!(""), &["POST /plain\n\nabc"]),
        of_route!("check_settings: { disable_request_body_buffering: true }"),
        of_route!(
            "check_settings: { with_request_body: { max_request_bytes: 2, allow_partial_message: true } }"
        ),
    ),
    per_route(
        case("another service", grpc!(""), &["GET /ok"]),
        "",
        of_route!(
            "check_settings: { http_service: { server_uri: { uri: 'http://authz', cluster: http, timeout: 20s } } }"
        ),
    ),
];

pub(super) const HTTP: &[Case] = &[
    case(
        "what a server gets by default",
        http!("}"),
        &[
            "GET /ok?a=b\nauthorization: me\nx-own: own\nx-gone: 1",
            "POST /ok\nx-own: own\n\nabc",
            "GET /denied",
            "GET /failed",
            "GET /created",
            "GET /other",
        ],
    ),
    case(
        "lists of headers",
        http!(", authorization_request: { allowed_headers: { patterns: [ { prefix: x-y } ] }, headers_to_add: [ { key: x-added, value: '1' }, { key: x-yes, value: '2' } ] },
            authorization_response: { allowed_upstream_headers: { patterns: [ { exact: x-own } ] },
              allowed_upstream_headers_to_append: { patterns: [ { exact: x-more } ] },
              allowed_client_headers: { patterns: [ { exact: set-cookie } ] },
              allowed_client_headers_on_success: { patterns: [ { exact: x-back } ] },
              dynamic_metadata_from_headers: { patterns: [ { exact: x-said } ] } } }"),
        &["GET /ok\nx-yes: 1\nx-yes: 2\nx-own: own\nx-more: own\nx-gone: own\nx-z: 1", "GET /denied"],
    ),
    case(
        "headers that are sent, and that are not",
        http!("}, allowed_headers: { patterns: [ { prefix: x-y } ] }, disallowed_headers: { patterns: [ { exact: x-yno }, { exact: authorization } ] }, encode_raw_headers: true"),
        &["GET /ok\nx-yes: 1\nx-yes: 2\nx-yno: 1\nauthorization: me"],
    ),
    case("a prefix", http!(", path_prefix: /authz }"), &["GET /ok?a", "GET /denied"]),
    Case {
        after: SAID,
        ..case(
            "metadata of headers",
            http!(", authorization_response: { dynamic_metadata_from_headers: { patterns: [ { exact: x-said } ] } } }"),
            &["GET /ok"],
        )
    },
    case("one path", http!(", path_override: /always/ok }"), &["GET /denied?a"]),
    case(
        "bodies",
        http!("}, with_request_body: { max_request_bytes: 4, allow_partial_message: true }"),
        &["POST /ok\n\nabc", "POST /ok\n\nabcdefgh"],
    ),
    case(
        "a server that is slow",
        "http_service: { server_uri: { uri: 'http://authz', cluster: http, timeout: 0.3s } }, failure_mode_allow: true",
        &["GET /sleep"],
    ),
];
