//! HTTP filters: what sees each request before it is sent on, and its response on the way back.
//!
//! [`HttpFilters`] is a configured chain in one worker, without the router or upstream codec that ends
//! it; [`ActiveFilters`] is one request's passage through it. Filters are decoders in order and
//! encoders in reverse. They do no I/O: a step says what the exchange is to do, and the exchange
//! takes the next step when it is done. So a filter that waits holds up its own request only, and a
//! chain is tested without a connection.
//!
//! ```text
//! exchange                                   filters
//! head read            on_request_headers -> Continue | WaitUntil | Wait | Body | WholeBody | Reply
//! waited, body read    on_request_headers -> goes on after the filter that asked
//! trailers read        on_request_trailers
//! response head        on_response_headers -> (all filters, in reverse; local replies, too)
//! response body        response_throttle
//! response trailers    on_response_trailers
//! ```

mod buffer;
mod cors;
mod dynamic_forward_proxy;
mod ext_authz;
mod fault;
mod header_mutation;
mod jwt_authn;
mod rbac;
mod stateful_session;
mod throttle;
mod upstream;
mod waiting;

use std::{rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{
    cluster::{Clusters, OverrideHost},
    config::http_filter::{HttpFilter, HttpFilterConfig},
    filter::rbac_stats::RbacStats,
    format::Values,
    http::{
        edits::{Edited, Edits},
        head::{Fields, RequestHead, ResponseHead},
        local_reply::LocalReply,
        route::{CachedRoute, Matched},
    },
    metadata::{FilterState, Metadata},
    rbac::ConnectionAttributes,
    runtime::Runtime,
    stats::{Registry, Scope, Within},
};

pub use throttle::Throttle;
pub use upstream::UpstreamFilters;
use waiting::Awaited;
pub use waiting::Waiting;

/// A chain of filters in one worker.
pub struct HttpFilters {
    configs: Arc<[HttpFilter]>,
    /// What each of them counts, in order.
    stats: Box<[FilterStats]>,
}

/// What a filter counts.
enum FilterStats {
    Nothing,
    Cors(Arc<Within<cors::CorsStats>>),
    /// Not what it counts but what it looks names up with; none without clusters.
    DynamicForwardProxy(Option<Box<dynamic_forward_proxy::Names>>),
    ExtAuthz(Arc<Within<ext_authz::ExtAuthzStats>>),
    Fault(Arc<Within<fault::FaultStats>>),
    JwtAuthn(jwt_authn::JwtWorker),
    Rbac(Arc<Within<RbacStats>>),
    StatefulSession(Option<Arc<Within<stateful_session::SessionStats>>>),
}

/// One request on its way through a chain. Without filters it holds no memory.
pub struct ActiveFilters<'c> {
    filters: Vec<ActiveFilter<'c>>,
    /// Of the decoder whose turn it is.
    next: usize,
}

/// A filter and what it knows of a request.
struct ActiveFilter<'c> {
    name: &'c str,
    kind: Kind<'c>,
}

