//! Conditions as permissions and principals, which have the same shape.

use std::net::IpAddr;

use weir_api::{
    spiffe::{DEFAULT_TRUST_DOMAIN, TrustDomain},
    xds::envoy::{
        config::{
            core::v3::CidrRange,
            rbac::v3::{Permission, Principal, permission, principal},
            route::v3::{HeaderMatcher, header_matcher::HeaderMatchSpecifier},
        },
        r#type::matcher::v3::{
            PathMatcher, RegexMatcher, StringMatcher, path_matcher, string_matcher::MatchPattern,
        },
    },
};

use super::{super::wrapped, token};
use crate::model::{Attribute, Condition, Value};

/// Names that values are read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) trust_domain: &'a TrustDomain,
}

/// A permission or a principal.
pub(super) trait Expression: Sized {
    fn all(of: Vec<Self>) -> Self;
    fn any_of(these: Vec<Self>) -> Self;
    fn not(this: Self) -> Self;
    fn any() -> Self;

    /// That an attribute has a value; `None` if the other kind of expression says that.
    fn has(attribute: &Attribute, value: &Value, names: Names<'_>) -> Option<Self>;

    /// One for each of the `alternatives`, with what must hold beside; one alone if there are none.
    fn alternatives(
        alternatives: &[Vec<Condition>],
        beside: &[Condition],
        names: Names<'_>,
    ) -> Vec<Self> {
        let none = Vec::new();
        let alternatives = match alternatives {
            [] => std::slice::from_ref(&none),
            some => some,
        };
        let alternatives = alternatives.iter().map(|conditions| {
            let conditions = conditions.iter().chain(beside);
            let mut all: Vec<_> = conditions
                .flat_map(|condition| Self::holds(condition, names))
                .collect();
            match all.len() {
                0 => Self::any(),
                1 => all.remove(0),
                _ => Self::all(all),
            }
        });
        alternatives.collect()
    }

    /// What must hold of it, all of it.
    fn holds(condition: &Condition, names: Names<'_>) -> Vec<Self> {
        let one_of = |values: &[Value]| {
            let values = values.iter();
            let mut values: Vec<_> = values
                .filter_map(|value| Self::has(&condition.attribute, value, names))
                .collect();
            match values.len() {
                0 => None,
                1 => Some(values.remove(0)),
                _ => Some(Self::any_of(values)),
            }
        };
        let some = one_of(&condition.values);
        some.into_iter()
            .chain(one_of(&condition.not_values).map(Self::not))
            .collect()
    }
}

impl Expression for Permission {
    fn all(rules: Vec<Self>) -> Self {
        rule(permission::Rule::AndRules(permission::Set { rules }))
    }

    fn any_of(rules: Vec<Self>) -> Self {
        rule(permission::Rule::OrRules(permission::Set { rules }))
    }

    fn not(this: Self) -> Self {
        rule(permission::Rule::NotRule(Box::new(this)))
    }

    fn any() -> Self {
        rule(permission::Rule::Any(true))
    }

