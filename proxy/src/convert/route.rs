//! Route configurations, virtual hosts and routes.

use crate::config::request_buffer::RequestBuffer;
use weir_api::xds::envoy::config::route::v3 as pb;

use super::{
    at::{At, take},
    header::header_mutations,
    http_filter::{cors_policy_of_route, per_filter_config},
    metadata::metadata,
    retry::retry_policy,
    route_action::{Checked, action},
    route_match::route_match,
    value::non_empty,
};
use crate::config::{
    RouteConfiguration,
    domains::DomainIndex,
    route::{Route, VirtualHost},
};

/// Envoy's default, which is what the proxy does.
const MAX_DIRECT_RESPONSE_BODY: u32 = 4096;

/// A route configuration that came over RDS: clusters it names may come later.
pub(super) fn route_configuration(
    at: &At<'_>,
    message: pb::RouteConfiguration,
) -> RouteConfiguration {
    convert(at, message, false)
}

/// A route configuration within a connection manager: clusters it names are there already, unless
/// it says that this is not to be checked.
pub(super) fn inline_route_configuration(
    at: &At<'_>,
    message: pb::RouteConfiguration,
) -> RouteConfiguration {
    convert(at, message, true)
}

fn convert(
    at: &At<'_>,
    message: pb::RouteConfiguration,
    validate_by_default: bool,
) -> RouteConfiguration {
    take!(at, message => pb::RouteConfiguration {
        supported: name, virtual_hosts, response_headers_to_add, response_headers_to_remove,
            request_headers_to_add, request_headers_to_remove,
            most_specific_header_mutations_wins, validate_clusters, ignore_port_in_host_matching,
            typed_per_filter_config;
        fixed: max_direct_response_body_size_bytes = MAX_DIRECT_RESPONSE_BODY;
        ignored: metadata = "for people and for filters that are not supported";
        refused: vhds, internal_only_headers, cluster_specifier_plugins, request_mirror_policies,
            vhost_header, ignore_path_parameters_in_path_matching, route_specifiers;
    });
    let validate = validate_clusters.map_or(validate_by_default, |validate| validate.value);
    let checked = if validate { Checked::Yes } else { Checked::No };
    let at_hosts = at.field("virtual_hosts");
    let hosts = virtual_hosts.into_iter().enumerate();
    let hosts: Vec<_> = hosts
        .map(|(index, message)| virtual_host(&at_hosts.index(index), message, checked))
        .collect();
    let domains = DomainIndex::new(hosts.iter().map(|host| host.domains.as_slice()))
        .map_err(|error| at_hosts.error(error.to_string()))
        .unwrap_or_default();
    RouteConfiguration {
        name,
        virtual_hosts: hosts,
        domains,
        headers: header_mutations(
            at,
            (request_headers_to_add, request_headers_to_remove),
            (response_headers_to_add, response_headers_to_remove),
        ),
        per_filter: per_filter_config(
            &at.field("typed_per_filter_config"),
            typed_per_filter_config,
        ),
        ignore_port_in_host_matching,
        most_specific_header_mutations_wins,
    }
}

fn virtual_host(at: &At<'_>, message: pb::VirtualHost, checked: Checked) -> VirtualHost {
    take!(at, message => pb::VirtualHost {
        supported: name, domains, routes, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, include_request_attempt_count,
            retry_policy, cors, typed_per_filter_config, per_request_buffer_limit_bytes,
            request_body_buffer_limit;
        ignored: metadata = "for people and for filters that are not supported";
        refused: matcher, require_tls, virtual_clusters, rate_limits, include_attempt_count_in_response,
            retry_policy_typed_config, hedge_policy, include_is_timeout_retry_header,
            request_mirror_policies, route_specifiers;
    });
    let at_domains = at.field("domains");
    if domains.is_empty() {
        at_domains.error("must not be empty");
    }
    let domains = domains
        .into_iter()
        .enumerate()
        .map(|(index, domain)| domain_of(&at_domains.index(index), &domain))
        .collect();
    let at_routes = at.field("routes");
    let routes = routes.into_iter().enumerate();
    VirtualHost {
        name: non_empty(&at.field("name"), name),
        domains,
        routes: routes
            .filter_map(|(index, message)| route(&at_routes.index(index), message, checked))
            .collect(),
        headers: header_mutations(
            at,
            (request_headers_to_add, request_headers_to_remove),
            (response_headers_to_add, response_headers_to_remove),
        ),
        per_filter: per_filter_config(
            &at.field("typed_per_filter_config"),
            typed_per_filter_config,
        ),
        cors: cors.map(|message| cors_policy_of_route(&at.field("cors"), message)),
        retry_policy: retry_policy
            .and_then(|message| self::retry_policy(&at.field("retry_policy"), message)),
        include_request_attempt_count,
        request_buffer: RequestBuffer {
            body: request_body_buffer_limit.map(|limit| saturating(limit.value)),
            request: per_request_buffer_limit_bytes.map(|limit| limit.value),
        },
    }
}

/// As far as it can be counted.
fn saturating(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Lower case.
fn domain_of(at: &At<'_>, domain: &str) -> String {
    if domain.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        at.error(format!("{domain:?}: must not hold NUL, CR or LF"));
    }
    domain.to_ascii_lowercase()
}

fn route(at: &At<'_>, message: pb::Route, checked: Checked) -> Option<Route> {
    take!(at, message => pb::Route {
        supported: name, r#match, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, action, metadata,
            typed_per_filter_config, per_request_buffer_limit_bytes, request_body_buffer_limit;
        ignored: decorator = "names spans, and there is no tracing";
        refused: tracing, stat_prefix, route_specifiers;
    });
    let headers = header_mutations(
        at,
        (request_headers_to_add, request_headers_to_remove),
        (response_headers_to_add, response_headers_to_remove),
    );
    let at_match = at.field("match");
    let criteria = at_match
        .required(r#match)
        .and_then(|message| route_match(&at_match, message));
    if action.is_none() {
        at.error("route, redirect or direct_response is required");
    }
    let action = action.and_then(|message| self::action(at, message, checked));
    Some(Route {
        name,
        criteria: criteria?,
        action: action?,
        headers,
        per_filter: per_filter_config(
            &at.field("typed_per_filter_config"),
            typed_per_filter_config,
        ),
        metadata: self::metadata(metadata),
        request_buffer: RequestBuffer {
            body: request_body_buffer_limit.map(|limit| saturating(limit.value)),
            request: per_request_buffer_limit_bytes.map(|limit| limit.value),
        },
    })
}