enum Kind<'c> {
    Buffer(buffer::BufferFilter),
    Cors(cors::CorsFilter<'c>),
    DynamicForwardProxy(dynamic_forward_proxy::DynamicForwardProxyFilter<'c>),
    ExtAuthz(Box<ext_authz::ExtAuthzFilter<'c>>),
    Fault(Box<fault::FaultFilter<'c>>),
    HeaderMutation(header_mutation::HeaderMutationFilter<'c>),
    JwtAuthn(jwt_authn::JwtAuthnFilter<'c>),
    Rbac(rbac::RbacFilter<'c>),
    StatefulSession(Box<stateful_session::StatefulSessionFilter<'c>>),
}

/// What the exchange is to do.
#[derive(Debug)]
pub enum Step {
    /// All filters have let the message pass.
    Continue,
    /// Nothing passes before then; take the next step then.
    WaitUntil(Instant),
    /// Nothing passes before this is ready; then ask the same filter again.
    Wait(Waiting),
    /// Read the request's body to its end and take the next step; then send it on with its length.
    /// If it is longer than `limit` bytes, answer [`crate::reason::Reason::PayloadTooLarge`].
    WholeBody {
        /// Bytes.
        limit: u64,
    },
    /// Read the request's body and ask the same filter again: to its end, and if it is longer than
    /// `limit` bytes answer [`crate::reason::Reason::PayloadTooLarge`]; or, where a part is enough,
    /// until more than `limit` bytes have come.
    Body {
        /// Bytes.
        limit: u64,
        /// A part is enough.
        partial: bool,
    },
    /// Answer this instead of going on. Every encoder sees it.
    Reply(Box<LocalReply>),
}

/// What filters may ask and change of a request beside its messages.
pub struct Stream<'r> {
    /// Values for formats that do not come from a head.
    pub info: &'r dyn Values,
    /// Of the connection.
    pub connection: &'r ConnectionAttributes<'r>,
    /// Values that override the configuration.
    pub runtime: &'r Runtime,
    /// Draws a number.
    pub random: &'r dyn Fn() -> u64,
    /// What filters said of the request.
    pub metadata: &'r mut Metadata,
    /// Objects that filters left for each other.
    pub filter_state: &'r FilterState,
    /// Whom a filter may call; none where nobody can be.
    pub clusters: Option<&'r Rc<Clusters>>,
    /// The time.
    pub now: Instant,
}

/// What has been read of a request's body.
pub struct ReadBody {
    /// In order.
    pub parts: Vec<Bytes>,
    /// It is all of it.
    pub is_whole: bool,
}

/// A request's head on its way to the endpoint.
pub struct Decoding<'r, 'c> {
    /// As it came.
    pub head: &'r dyn RequestHead,
    /// Changed so far.
    pub edits: &'r mut Edits<'c>,
    /// Whether a body or trailers follow that nobody has asked for.
    pub has_body: bool,
    /// What has been read of that; none: no filter has asked for it.
    pub body: Option<ReadBody>,
    /// Where it goes.
    pub route: CachedRoute<'r, 'c>,
    /// What else is known.
    pub stream: Stream<'r>,
}

/// A response's head on its way to the client.
pub struct Encoding<'r, 'c> {
    /// As it came from the endpoint, or as the proxy made it.
    pub head: &'r dyn ResponseHead,
    /// Changed so far.
    pub edits: &'r mut Edits<'c>,
    /// What it answers, as decoders left it.
    pub request: &'r dyn RequestHead,
    /// Where that went.
    pub route: Option<Matched<'c>>,
    /// What else is known.
    pub stream: Stream<'r>,
}

/// Trailers either way.
pub struct Trailers<'r, 'c> {
    /// As they came.
    pub fields: &'r dyn Fields,
    /// Changed so far.
    pub edits: &'r mut Edits<'c>,
    /// The request's head, as decoders left it.
    pub request: &'r dyn RequestHead,
    /// The response's head, as encoders left it, if there is one.
    pub response: Option<&'r dyn ResponseHead>,
    /// Where the request went.
    pub route: Option<Matched<'c>>,
    /// What else is known.
    pub stream: Stream<'r>,
}

// === impl HttpFilters ===

impl HttpFilters {
    /// The chain in one worker. What it counts is in `scope`, that of the connection manager or the
    /// cluster that has it.
    #[must_use]
    pub fn new(configs: &Arc<[HttpFilter]>, registry: &Registry, scope: &Scope) -> Self {
        let stats = configs.iter().map(|filter| match &filter.config {
            HttpFilterConfig::Buffer(_) | HttpFilterConfig::HeaderMutation(_) => {
                FilterStats::Nothing
            }
            HttpFilterConfig::DynamicForwardProxy(_) => FilterStats::DynamicForwardProxy(None),
            HttpFilterConfig::Cors => FilterStats::Cors(cors::CorsStats::register(registry, scope)),
            HttpFilterConfig::ExtAuthz(config) => {
                FilterStats::ExtAuthz(ext_authz::ExtAuthzStats::register(config, registry, scope))
            }
            HttpFilterConfig::Fault(_) => {
                FilterStats::Fault(fault::FaultStats::register(registry, scope))
            }
            HttpFilterConfig::JwtAuthn(config) => {
                FilterStats::JwtAuthn(jwt_authn::JwtWorker::new(config, registry, scope))
            }
            HttpFilterConfig::Rbac(config) => {
                FilterStats::Rbac(RbacStats::register(config, registry, scope))
            }
            HttpFilterConfig::StatefulSession(config) => {
                let stats = stateful_session::SessionStats::register(config, registry, scope);
                FilterStats::StatefulSession(stats)
            }
        });
        Self {
            stats: stats.collect(),
            configs: Arc::clone(configs),
        }
    }

    /// The same, for filters that ask for clusters.
    #[must_use]
    pub(crate) fn with_clusters(mut self, clusters: &Rc<Clusters>, registry: &Registry) -> Self {
        for (filter, stats) in self.configs.iter().zip(&mut self.stats) {
            if let HttpFilterConfig::DynamicForwardProxy(config) = &filter.config {
                let names = dynamic_forward_proxy::Names::new(config, clusters, registry);
                *stats = FilterStats::DynamicForwardProxy(Some(Box::new(names)));
            }
        }
        self
    }

    /// Whether there is nothing but the router.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configs.is_empty()
    }
}

// === impl ActiveFilters ===

impl<'c> ActiveFilters<'c> {
    /// Begins a request. Which filters take part is settled by the route that it has now, as in
    /// Envoy: a route that is chosen later changes that no more.
    #[must_use]
    pub fn new(filters: &'c HttpFilters, matched: Option<&Matched<'c>>) -> Self {
        let takes_part = |filter: &&HttpFilter| {
            let by_route = matched.and_then(|matched| matched.is_disabled(&filter.name));
            !by_route.unwrap_or(filter.disabled)
        };
        let active = filters.configs.iter().zip(&filters.stats);
        Self {
            filters: active
                .filter(|(filter, _)| takes_part(filter))
                .filter_map(|(filter, stats)| {
                    Some(ActiveFilter {
                        name: &filter.name,
                        kind: Kind::new(&filter.config, stats)?,
                    })
                })
                .collect(),
            next: 0,
        }
    }

    /// Whether no filter takes part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Lets the request's head pass through the decoders, from where it was stopped.
    pub fn on_request_headers(&mut self, decoding: &mut Decoding<'_, 'c>) -> Step {
        while let Some(filter) = self.filters.get_mut(self.next) {
            let (name, d) = (filter.name, &mut *decoding);
            let step = match &mut filter.kind {
                Kind::Buffer(filter) => filter.on_request_headers(name, d),
                Kind::Cors(filter) => filter.on_request_headers(name, d),
                Kind::DynamicForwardProxy(filter) => filter.on_request_headers(name, d),
                Kind::ExtAuthz(filter) => filter.on_request_headers(name, d),
                Kind::Fault(filter) => match filter.on_request_headers(name, d) {
                    // It has something to decide afterwards.
                    step @ Step::WaitUntil(_) => return step,
                    step => step,
                },
                Kind::HeaderMutation(filter) => filter.on_request_headers(name, d),
                Kind::JwtAuthn(filter) => filter.on_request_headers(name, d),
                Kind::Rbac(filter) => filter.on_request_headers(name, d),
                Kind::StatefulSession(filter) => {
                    filter.on_request_headers(name, d);
                    Step::Continue
                }
            };
            if matches!(step, Step::Wait(_) | Step::Body { .. }) {
                return step;
            }
            self.next += 1;
            if !matches!(step, Step::Continue) {
                return step;
            }
        }
        Step::Continue
    }

    /// Whether a decoder changes trailers.
    #[must_use]
    pub fn wants_request_trailers(&self) -> bool {
        let mut filters = self.mutations();
        filters.any(|(_, filter)| filter.changes_request_trailers)
    }

    /// Lets the request's trailers pass.
    pub fn on_request_trailers(&mut self, trailers: &mut Trailers<'_, 'c>) {
        for (name, filter) in self.mutations() {
            filter.on_request_trailers(name, trailers);
        }
    }

    /// Lets the response's head pass through the encoders: all of them, also those whose turn did not
    /// come before the request was answered here.
    pub fn on_response_headers(&mut self, encoding: &mut Encoding<'_, 'c>) {
        for filter in self.filters.iter_mut().rev() {
            match &mut filter.kind {
                Kind::Cors(cors) => cors.on_response_headers(encoding),
                Kind::ExtAuthz(filter) => filter.on_response_headers(encoding),
                Kind::HeaderMutation(mutation) => {
                    mutation.on_response_headers(filter.name, encoding);
                }
                Kind::StatefulSession(session) => session.on_response_headers(encoding),
                Kind::Buffer(_)
                | Kind::DynamicForwardProxy(_)
                | Kind::Fault(_)
                | Kind::JwtAuthn(_)
                | Kind::Rbac(_) => {}
            }
        }
    }

    /// Whether an encoder changes trailers.
    #[must_use]
    pub fn wants_response_trailers(&self) -> bool {
        let mut filters = self.mutations();
        filters.any(|(_, filter)| filter.changes_response_trailers)
    }

    /// Lets the response's trailers pass.
    pub fn on_response_trailers(&mut self, trailers: &mut Trailers<'_, 'c>) {
        for (name, filter) in self.mutations().rev() {
            filter.on_response_trailers(name, trailers);
        }
    }

    /// What slows the response's body down; the slowest, of several.
    pub fn response_throttle(&mut self) -> Option<&mut Throttle> {
        let throttles = self
            .filters
            .iter_mut()
            .filter_map(|filter| match &mut filter.kind {
                Kind::Fault(fault) => fault.throttle.as_mut(),
                _ => None,
            });
        throttles.min_by_key(|throttle| throttle.bytes_per_second())
    }

    /// The endpoint that is asked for; of several, the last one.
    #[must_use]
    pub fn override_host(&self) -> Option<OverrideHost> {
        let mut filters = self.filters.iter().rev();
        filters.find_map(|filter| match &filter.kind {
            Kind::StatefulSession(session) => session.override_host(),
            _ => None,
        })
    }

    /// Whether a delay was injected (`DI`).
    #[must_use]
    pub fn has_delayed(&self) -> bool {
        let mut filters = self.filters.iter();
        filters.any(|filter| matches!(&filter.kind, Kind::Fault(fault) if fault.has_delayed))
    }

    fn mutations(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&'c str, &header_mutation::HeaderMutationFilter<'c>)>
    {
        self.filters.iter().filter_map(|filter| match &filter.kind {
            Kind::HeaderMutation(mutation) => Some((filter.name, mutation)),
            _ => None,
        })
    }
}

// === impl Kind ===

impl<'c> Kind<'c> {
    /// None if configuration and statistics are of two filters, which nobody makes.
    fn new(config: &'c HttpFilterConfig, stats: &'c FilterStats) -> Option<Self> {
        Some(match (config, stats) {
            (HttpFilterConfig::Buffer(config), _) => {
                Self::Buffer(buffer::BufferFilter::new(*config))
            }
            (HttpFilterConfig::HeaderMutation(config), _) => {
                Self::HeaderMutation(header_mutation::HeaderMutationFilter::new(config))
            }
            (HttpFilterConfig::Cors, FilterStats::Cors(stats)) => {
                Self::Cors(cors::CorsFilter::new(stats))
            }
            (HttpFilterConfig::ExtAuthz(config), FilterStats::ExtAuthz(stats)) => {
                Self::ExtAuthz(Box::new(ext_authz::ExtAuthzFilter::new(config, stats)))
            }
            (HttpFilterConfig::DynamicForwardProxy(_), FilterStats::DynamicForwardProxy(names)) => {
                let names = names.as_deref()?;
                Self::DynamicForwardProxy(dynamic_forward_proxy::DynamicForwardProxyFilter::new(
                    names,
                ))
            }
            (HttpFilterConfig::Fault(config), FilterStats::Fault(stats)) => {
                Self::Fault(Box::new(fault::FaultFilter::new(config, stats)))
            }
            (HttpFilterConfig::JwtAuthn(config), FilterStats::JwtAuthn(worker)) => {
                Self::JwtAuthn(jwt_authn::JwtAuthnFilter::new(config, worker))
            }
            (HttpFilterConfig::Rbac(config), FilterStats::Rbac(stats)) => {
                Self::Rbac(rbac::RbacFilter::new(config, stats))
            }
            (HttpFilterConfig::StatefulSession(config), FilterStats::StatefulSession(stats)) => {
                let stats = stats.as_ref().map(|stats| &***stats);
                let filter = stateful_session::StatefulSessionFilter::new(config, stats);
                Self::StatefulSession(Box::new(filter))
            }
            _ => return None,
        })
    }
}

// === impl Decoding ===

impl<'c> Decoding<'_, 'c> {
    /// The request as filters before have left it.
    #[must_use]
    pub fn request(&self) -> Edited<'_, dyn RequestHead + '_> {
        Edited::new(self.head, self.edits)
    }

    /// The route of the request, found with the head as it is now if it is not known.
    pub fn route(&mut self) -> Option<Matched<'c>> {
        let request = Edited::new(self.head, &*self.edits);
        self.route.get(&request)
    }
}

// === impl ReadBody ===

impl ReadBody {
    /// Bytes that were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl Encoding ===

impl Encoding<'_, '_> {
    /// The response as filters before have left it.
    #[must_use]
    pub fn response(&self) -> Edited<'_, dyn ResponseHead + '_> {
        Edited::new(self.head, self.edits)
    }
}

#[cfg(test)]
mod tests;