    fn has(attribute: &Attribute, value: &Value, _: Names<'_>) -> Option<Self> {
        use permission::Rule;
        Some(rule(match attribute {
            Attribute::Host => Rule::Header(header(":authority", value, true)),
            Attribute::Method => Rule::Header(header(":method", value, false)),
            Attribute::Path => Rule::UrlPath(PathMatcher {
                rule: Some(path_matcher::Rule::Path(text(value))),
            }),
            Attribute::DestinationIp => Rule::DestinationIp(network(value)?),
            Attribute::DestinationPort => match value {
                Value::Port(port) => Rule::DestinationPort((*port).into()),
                _ => return None,
            },
            Attribute::ServerName => Rule::RequestedServerName(text(value)),
            _ => return None,
        }))
    }
}

fn rule(rule: permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

impl Expression for Principal {
    fn all(ids: Vec<Self>) -> Self {
        id(principal::Identifier::AndIds(principal::Set { ids }))
    }

    fn any_of(ids: Vec<Self>) -> Self {
        id(principal::Identifier::OrIds(principal::Set { ids }))
    }

    fn not(this: Self) -> Self {
        id(principal::Identifier::NotId(Box::new(this)))
    }

    fn any() -> Self {
        id(principal::Identifier::Any(true))
    }

    fn has(attribute: &Attribute, value: &Value, names: Names<'_>) -> Option<Self> {
        use principal::Identifier;
        let identifier = match attribute {
            Attribute::Principal => authenticated(names.principal(value)),
            Attribute::Namespace => authenticated(regex(format!(
                "spiffe://[^/]+/ns/{}/sa/.+",
                wildcard(value)
            ))),
            Attribute::ServiceAccount => match value {
                Value::Exact(account) => {
                    let (namespace, account) = account.split_once('/')?;
                    let [namespace, account] = [namespace, account].map(escaped);
                    authenticated(regex(format!("spiffe://[^/]+/ns/{namespace}/sa/{account}")))
                }
                _ => return None,
            },
            Attribute::TrustDomain => {
                authenticated(regex(format!("spiffe://{}/.+", names.domain(value))))
            }
            Attribute::SourceIp => Identifier::DirectRemoteIp(network(value)?),
            Attribute::RemoteIp => Identifier::RemoteIp(network(value)?),
            Attribute::Header(name) => Identifier::Header(header(name, value, false)),
            Attribute::TokenPrincipal => return Some(token::principal(value)),
            Attribute::TokenAudiences => return Some(token::claim(&["aud"], value)),
            Attribute::TokenPresenter => return Some(token::claim(&["azp"], value)),
            Attribute::TokenClaim(path) => return Some(token::claim(path, value)),
            _ => return None,
        };
        Some(id(identifier))
    }
}

fn id(identifier: principal::Identifier) -> Principal {
    Principal {
        identifier: Some(identifier),
    }
}

// === impl Names ===

impl Names<'_> {
    /// Of the whole identity, of which values leave out the scheme.
    fn principal(&self, value: &Value) -> StringMatcher {
        let of_scheme = |text: &str| {
            let rest = text.strip_prefix(DEFAULT_TRUST_DOMAIN);
            match rest.filter(|rest| rest.starts_with('/')) {
                Some(rest) => format!("spiffe://{}{rest}", self.trust_domain),
                None => format!("spiffe://{text}"),
            }
        };
        matcher(match value {
            Value::Exact(text) => MatchPattern::Exact(of_scheme(text)),
            Value::Prefix(text) => MatchPattern::Prefix(of_scheme(text)),
            other => return text(other),
        })
    }

    fn domain(&self, value: &Value) -> String {
        match value {
            Value::Exact(text) if &**text == DEFAULT_TRUST_DOMAIN => {
                escaped(self.trust_domain.as_str())
            }
            other => wildcard(other),
        }
    }
}

fn authenticated(name: StringMatcher) -> principal::Identifier {
    principal::Identifier::Authenticated(principal::Authenticated {
        principal_name: Some(name),
    })
}

fn header(name: &str, value: &Value, ignore_case: bool) -> HeaderMatcher {
    let specifier = match value {
        Value::Present => HeaderMatchSpecifier::PresentMatch(true),
        value => HeaderMatchSpecifier::StringMatch(StringMatcher {
            ignore_case,
            ..text(value)
        }),
    };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..HeaderMatcher::default()
    }
}

pub(super) fn text(value: &Value) -> StringMatcher {
    match value {
        Value::Exact(text) => matcher(MatchPattern::Exact((**text).to_owned())),
        Value::Prefix(text) => matcher(MatchPattern::Prefix((**text).to_owned())),
        Value::Suffix(text) => matcher(MatchPattern::Suffix((**text).to_owned())),
        Value::Template(template) => regex(path_template(template)),
        Value::Present | Value::Network(..) | Value::Port(_) => regex(".+".to_owned()),
    }
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(pattern),
        ..StringMatcher::default()
    }
}

/// The whole text must match.
fn regex(regex: String) -> StringMatcher {
    matcher(MatchPattern::SafeRegex(RegexMatcher {
        regex,
        ..RegexMatcher::default()
    }))
}

/// One segment of an identity.
fn wildcard(value: &Value) -> String {
    match value {
        Value::Exact(text) => escaped(text),
        Value::Prefix(text) => format!("{}[^/]*", escaped(text)),
        Value::Suffix(text) => format!("[^/]*{}", escaped(text)),
        _ => "[^/]+".to_owned(),
    }
}

/// `{*}` is one segment, `{**}` as many as there are.
fn path_template(template: &str) -> String {
    let segments = template.split('/').map(|segment| match segment {
        "{*}" => "[^/]+".to_owned(),
        "{**}" => ".*".to_owned(),
        text => escaped(text),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_punctuation() && !['-', '_', '/'].contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn network(value: &Value) -> Option<CidrRange> {
    let Value::Network(address, length) = value else {
        return None;
    };
    Some(CidrRange {
        address_prefix: IpAddr::to_string(address),
        prefix_len: Some(wrapped((*length).into())),
    })
}
