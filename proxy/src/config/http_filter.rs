//! HTTP filters, and what they do differently for some routes.

pub mod cors;
pub mod ext_authz;
pub mod fault;
pub mod header_mutation;
pub mod jwt_authn;
pub mod stateful_session;

use std::sync::Arc;

use super::{dns_cache::DnsCacheConfig, rbac};

pub use cors::CorsPolicy;
pub use ext_authz::{ExtAuthz, ExtAuthzPerRoute};
pub use fault::Fault;
pub use header_mutation::{HeaderMutation, Mutations};
pub use stateful_session::StatefulSession;

/// An HTTP filter before the router or the upstream codec, which end every list and are not in it.
#[derive(Debug)]
pub struct HttpFilter {
    /// By which routes refer to it.
    pub name: String,
    /// It takes no part, unless the route says so.
    pub disabled: bool,
    /// What it does.
    pub config: HttpFilterConfig,
}

/// The known filters.
#[derive(Debug)]
pub enum HttpFilterConfig {
    /// `envoy.filters.http.buffer`
    Buffer(Buffer),
    /// `envoy.filters.http.cors`
    Cors,
    /// `envoy.filters.http.ext_authz`
    ExtAuthz(Box<ExtAuthz>),
    /// `envoy.filters.http.dynamic_forward_proxy`: where names are looked up.
    DynamicForwardProxy(Arc<DnsCacheConfig>),
    /// `envoy.filters.http.fault`
    Fault(Box<Fault>),
    /// `envoy.filters.http.header_mutation`
    HeaderMutation(Box<HeaderMutation>),
    /// `envoy.filters.http.jwt_authn`
    JwtAuthn(Box<jwt_authn::JwtAuthn>),
    /// `envoy.filters.http.rbac`
    Rbac(Box<rbac::Filter>),
    /// `envoy.filters.http.stateful_session`
    StatefulSession(Box<StatefulSession>),
}

/// `typed_per_filter_config` of one level: what filters do differently there.
#[derive(Debug, Default)]
pub struct PerFilterConfig(Vec<FilterOverride>);

/// What one filter does differently.
#[derive(Debug)]
pub struct FilterOverride {
    /// Of the filter.
    pub name: String,
    /// Whether it takes part; none: what the filter says.
    pub disabled: Option<bool>,
    /// Its own message.
    pub config: Option<RouteSpecificFilterConfig>,
}

/// The per-route messages of the known filters.
#[derive(Debug)]
pub enum RouteSpecificFilterConfig {
    /// `BufferPerRoute`; none: no buffering.
    Buffer(Option<Buffer>),
    /// `CorsPolicy`
    Cors(Box<CorsPolicy>),
    /// `ExtAuthzPerRoute`
    ExtAuthz(Box<ExtAuthzPerRoute>),
    /// `PerRouteConfig` of a dynamic forward proxy; none: the request asks for the name that it has.
    DynamicForwardProxy(Option<HostRewrite>),
    /// `HTTPFault`
    Fault(Box<Fault>),
    /// `HeaderMutationPerRoute`
    HeaderMutation(Box<Mutations>),
    /// `PerRouteConfig` of jwt_authn.
    JwtAuthn(jwt_authn::JwtPerRoute),
    /// `RBACPerRoute`; with no rules in it, everything is let through.
    Rbac(Box<rbac::Filter>),
    /// `StatefulSessionPerRoute`; none: no sessions.
    StatefulSession(Option<Box<StatefulSession>>),
}

/// The name that a request asks for in place of its own
/// (`envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// This.
    Literal(String),
    /// That of the first line of this header, lower case, if there is one.
    Header(String),
}

/// `envoy.extensions.filters.http.buffer.v3.Buffer`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Larger requests are answered 413.
    pub max_request_bytes: u32,
}

// === impl HttpFilterConfig ===

impl HttpFilterConfig {
    /// The clusters that the filter calls.
    #[must_use]
    pub fn clusters(&self) -> Vec<&str> {
        match self {
            Self::ExtAuthz(config) => vec![config.service.cluster()],
            Self::Buffer(_)
            | Self::Cors
            | Self::DynamicForwardProxy(_)
            | Self::Fault(_)
            | Self::HeaderMutation(_)
            | Self::JwtAuthn(_)
            | Self::Rbac(_)
            | Self::StatefulSession(_) => Vec::new(),
        }
    }
}

// === impl RouteSpecificFilterConfig ===

impl RouteSpecificFilterConfig {
    /// The clusters that the filter calls for such a route.
    #[must_use]
    pub fn clusters(&self) -> Vec<&str> {
        match self {
            Self::ExtAuthz(config) => match &**config {
                ExtAuthzPerRoute::Disabled(_) => Vec::new(),
                ExtAuthzPerRoute::Check(settings) => {
                    let service = settings.service.iter();
                    service
                        .map(ext_authz::AuthorizationService::cluster)
                        .collect()
                }
            },
            Self::Buffer(_)
            | Self::Cors(_)
            | Self::DynamicForwardProxy(_)
            | Self::Fault(_)
            | Self::HeaderMutation(_)
            | Self::JwtAuthn(_)
            | Self::Rbac(_)
            | Self::StatefulSession(_) => Vec::new(),
        }
    }
}

// === impl PerFilterConfig ===

impl PerFilterConfig {
    /// Of these; a name is there once.
    #[must_use]
    pub fn new(overrides: Vec<FilterOverride>) -> Self {
        Self(overrides)
    }

    /// What the filter of this name does differently.
    #[must_use]
    pub fn get(&self, filter: &str) -> Option<&FilterOverride> {
        self.0.iter().find(|known| known.name == filter)
    }

    /// The clusters that filters call there.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let configs = self.0.iter().filter_map(|it| it.config.as_ref());
        configs.flat_map(RouteSpecificFilterConfig::clusters)
    }

    /// Whether no filter does anything differently.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
