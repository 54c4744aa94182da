//! What rules say of requests to services: which of them go where, and what is changed on the way.

mod advice;
mod backend;
mod delegate;
mod fault;
mod rank;
mod routings;
mod source;
mod stream;

use std::{sync::Arc, time::Duration};

use super::{Exports, HostScope, NamespacedName, Service, ServicePort};
pub use backend::{Backend, Referrer, Unresolved};
pub use fault::{Abort, Fault, Share};
pub use rank::Rank;
pub use routings::{Grant, Routings};
pub use source::SourceMatch;
pub use stream::{StreamMatch, StreamRule};

/// What one object says of requests to its parents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// Whose rules for rules it follows.
    pub grammar: Grammar,
    /// What requests it is about.
    pub speech: Speech,
    /// The services whose requests it routes, as Gateway API names them.
    pub parents: Vec<Parent>,
    /// The same as Istio names them.
    pub hosts: Vec<HostScope>,
    /// Callers in which namespaces it is for.
    pub exports: Exports,
    /// What it does with them: the first in order of rank that matches.
    pub rules: Vec<RoutingRule>,
    /// What it does with connections that are not looked into: the first that matches.
    pub streams: Vec<StreamRule>,
}

/// Whose rules for rules an object follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grammar {
    /// Gateway API's: of several objects all count, and the most special match. Where objects of both are
    /// about one port, these count alone.
    #[default]
    Gateway,
    /// Istio's: of several objects one counts, and the first match of it.
    Istio,
}

/// What is spoken by the requests that an object routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speech {
    /// HTTP.
    #[default]
    Http,
    /// gRPC. Where objects of both are about one port, these count alone.
    Grpc,
}

/// A service, or one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    /// The service.
    pub service: NamespacedName,
    /// Only the port of that number.
    pub port: Option<u16>,
    /// Only the port of that name.
    pub section: Option<Arc<str>>,
}

/// What is done with requests that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRule {
    /// Name of what it becomes, for logs: the object's and its own.
    pub name: Arc<str>,
    /// Any of these must match.
    pub matches: Vec<RequestMatch>,
    /// What is changed of requests.
    pub request: HeaderEdits,
    /// What is changed of responses.
    pub response: HeaderEdits,
    /// What becomes of the request.
    pub action: RuleAction,
    /// From the end of the request to the end of the response. None: no bound.
    pub timeout: Option<Duration>,
    /// Of one attempt.
    pub attempt_timeout: Option<Duration>,
    /// When it is sent again. None: as always.
    pub retry: Option<Retry>,
    /// Who else is sent a copy.
    pub mirrors: Vec<Mirror>,
    /// Which pages of other origins may read responses.
    pub cors: Option<Cors>,
    /// What is made to go wrong.
    pub fault: Option<Fault>,
}

/// Conditions on a request, which must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMatch {
    /// On its path.
    pub path: PathMatch,
    /// Whether case tells paths apart.
    pub ignores_case: bool,
    /// On headers. Names are lower case.
    pub headers: Vec<ValueMatch>,
    /// On parameters of its query.
    pub query: Vec<ValueMatch>,
    /// Its method.
    pub method: Option<Arc<str>>,
    /// Who sends it, and to which port.
    pub source: SourceMatch,
    /// Of several matches that hold the greatest counts.
    pub rank: Rank,
}

/// A condition on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// Is this.
    Exact(Arc<str>),
    /// Is this, or goes on with a slash: without a slash at its end, so that all paths begin with the
    /// empty one.
    Prefix(Arc<str>),
    /// Begins with this, wherever a part of it ends.
    Start(Arc<str>),
    /// Matches as a whole.
    Regex(Arc<str>),
}

/// A condition on a value with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueMatch {
    /// The name.
    pub name: Arc<str>,
    /// The value.
    pub value: Text,
    /// Whether it must not hold. A value that is not there is then as if it were empty.
    pub inverted: bool,
}

/// A condition on a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Is this.
    Exact(Arc<str>),
    /// Begins with this.
    Prefix(Arc<str>),
    /// Matches as a whole.
    Regex(Arc<str>),
    /// Is there.
    Present,
}

/// Changes of headers, each named once, in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Name and new value.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Name and one more value.
    pub add: Vec<(Arc<str>, Arc<str>)>,
    /// Names.
    pub remove: Vec<Arc<str>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleAction {
    /// It goes to one of these, by weight.
    Forward {
        /// Who.
        backends: Vec<WeightedBackend>,
        /// What is changed of where it asks.
        rewrite: Rewrite,
    },
    /// The client is told to ask elsewhere.
    Redirect(Redirect),
    /// It is answered.
    Respond {
        /// With this status.
        status: u16,
        /// With this body.
        body: Option<Body>,
    },
    /// What becomes of it another object says.
    Delegate {
        /// The object, of the same kind.
        to: NamespacedName,
        /// What is changed of where requests ask, if it does not say that itself.
        rewrite: Rewrite,
    },
    /// It fails: what the rule asks for cannot be done, and must not be left out.
    Fail,
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Text.
    Text(Arc<str>),
    /// Anything.
    Bytes(Arc<[u8]>),
}

