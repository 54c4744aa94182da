//! Rules on who may do what, for requests and for connections.

use weir_api::xds::envoy::{
    config::rbac::v3::{self as pb, permission, principal},
    r#type::{matcher::v3 as matcher_v3, v3::Int32Range},
};

use super::{
    at::{At, take},
    matcher::string_matcher,
    metadata::{filter_state_matcher, metadata_matcher},
    route_match::header_matcher,
    value::{cidr_range, enumeration},
};
use crate::config::{
    matcher::StringMatcher,
    metadata::MetadataSource,
    rbac::{Action, Policy, Rule, Rules},
};

/// Ports end here; Envoy takes one more as the end of a range.
const PORTS: i32 = 65_536;

/// The rules, with policies in the order of their names.
pub(super) fn rules(at: &At<'_>, message: pb::Rbac) -> Option<Rules> {
    take!(at, message => pb::Rbac {
        supported: action, policies;
        refused: audit_logging_options;
    });
    let action = match enumeration(&at.field("action"), action)? {
        pb::rbac::Action::Allow => Action::Allow,
        pb::rbac::Action::Deny => Action::Deny,
        pb::rbac::Action::Log => Action::Log,
    };
    let at = at.field("policies");
    let mut policies: Vec<_> = policies.into_iter().collect();
    policies.sort_by(|(one, _), (other, _)| one.cmp(other));
    let policies = policies.into_iter();
    Some(Rules {
        action,
        policies: policies
            .map(|(name, message)| policy(&at.key(&name), &name, message))
            .collect(),
    })
}

fn policy(at: &At<'_>, name: &str, message: pb::Policy) -> Policy {
    take!(at, message => pb::Policy {
        supported: permissions, principals;
        refused: condition, checked_condition, cel_config;
    });
    Policy {
        name: name.to_owned(),
        permissions: self::permissions(&at.field("permissions"), permissions),
        principals: self::principals(&at.field("principals"), principals),
    }
}

fn permissions(at: &At<'_>, messages: Vec<pb::Permission>) -> Vec<Rule> {
    if messages.is_empty() {
        at.error("must not be empty");
    }
    let messages = messages.into_iter().enumerate();
    messages
        .filter_map(|(index, message)| permission(&at.index(index), message))
        .collect()
}

fn permission(at: &At<'_>, message: pb::Permission) -> Option<Rule> {
    use permission::Rule as Of;

    take!(at, message => pb::Permission { supported: rule; });
    let set = |name: &str, permission::Set { rules }: permission::Set| {
        permissions(&at.field(name).field("rules"), rules)
    };
    #[expect(deprecated, reason = "Envoy still takes what they replace")]
    Some(match at.required(rule)? {
        Of::AndRules(rules) => Rule::And(set("and_rules", rules)),
        Of::OrRules(rules) => Rule::Or(set("or_rules", rules)),
        Of::NotRule(rule) => Rule::Not(Box::new(permission(&at.field("not_rule"), *rule)?)),
        Of::Any(any) => self::any(at, any),
        Of::Header(message) => Rule::Header(header_matcher(&at.field("header"), message)?),
        Of::UrlPath(message) => Rule::UrlPath(path_matcher(&at.field("url_path"), message)?),
        Of::DestinationIp(message) => {
            Rule::DestinationIp(cidr_range(&at.field("destination_ip"), message)?)
        }
        Of::DestinationPort(port) => {
            if port > 65_535 {
                at.field("destination_port")
                    .error(format!("{port}: must be at most 65535"));
            }
            Rule::DestinationPort {
                start: port,
                end: port.saturating_add(1),
            }
        }
        Of::DestinationPortRange(range) => port_range(&at.field("destination_port_range"), range)?,
        Of::Metadata(message) => metadata(&at.field("metadata"), MetadataSource::Dynamic, message)?,
        Of::SourcedMetadata(message) => sourced(&at.field("sourced_metadata"), message)?,
        Of::RequestedServerName(message) => {
            let at = at.field("requested_server_name");
            Rule::RequestedServerName(string_matcher(&at, message)?)
        }
        Of::Matcher(extension) => {
            at.field("matcher")
                .unsupported(format!("{:?}", extension.name));
            return None;
        }
        Of::UriTemplate(extension) => {
            at.field("uri_template")
                .unsupported(format!("{:?}", extension.name));
            return None;
        }
    })
}

