//! What a route does: forward, redirect, answer.

use std::time::Duration;

use bytes::Bytes;
use weir_api::xds::envoy::config::route::v3 as pb;

use super::{
    at::{At, take},
    circuit_breakers::routing_priority,
    hash,
    header::header_mutations,
    http_connection_manager::upgrade_type_of,
    http_filter::{cors_policy_of_route, per_filter_config},
    matcher::substitution,
    mirror::mirror_policies,
    redirect::redirect,
    retry::retry_policy,
    subset::metadata_match,
    value::{enumeration, header_name, header_value, inline_text, non_empty, timeout},
};
use crate::config::{
    route::{Forward, ForwardTarget, HostRewrite, PathRewrite, RouteAction, RouteWeightedCluster},
    subset::MetadataMatch,
};

/// Envoy's default of `RouteAction.timeout`.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's default of `max_direct_response_body_size_bytes`.
const MAX_BODY: usize = 4096;

/// Whether the clusters that routes name must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    /// They must.
    Yes,
    /// They may come later; until then requests are answered by `cluster_not_found_response_code`.
    No,
}

/// `at` is the route.
pub(super) fn action(
    at: &At<'_>,
    message: pb::route::Action,
    checked: Checked,
) -> Option<RouteAction> {
    match message {
        pb::route::Action::Route(message) => {
            let forward = forward(&at.field("route"), message, checked)?;
            Some(RouteAction::Forward(Box::new(forward)))
        }
        pb::route::Action::Redirect(message) => {
            let redirect = redirect(&at.field("redirect"), message)?;
            Some(RouteAction::Redirect(Box::new(redirect)))
        }
        pb::route::Action::DirectResponse(message) => {
            direct_response(&at.field("direct_response"), message)
        }
        pb::route::Action::FilterAction(_) => {
            at.field("filter_action").unsupported("actions of filters");
            None
        }
        pb::route::Action::NonForwardingAction(_) => {
            at.field("non_forwarding_action")
                .unsupported("routes of gRPC servers");
            None
        }
    }
}

fn forward(at: &At<'_>, message: pb::RouteAction, checked: Checked) -> Option<Forward> {
    take!(at, message => pb::RouteAction {
        supported: cluster_not_found_response_code, prefix_rewrite, regex_rewrite,
            append_x_forwarded_host, timeout, idle_timeout, retry_policy, upgrade_configs,
            hash_policy, cluster_specifier, host_rewrite_specifier, cors, request_mirror_policies,
            metadata_match, priority;
        refused: path_rewrite_policy, path_rewrite, flush_timeout,
            early_data_policy, retry_policy_typed_config,
            rate_limits, include_vh_rate_limits, max_grpc_timeout,
            grpc_timeout_offset, internal_redirect_policy, internal_redirect_action,
            max_internal_redirects, hedge_policy, max_stream_duration;
    });
    use pb::route_action::ClusterNotFoundResponseCode as NotFound;
    let at_not_found = at.field("cluster_not_found_response_code");
    let cluster_not_found_status = match enumeration(&at_not_found, cluster_not_found_response_code)
    {
        Some(NotFound::NotFound) => 404,
        Some(NotFound::InternalServerError) => 500,
        Some(NotFound::ServiceUnavailable) | None => 503,
    };
    if !prefix_rewrite.is_empty() && regex_rewrite.is_some() {
        at.field("regex_rewrite")
            .error("cannot be set together with prefix_rewrite");
    }
    let idle_timeout_set = idle_timeout.is_some();
    let metadata_match = self::metadata_match(metadata_match, None);
    let target = target(at, cluster_specifier, (checked, metadata_match.as_ref()));
    Some(Forward {
        timeout: self::timeout(&at.field("timeout"), timeout, Some(TIMEOUT)),
        idle_timeout: self::timeout(&at.field("idle_timeout"), idle_timeout, None),
        idle_timeout_set,
        retry_policy: retry_policy
            .and_then(|message| self::retry_policy(&at.field("retry_policy"), message)),
        path_rewrite: path_rewrite_of(at, prefix_rewrite, regex_rewrite),
        host_rewrite: host_rewrite(at, host_rewrite_specifier),
        append_x_forwarded_host,
        metadata_match,
        hash_policy: hash::of_route(&at.field("hash_policy"), hash_policy),
        upgrades: upgrades(&at.field("upgrade_configs"), upgrade_configs),
        cors: cors.map(|message| cors_policy_of_route(&at.field("cors"), message)),
        mirrors: mirror_policies(
            &at.field("request_mirror_policies"),
            request_mirror_policies,
            checked,
        ),
        cluster_not_found_status,
        priority: routing_priority(&at.field("priority"), priority),
        target: target?,
    })
}