/// A share of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedBackend {
    /// Who gets it.
    pub backend: Backend,
    /// How much, relative to the others.
    pub weight: u32,
    /// What is changed of these requests.
    pub request: HeaderEdits,
    /// What is changed of their responses.
    pub response: HeaderEdits,
}

/// What is changed of where a request asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Its host.
    pub host: Option<Arc<str>>,
    /// Its path, without the query.
    pub path: Option<PathChange>,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChange {
    /// All of it becomes this.
    Whole(Arc<str>),
    /// The prefix that matched becomes this, without a slash at its end.
    Prefix(Arc<str>),
    /// What matched becomes this, as it is written.
    Start(Arc<str>),
    /// What matches becomes this, in which numbers stand for groups.
    Regex(Arc<str>, Arc<str>),
}

/// Where a client is told to ask instead. What is not said stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// The host.
    pub host: Option<Arc<str>>,
    /// The path.
    pub path: Option<PathChange>,
    /// The port.
    pub port: RedirectPort,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// The port at which a client is told to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPort {
    /// This one; else that of the scheme, if one is told, else the one asked: as Gateway API derives it.
    Derived(Option<u16>),
    /// This one, as Istio has it; else that of the scheme, without a word.
    Said(Option<u16>),
    /// The one asked.
    Asked,
}

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// After responses of these statuses, beside failures of connections.
    pub statuses: Vec<u16>,
    /// Under these conditions, as Envoy names them, and no others; the pause is then the least one.
    pub conditions: Option<Arc<str>>,
    /// How often. None: as always.
    pub attempts: Option<u32>,
    /// After about that long.
    pub backoff: Option<Duration>,
}

/// A copy of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets it.
    pub backend: Backend,
    /// Of so many requests.
    pub numerator: u32,
    /// In so many.
    pub denominator: u32,
}

/// Which pages of other origins may read responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may.
    pub origins: Vec<Text>,
    /// Whether credentials may be sent.
    pub credentials: bool,
    /// Methods, `*` for all.
    pub methods: Vec<Arc<str>>,
    /// Names of headers of requests, `*` for all.
    pub headers: Vec<Arc<str>>,
    /// Names of headers of responses, `*` for all.
    pub exposed: Vec<Arc<str>>,
    /// How long a browser may remember that, in seconds. None: it is not told.
    pub max_age: Option<u32>,
    /// Whether a question about an origin that may not goes on to the application.
    pub forwards_unmatched: bool,
}

// === impl Routing ===

impl Routing {
    /// Whether one of its parents is that port of a service.
    #[must_use]
    pub fn is_about(&self, service: &Service, port: &ServicePort) -> bool {
        let mut parents = self.parents.iter();
        parents.any(|parent| parent.service == service.name && parent.selects(port))
    }

    /// Everyone it sends requests and connections to, copies among them.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        let streams = self.streams.iter().flat_map(|it| &it.backends);
        let of_requests = self.rules.iter().flat_map(RoutingRule::backends);
        of_requests.chain(streams.map(|(backend, _)| backend))
    }

    /// The hosts of its services, however they are named.
    pub fn about(&self) -> impl Iterator<Item = HostScope> {
        let parents = self.parents.iter().map(|it| it.service.clone());
        let parents = parents.map(HostScope::Service);
        parents.chain(self.hosts.iter().cloned())
    }

    /// The conditions on who sends.
    pub fn sources(&self) -> impl Iterator<Item = &SourceMatch> {
        let of_requests = self.rules.iter().flat_map(|it| &it.matches);
        let of_streams = self.streams.iter().flat_map(|it| &it.matches);
        let of_requests = of_requests.map(|it| &it.source);
        of_requests.chain(of_streams.map(|it| &it.source))
    }

    /// The objects that say what becomes of some of its requests.
    pub fn delegates(&self) -> impl Iterator<Item = &NamespacedName> {
        self.rules.iter().filter_map(|it| match &it.action {
            RuleAction::Delegate { to, .. } => Some(to),
            _ => None,
        })
    }
}

impl Routing {
    /// The services it sends requests to, copies among them.
    pub fn services(&self) -> impl Iterator<Item = &NamespacedName> {
        self.backends().filter_map(Backend::service)
    }
}

// === impl Parent ===

impl Parent {
    /// Whether it is about that port of its service.
    #[must_use]
    pub fn selects(&self, port: &ServicePort) -> bool {
        let named = self.section.as_deref().is_none_or(|name| name == port.name);
        named && self.port.is_none_or(|number| number == port.port)
    }
}

// === impl RoutingRule ===

impl RoutingRule {
    /// Everyone it sends requests to, copies among them.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        let forward = match &self.action {
            RuleAction::Forward { backends, .. } => backends.as_slice(),
            _ => &[],
        };
        let forward = forward.iter().map(|it| &it.backend);
        forward.chain(self.mirrors.iter().map(|it| &it.backend))
    }
}

// === impl HeaderEdits ===

impl HeaderEdits {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
