//! HTTP filters, and what they do differently for some routes.

pub mod cors;
pub mod fault;
pub mod header_mutation;
pub mod jwt_authn;

use super::rbac;

pub use cors::CorsPolicy;
pub use fault::Fault;
pub use header_mutation::{HeaderMutation, Mutations};

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
    /// `envoy.filters.http.fault`
    Fault(Box<Fault>),
    /// `envoy.filters.http.header_mutation`
    HeaderMutation(Box<HeaderMutation>),
    /// `envoy.filters.http.jwt_authn`
    JwtAuthn(Box<jwt_authn::JwtAuthn>),
    /// `envoy.filters.http.rbac`
    Rbac(Box<rbac::Filter>),
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
    /// `HTTPFault`
    Fault(Box<Fault>),
    /// `HeaderMutationPerRoute`
    HeaderMutation(Box<Mutations>),
    /// `PerRouteConfig` of jwt_authn.
    JwtAuthn(jwt_authn::JwtPerRoute),
    /// `RBACPerRoute`; with no rules in it, everything is let through.
    Rbac(Box<rbac::Filter>),
}

/// `envoy.extensions.filters.http.buffer.v3.Buffer`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Larger requests are answered 413.
    pub max_request_bytes: u32,
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

    /// Whether no filter does anything differently.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
