//! `envoy.config.rbac.v3`: who may do what.

use ipnet::IpNet;

use super::{
    matcher::StringMatcher,
    metadata::{FilterStateMatcher, MetadataMatcher, MetadataSource},
    route::HeaderMatcher,
};

/// `envoy.extensions.filters.http.rbac.v3.RBAC`, and what the network filter shares with it.
#[derive(Debug, Default)]
pub struct Filter {
    /// What is enforced; none: nothing.
    pub rules: Option<Rules>,
    /// What is only counted.
    pub shadow_rules: Option<Rules>,
    /// Part of the names of what `rules` count, and before the keys of their metadata.
    pub rules_stat_prefix: String,
    /// The same of `shadow_rules`.
    pub shadow_rules_stat_prefix: String,
    /// Count for each policy, too.
    pub track_per_rule_stats: bool,
}

/// `RBAC`
#[derive(Debug)]
pub struct Rules {
    /// What becomes of a request that a policy matches.
    pub action: Action,
    /// In the order of their names; the first that matches decides.
    pub policies: Vec<Policy>,
}

/// `RBAC.Action`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// What matches is let through, all else is not.
    Allow,
    /// What matches is not let through, all else is.
    Deny,
    /// All is let through; what matches is marked for the access log.
    Log,
}

/// `Policy`
#[derive(Debug)]
pub struct Policy {
    /// Its key.
    pub name: String,
    /// One of these must match what is done,
    pub permissions: Vec<Rule>,
    /// and one of these who does it.
    pub principals: Vec<Rule>,
}

/// `Permission` and `Principal`, which are made of the same conditions.
#[derive(Debug)]
pub enum Rule {
    /// `any`
    Any,
    /// `and_rules`, `and_ids`
    And(Vec<Rule>),
    /// `or_rules`, `or_ids`
    Or(Vec<Rule>),
    /// `not_rule`, `not_id`
    Not(Box<Rule>),
    /// `header`
    Header(HeaderMatcher),
    /// `url_path`: path without query and fragment.
    UrlPath(StringMatcher),
    /// `destination_ip`
    DestinationIp(IpNet),
    /// `destination_port`, `destination_port_range`: from, up to and without.
    DestinationPort {
        /// Inclusive.
        start: u32,
        /// Exclusive.
        end: u32,
    },
    /// `authenticated`: by the peer's certificate; none: whoever speaks TLS.
    Authenticated(Option<StringMatcher>),
    /// `source_ip`: of the connection, as a listener filter left it.
    SourceIp(IpNet),
    /// `direct_remote_ip`: of the socket's other end.
    DirectRemoteIp(IpNet),
    /// `remote_ip`: of the client, which `x-forwarded-for` may name.
    RemoteIp(IpNet),
    /// `requested_server_name`; empty without one.
    RequestedServerName(StringMatcher),
    /// `metadata`, `sourced_metadata`
    Metadata {
        /// Whose.
        source: MetadataSource,
        /// What must hold.
        matcher: MetadataMatcher,
    },
    /// `filter_state`
    FilterState(FilterStateMatcher),
}

// === impl Policy ===

impl Policy {
    /// Whether a rule is about headers, which only requests have.
    pub(crate) fn asks_for_headers(&self) -> bool {
        let mut rules = self.permissions.iter().chain(&self.principals);
        rules.any(Rule::asks_for_headers)
    }
}

// === impl Rule ===

impl Rule {
    fn asks_for_headers(&self) -> bool {
        match self {
            Self::Header(_) => true,
            Self::And(rules) | Self::Or(rules) => rules.iter().any(Self::asks_for_headers),
            Self::Not(rule) => rule.asks_for_headers(),
            _ => false,
        }
    }
}