fn target(
    at: &At<'_>,
    specifier: Option<pb::route_action::ClusterSpecifier>,
    (checked, outer): (Checked, Option<&MetadataMatch>),
) -> Option<ForwardTarget> {
    use pb::route_action::ClusterSpecifier;

    match specifier {
        Some(ClusterSpecifier::Cluster(name)) => {
            let at = at.field("cluster");
            let name = non_empty(&at, name);
            if checked == Checked::Yes {
                at.refers_to_cluster(&name);
            }
            Some(ForwardTarget::Cluster(name))
        }
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            let name = header_name(&at.field("cluster_header"), &name);
            Some(ForwardTarget::ClusterHeader(name))
        }
        Some(ClusterSpecifier::WeightedClusters(message)) => {
            weighted_clusters(&at.field("weighted_clusters"), message, (checked, outer))
        }
        Some(ClusterSpecifier::ClusterSpecifierPlugin(name)) => {
            at.field("cluster_specifier_plugin")
                .unsupported(format!("{name:?}"));
            None
        }
        Some(ClusterSpecifier::InlineClusterSpecifierPlugin(_)) => {
            at.field("inline_cluster_specifier_plugin")
                .unsupported("plugins");
            None
        }
        None => {
            at.error("cluster, cluster_header or weighted_clusters is required");
            None
        }
    }
}

fn weighted_clusters(
    at: &At<'_>,
    message: pb::WeightedCluster,
    context: (Checked, Option<&MetadataMatch>),
) -> Option<ForwardTarget> {
    take!(at, message => pb::WeightedCluster {
        supported: clusters;
        refused: runtime_key_prefix, total_weight, random_value_specifier;
    });
    let at_clusters = at.field("clusters");
    if clusters.is_empty() {
        at_clusters.error("must not be empty");
        return None;
    }
    let converted = clusters.into_iter().enumerate();
    let clusters: Vec<_> = converted
        .map(|(index, message)| weighted_cluster(&at_clusters.index(index), message, context))
        .collect();
    let total = clusters
        .iter()
        .map(|cluster| u64::from(cluster.weight))
        .sum();
    if total == 0 || total > u64::from(u32::MAX) {
        at_clusters.error(format!(
            "sum of weights {total}: must be from 1 to {}",
            u32::MAX
        ));
    }
    Some(ForwardTarget::Weighted { clusters, total })
}

fn weighted_cluster(
    at: &At<'_>,
    message: pb::weighted_cluster::ClusterWeight,
    (checked, outer): (Checked, Option<&MetadataMatch>),
) -> RouteWeightedCluster {
    let by_name = message.cluster_header.is_empty();
    take!(at, message => pb::weighted_cluster::ClusterWeight {
        supported: name, weight, request_headers_to_add, request_headers_to_remove,
            response_headers_to_add, response_headers_to_remove, typed_per_filter_config,
            metadata_match;
        refused: cluster_header, host_rewrite_specifier;
    });
    let at_name = at.field("name");
    if by_name {
        non_empty(&at_name, name.clone());
        if checked == Checked::Yes {
            at_name.refers_to_cluster(&name);
        }
    }
    RouteWeightedCluster {
        name,
        metadata_match: self::metadata_match(metadata_match, outer),
        per_filter: per_filter_config(
            &at.field("typed_per_filter_config"),
            typed_per_filter_config,
        ),
        weight: at
            .field("weight")
            .required(weight)
            .map_or(1, |weight| weight.value),
        headers: header_mutations(
            at,
            (request_headers_to_add, request_headers_to_remove),
            (response_headers_to_add, response_headers_to_remove),
        ),
    }
}

