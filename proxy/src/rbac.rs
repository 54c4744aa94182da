//! Who may do what: the engine behind the RBAC filters for connections and for requests. Rules are
//! decided on what is known, without I/O and without a clock.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/security/rbac_filter>

mod asked;

use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::{
    config::{
        metadata::MetadataSource,
        rbac::{Action, Filter, Policy, Rule, Rules},
    },
    http::head::{RequestHead, header_matches},
    metadata::{FilterState, Metadata},
    net::tls::TlsInfo,
};

pub use asked::Asked;

/// What rules may ask of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionAttributes<'a> {
    /// The client, as listener filters left it: a PROXY protocol header may have named it.
    pub source: SocketAddr,
    /// The other end of the socket.
    pub direct_remote: SocketAddr,
    /// The client, as far as it is known: `x-forwarded-for` may have named it.
    pub remote: SocketAddr,
    /// Where the client wanted to go.
    pub destination: SocketAddr,
    /// SNI; empty without one.
    pub server_name: &'a str,
    /// What its handshake has shown, if it speaks TLS with us.
    pub tls: Option<&'a TlsInfo>,
}

/// What rules may ask.
#[derive(Clone, Copy)]
pub struct Attributes<'a> {
    /// Of the connection.
    pub connection: &'a ConnectionAttributes<'a>,
    /// The request's head; none: rules are for a connection, and those on requests do not hold.
    pub request: Option<&'a dyn RequestHead>,
    /// What filters said.
    pub metadata: &'a Metadata,
    /// What the configuration says of the route, if there is one.
    pub route_metadata: Option<&'a Metadata>,
    /// Objects that filters left.
    pub filter_state: &'a FilterState,
}

/// What rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'c> {
    /// Whether to let it through.
    pub is_allowed: bool,
    /// The policy that matched.
    pub policy: Option<&'c str>,
}

/// Whether rules are followed or only watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// Followed.
    Enforced,
    /// Watched.
    Shadow,
}

// === impl Rules ===

impl Rules {
    /// What the rules say.
    #[must_use]
    pub fn verdict(&self, attributes: &Attributes<'_>) -> Verdict<'_> {
        let mut policies = self.policies.iter();
        let policy = policies.find(|policy| policy.matches(attributes));
        let is_allowed = match self.action {
            Action::Allow => policy.is_some(),
            Action::Deny => policy.is_none(),
            Action::Log => true,
        };
        Verdict {
            is_allowed,
            policy: policy.map(|policy| policy.name.as_str()),
        }
    }
}

// === impl Policy ===

impl Policy {
    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        any(&self.permissions, attributes) && any(&self.principals, attributes)
    }
}

fn any(rules: &[Rule], attributes: &Attributes<'_>) -> bool {
    rules.iter().any(|rule| rule.matches(attributes))
}

// === impl Rule ===

impl Rule {
    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        let connection = attributes.connection;
        match self {
            Self::Any => true,
            Self::And(rules) => rules.iter().all(|rule| rule.matches(attributes)),
            Self::Or(rules) => any(rules, attributes),
            Self::Not(rule) => !rule.matches(attributes),
            Self::Header(matcher) => match attributes.request {
                Some(request) => header_matches(matcher, request),
                None => header_matches(matcher, &NoRequest),
            },
            Self::UrlPath(matcher) => {
                let path = attributes.request.map(RequestHead::path_only);
                path.is_some_and(|path| matcher.matches(path))
            }
            Self::DestinationIp(range) => range.contains(&connection.destination.ip()),
            Self::DestinationPort { start, end } => {
                (*start..*end).contains(&u32::from(connection.destination.port()))
            }
            Self::Authenticated(None) => connection.tls.is_some(),
            Self::Authenticated(Some(matcher)) => {
                let names = connection.tls.map(|tls| tls.peer_names());
                match names {
                    None => false,
                    Some(Some(names)) => names.any_principal(|name| matcher.matches(name)),
                    // Who shows no certificate has an empty subject, as in Envoy.
                    Some(None) => matcher.matches(""),
                }
            }
            Self::SourceIp(range) => range.contains(&connection.source.ip()),
            Self::DirectRemoteIp(range) => range.contains(&connection.direct_remote.ip()),
            Self::RemoteIp(range) => range.contains(&connection.remote.ip()),
            Self::RequestedServerName(matcher) => matcher.matches(connection.server_name),
            Self::Metadata { source, matcher } => match (source, attributes.route_metadata) {
                (MetadataSource::Dynamic, _) => matcher.matches(attributes.metadata),
                (MetadataSource::Route, Some(metadata)) => matcher.matches(metadata),
                (MetadataSource::Route, None) => false,
            },
            Self::FilterState(matcher) => matcher.matches(attributes.filter_state),
        }
    }
}

// === impl Verdict ===

impl Verdict<'_> {
    /// What became of it, for dynamic metadata: under keys behind the configured prefix.
    #[must_use]
    pub fn metadata(&self, filter: &Filter, enforcement: Enforcement) -> Map<String, Value> {
        let (prefix, kind) = match enforcement {
            Enforcement::Enforced => (&filter.rules_stat_prefix, "enforced"),
            Enforcement::Shadow => (&filter.shadow_rules_stat_prefix, "shadow"),
        };
        let mut fields = Map::new();
        if let Some(policy) = self.policy {
            fields.insert(format!("{prefix}{kind}_effective_policy_id"), policy.into());
        }
        let result = if self.is_allowed { "allowed" } else { "denied" };
        fields.insert(format!("{prefix}{kind}_engine_result"), result.into());
        fields
    }

    /// `%RESPONSE_CODE_DETAILS%` or `%CONNECTION_TERMINATION_DETAILS%` of what was not let through. No
    /// space in it, so that it is one word of an access log.
    #[must_use]
    pub fn details(&self) -> String {
        let policy = self
            .policy
            .unwrap_or("none")
            .replace(char::is_whitespace, "_");
        format!("rbac_access_denied_matched_policy[{policy}]")
    }
}

/// What rules on requests see of a connection that has none: a head without anything.
struct NoRequest;

impl crate::http::head::Fields for NoRequest {
    fn any_line<'h>(
        &'h self,
        _: &str,
        _: &mut dyn FnMut(std::borrow::Cow<'h, str>) -> bool,
    ) -> bool {
        false
    }

    fn any_name<'h>(&'h self, _: &mut dyn FnMut(std::borrow::Cow<'h, str>) -> bool) -> bool {
        false
    }
}

impl RequestHead for NoRequest {
    fn method(&self) -> &str {
        ""
    }

    fn path(&self) -> &str {
        ""
    }

    fn authority(&self) -> &str {
        ""
    }

    fn protocol(&self) -> &'static str {
        ""
    }

    fn field(&self, _: &str) -> Option<std::borrow::Cow<'_, str>> {
        None
    }
}

#[cfg(test)]
mod tests;
