//! What chooses the endpoint where a cluster goes by a hash.

use weir_api::xds::envoy::{config::route::v3 as route, r#type::v3 as pb};

use super::at::{At, take};
use crate::config::cluster::HashPolicy;

/// Envoy takes one for a connection.
const TCP_POLICIES: usize = 1;

pub(super) fn of_route(
    at: &At<'_>,
    messages: Vec<route::route_action::HashPolicy>,
) -> Vec<HashPolicy> {
    use route::route_action::hash_policy::PolicySpecifier;

    let mut policies = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, message => route::route_action::HashPolicy {
            supported: policy_specifier;
            ignored: terminal = "there is one kind of policy, which always gives a hash";
        });
        let name = match policy_specifier {
            Some(PolicySpecifier::ConnectionProperties(properties)) => {
                policies.extend(properties.source_ip.then_some(HashPolicy::SourceIp));
                continue;
            }
            Some(PolicySpecifier::Header(_)) => "header",
            Some(PolicySpecifier::Cookie(_)) => "cookie",
            Some(PolicySpecifier::QueryParameter(_)) => "query_parameter",
            Some(PolicySpecifier::FilterState(_)) => "filter_state",
            None => {
                at.error("one of header, cookie, connection_properties and the like is required");
                continue;
            }
        };
        at.field(name).unsupported("a hash of it");
    }
    policies
}

pub(super) fn of_tcp(at: &At<'_>, messages: Vec<pb::HashPolicy>) -> Vec<HashPolicy> {
    use pb::hash_policy::PolicySpecifier;

    if messages.len() > TCP_POLICIES {
        at.error("must have one entry at most");
    }
    let mut policies = Vec::new();
    for (index, message) in messages.into_iter().enumerate() {
        let at = at.index(index);
        take!(at, message => pb::HashPolicy { supported: policy_specifier; });
        match policy_specifier {
            Some(PolicySpecifier::SourceIp(_)) => policies.push(HashPolicy::SourceIp),
            Some(PolicySpecifier::FilterState(_)) => {
                at.field("filter_state").unsupported("a hash of it");
            }
            None => at.error("source_ip or filter_state is required"),
        }
    }
    policies
}