pub(super) fn path_rewrite_of(
    at: &At<'_>,
    prefix: String,
    regex: Option<weir_api::xds::envoy::r#type::matcher::v3::RegexMatchAndSubstitute>,
) -> Option<PathRewrite> {
    if let Some(message) = regex {
        let (pattern, substitution) = substitution(&at.field("regex_rewrite"), message)?;
        return Some(PathRewrite::Regex {
            pattern,
            substitution,
        });
    }
    let prefix = header_value(&at.field("prefix_rewrite"), prefix);
    (!prefix.is_empty()).then_some(PathRewrite::Prefix(prefix))
}

fn host_rewrite(
    at: &At<'_>,
    specifier: Option<pb::route_action::HostRewriteSpecifier>,
) -> HostRewrite {
    use pb::route_action::HostRewriteSpecifier as Specifier;

    match specifier {
        None => HostRewrite::Keep,
        Some(Specifier::HostRewriteLiteral(host)) if host.is_empty() => HostRewrite::Keep,
        Some(Specifier::HostRewriteLiteral(host)) => {
            HostRewrite::Literal(header_value(&at.field("host_rewrite_literal"), host))
        }
        Some(Specifier::AutoHostRewrite(auto)) if auto.value => HostRewrite::Auto,
        Some(Specifier::AutoHostRewrite(_)) => HostRewrite::Keep,
        Some(Specifier::HostRewriteHeader(name)) if name.is_empty() => HostRewrite::Keep,
        Some(Specifier::HostRewriteHeader(name)) => {
            HostRewrite::Header(header_name(&at.field("host_rewrite_header"), &name))
        }
        Some(Specifier::HostRewritePathRegex(_)) => {
            at.field("host_rewrite_path_regex")
                .unsupported("a host made of the path");
            HostRewrite::Keep
        }
        Some(Specifier::HostRewrite(template)) => {
            at.field("host_rewrite")
                .unsupported(format!("{template:?}"));
            HostRewrite::Keep
        }
    }
}

fn upgrades(at: &At<'_>, messages: Vec<pb::route_action::UpgradeConfig>) -> Vec<(String, bool)> {
    let mut upgrades: Vec<(String, bool)> = Vec::with_capacity(messages.len());
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, message => pb::route_action::UpgradeConfig {
            supported: upgrade_type, enabled;
            refused: connect_config;
        });
        let at = at.field("upgrade_type");
        let upgrade = upgrade_type_of(&at, &upgrade_type);
        if upgrades.iter().any(|(known, _)| *known == upgrade) {
            at.error(format!("{upgrade:?} appears more than once"));
        }
        upgrades.push((upgrade, enabled.is_none_or(|enabled| enabled.value)));
    }
    upgrades
}

fn direct_response(at: &At<'_>, message: pb::DirectResponseAction) -> Option<RouteAction> {
    take!(at, message => pb::DirectResponseAction {
        supported: status, body;
        refused: body_format;
    });
    let at_status = at.field("status");
    let sound = u16::try_from(status)
        .ok()
        .filter(|status| (200..600).contains(status));
    if sound.is_none() {
        at_status.error(format!("{status}: must be from 200 to 599"));
    }
    let at_body = at.field("body");
    let body = body
        .and_then(|message| inline_text(&at_body, message))
        .unwrap_or_default();
    if body.len() > MAX_BODY {
        at_body.error(format!("{} bytes: must be at most {MAX_BODY}", body.len()));
    }
    Some(RouteAction::DirectResponse {
        status: sound?,
        body: Bytes::from(body),
    })
}
