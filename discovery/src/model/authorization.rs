//! Who may do what at a pod, as rules say it.

use std::{net::IpAddr, sync::Arc};

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationRule {
    /// What becomes of what it is about.
    pub action: Action,
    /// Who is asked, where that is [`Action::Custom`].
    pub provider: Option<Arc<str>>,
    /// Whether it is only watched.
    pub is_dry_run: bool,
    /// It is about what one of these says. Without any it is about nothing, so that one which
    /// allows lets nobody in.
    pub clauses: Vec<Clause>,
}

/// What becomes of a connection or a request, in the order in which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A service is asked.
    Custom,
    /// It is marked for logs.
    Audit,
    /// It is refused.
    Deny,
    /// It is let through; where rules allow something, all else is refused.
    Allow,
}

/// Some callers, some operations, and what else must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Its place in the object, from 0.
    pub index: usize,
    /// Callers, each by what must hold of it, all of it. Anybody if there are none.
    pub sources: Vec<Vec<Condition>>,
    /// Operations, each by what must hold of it, all of it. Anything if there are none.
    pub operations: Vec<Vec<Condition>>,
    /// What must hold beside, all of it.
    pub conditions: Vec<Condition>,
}

/// An attribute has one of some values, where there are some, and none of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The attribute.
    pub attribute: Attribute,
    /// One of these, or whatever it is if there are none.
    pub values: Vec<Value>,
    /// None of these.
    pub not_values: Vec<Value>,
}

/// What is known of a connection or a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, by the caller's certificate.
    Principal,
    /// The caller's namespace, by its certificate.
    Namespace,
    /// `NAMESPACE/ACCOUNT` of the caller, by its certificate.
    ServiceAccount,
    /// The trust domain of the caller's certificate.
    TrustDomain,
    /// Address of the peer of the connection.
    SourceIp,
    /// Address of the client, as far as trusted proxies name it.
    RemoteIp,
    /// `ISSUER/SUBJECT` of a request's token that was found valid.
    TokenPrincipal,
    /// The audiences of that token.
    TokenAudiences,
    /// Who it was issued to, its claim `azp`.
    TokenPresenter,
    /// A claim of it, by the way to it.
    TokenClaim(Arc<[Arc<str>]>),
    /// Host that a request names.
    Host,
    /// Its method.
    Method,
    /// Its path, without a query.
    Path,
    /// A header of it.
    Header(Arc<str>),
    /// Address that the connection was made to.
    DestinationIp,
    /// Its port.
    DestinationPort,
    /// SNI.
    ServerName,
}

/// What an attribute may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Anything, as long as it is there.
    Present,
    /// Exactly this.
    Exact(Arc<str>),
    /// What begins so.
    Prefix(Arc<str>),
    /// What ends so.
    Suffix(Arc<str>),
    /// A path with `{*}` for a segment and `{**}` for any number of them.
    Template(Arc<str>),
    /// An address of this network.
    Network(IpAddr, u8),
    /// A port.
    Port(u16),
}

// === impl Attribute ===

impl Attribute {
    /// Whether only requests of HTTP have it.
    #[must_use]
    pub fn is_of_requests(&self) -> bool {
        matches!(
            self,
            Self::TokenPrincipal
                | Self::TokenAudiences
                | Self::TokenPresenter
                | Self::TokenClaim(_)
                | Self::Host
                | Self::Method
                | Self::Path
                | Self::Header(_)
        )
    }
}

// === impl Clause ===

impl Clause {
    /// What it says of connections that are not HTTP, of which attributes of requests are not known.
    /// One that refuses does so whatever they would be; another one says nothing if it asks for one.
    #[must_use]
    pub fn of_connections(&self, action: Action) -> Option<Self> {
        let known = |conditions: &Vec<Condition>| -> Option<Vec<Condition>> {
            let known = conditions.iter();
            let known = known.filter(|it| !it.attribute.is_of_requests());
            let known: Vec<_> = known.cloned().collect();
            (matches!(action, Action::Deny | Action::Custom) || known.len() == conditions.len())
                .then_some(known)
        };
        let all_known = |all: &[Vec<Condition>]| all.iter().map(known).collect::<Option<Vec<_>>>();
        Some(Self {
            index: self.index,
            sources: all_known(&self.sources)?,
            operations: all_known(&self.operations)?,
            conditions: known(&self.conditions)?,
        })
    }
}
