//! What chooses the endpoint where a cluster goes by a hash.

use weir_api::xds::envoy::{
    config::route::v3::route_action::{self, hash_policy as pb_route},
    r#type::v3 as pb,
};

use super::{
    at::{At, take},
    matcher::substitution,
    value::{duration, header_name, header_value, non_empty},
};
use crate::config::hash::{GeneratedCookie, HashPolicy, Hashed};

/// Envoy takes one for a connection.
const TCP_POLICIES: usize = 1;

pub(super) fn of_route(at: &At<'_>, messages: Vec<route_action::HashPolicy>) -> Vec<HashPolicy> {
    let messages = messages.into_iter().enumerate();
    let policies = messages.filter_map(|(index, message)| {
        let at = at.index(index);
        take!(at, message => route_action::HashPolicy { supported: policy_specifier, terminal; });
        if policy_specifier.is_none() {
            at.error("one of header, cookie, connection_properties and the like is required");
        }
        Some(HashPolicy {
            of: hashed(&at, policy_specifier?)?,
            is_terminal: terminal,
        })
    });
    policies.collect()
}

fn hashed(at: &At<'_>, specifier: pb_route::PolicySpecifier) -> Option<Hashed> {
    use pb_route::PolicySpecifier;

    Some(match specifier {
        PolicySpecifier::Header(message) => {
            let at = at.field("header");
            take!(at, message => route_action::hash_policy::Header { supported: header_name, regex_rewrite; });
            let rewrite = regex_rewrite.map(|it| substitution(&at.field("regex_rewrite"), it));
            Hashed::Header {
                name: self::header_name(&at.field("header_name"), &header_name),
                rewrite: rewrite.flatten(),
            }
        }
        PolicySpecifier::Cookie(message) => cookie(&at.field("cookie"), message),
        PolicySpecifier::ConnectionProperties(message) => {
            let at = at.field("connection_properties");
            take!(at, message => route_action::hash_policy::ConnectionProperties { supported: source_ip; });
            // As Envoy, where one that names nothing is none.
            return source_ip.then_some(Hashed::SourceIp);
        }
        PolicySpecifier::QueryParameter(message) => {
            let at = at.field("query_parameter");
            take!(at, message => route_action::hash_policy::QueryParameter { supported: name; });
            Hashed::QueryParameter(non_empty(&at.field("name"), name))
        }
        PolicySpecifier::FilterState(message) => {
            let name = format!("{:?}, which no filter sets", message.key);
            at.field("filter_state").unsupported(name);
            return None;
        }
    })
}

fn cookie(at: &At<'_>, message: pb_route::Cookie) -> Hashed {
    take!(at, message => route_action::hash_policy::Cookie { supported: name, ttl, path, attributes; });
    let at_attributes = at.field("attributes");
    let attributes = attributes.into_iter().enumerate().map(|(index, message)| {
        let at = at_attributes.index(index);
        take!(at, message => route_action::hash_policy::CookieAttribute { supported: name, value; });
        cookie_attribute(&at, name, value)
    });
    let attributes = attributes.collect();
    let at_name = at.field("name");
    let path = header_value(&at.field("path"), path);
    Hashed::Cookie {
        name: header_value(&at_name, non_empty(&at_name, name)),
        generated: duration(&at.field("ttl"), ttl).map(|ttl| GeneratedCookie {
            ttl: ttl.as_secs(),
            path,
            attributes,
        }),
    }
}

/// An attribute of a cookie: its name, and its value, which may be empty.
pub(super) fn cookie_attribute(at: &At<'_>, name: String, value: String) -> (String, String) {
    let at_name = at.field("name");
    let name = non_empty(&at_name, header_value(&at_name, name));
    (name, header_value(&at.field("value"), value))
}

pub(super) fn of_tcp(at: &At<'_>, messages: Vec<pb::HashPolicy>) -> Vec<HashPolicy> {
    use pb::hash_policy::PolicySpecifier;

    if messages.len() > TCP_POLICIES {
        at.error("must have one entry at most");
    }
    let messages = messages.into_iter().enumerate();
    let policies = messages.filter_map(|(index, message)| {
        let at = at.index(index);
        take!(at, message => pb::HashPolicy { supported: policy_specifier; });
        let of = match policy_specifier {
            Some(PolicySpecifier::SourceIp(_)) => Hashed::SourceIp,
            Some(PolicySpecifier::FilterState(message)) => {
                let name = format!("{:?}, which no filter sets", message.key);
                at.field("filter_state").unsupported(name);
                return None;
            }
            None => {
                at.error("source_ip or filter_state is required");
                return None;
            }
        };
        Some(HashPolicy {
            of,
            is_terminal: false,
        })
    });
    policies.collect()
}