fn principals(at: &At<'_>, messages: Vec<pb::Principal>) -> Vec<Rule> {
    if messages.is_empty() {
        at.error("must not be empty");
    }
    let messages = messages.into_iter().enumerate();
    messages
        .filter_map(|(index, message)| principal(&at.index(index), message))
        .collect()
}

fn principal(at: &At<'_>, message: pb::Principal) -> Option<Rule> {
    use principal::Identifier as Of;

    take!(at, message => pb::Principal { supported: identifier; });
    let set = |name: &str, principal::Set { ids }: principal::Set| {
        principals(&at.field(name).field("ids"), ids)
    };
    #[expect(deprecated, reason = "Envoy still takes what they replace")]
    Some(match at.required(identifier)? {
        Of::AndIds(ids) => Rule::And(set("and_ids", ids)),
        Of::OrIds(ids) => Rule::Or(set("or_ids", ids)),
        Of::NotId(id) => Rule::Not(Box::new(principal(&at.field("not_id"), *id)?)),
        Of::Any(any) => self::any(at, any),
        Of::Authenticated(message) => {
            let at = at.field("authenticated");
            take!(at, message => principal::Authenticated { supported: principal_name; });
            match principal_name {
                None => Rule::Authenticated(None),
                Some(name) => {
                    let matcher = string_matcher(&at.field("principal_name"), name)?;
                    Rule::Authenticated(Some(matcher))
                }
            }
        }
        Of::SourceIp(message) => Rule::SourceIp(cidr_range(&at.field("source_ip"), message)?),
        Of::DirectRemoteIp(message) => {
            Rule::DirectRemoteIp(cidr_range(&at.field("direct_remote_ip"), message)?)
        }
        Of::RemoteIp(message) => Rule::RemoteIp(cidr_range(&at.field("remote_ip"), message)?),
        Of::Header(message) => Rule::Header(header_matcher(&at.field("header"), message)?),
        Of::UrlPath(message) => Rule::UrlPath(path_matcher(&at.field("url_path"), message)?),
        Of::Metadata(message) => metadata(&at.field("metadata"), MetadataSource::Dynamic, message)?,
        Of::SourcedMetadata(message) => sourced(&at.field("sourced_metadata"), message)?,
        Of::FilterState(message) => {
            Rule::FilterState(filter_state_matcher(&at.field("filter_state"), message)?)
        }
        Of::Custom(extension) => {
            at.field("custom")
                .unsupported(format!("{:?}", extension.name));
            return None;
        }
    })
}

fn any(at: &At<'_>, any: bool) -> Rule {
    if !any {
        at.field("any").error("must be true");
    }
    Rule::Any
}

fn path_matcher(at: &At<'_>, message: matcher_v3::PathMatcher) -> Option<StringMatcher> {
    take!(at, message => matcher_v3::PathMatcher { supported: rule; });
    let at = at.field("path");
    let matcher_v3::path_matcher::Rule::Path(message) = at.required(rule)?;
    string_matcher(&at, message)
}

fn port_range(at: &At<'_>, Int32Range { start, end }: Int32Range) -> Option<Rule> {
    for (name, bound) in [("start", start), ("end", end)] {
        if !(0..=PORTS).contains(&bound) {
            at.field(name)
                .error(format!("{bound}: must be from 0 to {PORTS}"));
        }
    }
    if start >= end {
        at.error(format!("{start} to {end}: must not be empty"));
    }
    Some(Rule::DestinationPort {
        start: u32::try_from(start).ok()?,
        end: u32::try_from(end).ok()?,
    })
}

fn metadata(
    at: &At<'_>,
    source: MetadataSource,
    message: matcher_v3::MetadataMatcher,
) -> Option<Rule> {
    let matcher = metadata_matcher(at, message)?;
    Some(Rule::Metadata { source, matcher })
}

fn sourced(at: &At<'_>, message: pb::SourcedMetadata) -> Option<Rule> {
    take!(at, message => pb::SourcedMetadata { supported: metadata_matcher, metadata_source; });
    let source = match enumeration(&at.field("metadata_source"), metadata_source)? {
        pb::MetadataSource::Dynamic => MetadataSource::Dynamic,
        pb::MetadataSource::Route => MetadataSource::Route,
    };
    let at = at.field("metadata_matcher");
    metadata(&at, source, at.required(metadata_matcher)?)
}
