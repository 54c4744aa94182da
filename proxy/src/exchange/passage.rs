//! A request's passage through the HTTP filters of its connection manager.

use std::{
    borrow::Cow, collections::VecDeque, future::poll_fn, rc::Rc, sync::Arc, task::Poll,
    time::Instant,
};

use http::HeaderMap;

use super::{
    Exchange,
    bridge::{Source, Stop},
    plan,
};
use crate::{
    access_log::Facts,
    cluster::Clusters,
    config::RouteConfiguration,
    filter::http::{
        ActiveFilters, Decoding, Encoding, HttpFilters, Step, Stream, Throttle, Trailers, Waiting,
    },
    http::{
        edits::{Edited, Edits},
        head::{Fields, RequestHead, ResponseHead},
        local_reply::LocalReply,
        message::append,
        route::{CachedRoute, Matched},
    },
    metadata::{FilterState, Metadata},
    rbac::ConnectionAttributes,
    reason::Reason,
    runtime::Runtime,
};

/// What filters know and say of one request. On the heap, and there only if there are filters.
pub(super) struct Passage<'c> {
    filters: ActiveFilters<'c>,
    /// What they change of the request's head.
    pub(super) edits: Edits<'c>,
    /// The route as it was found last; none: it is to be found again.
    route: Option<Option<Matched<'c>>>,
    metadata: Metadata,
    /// The whole body, if a filter has asked for it.
    pub(super) body: Option<Source>,
}

/// The head of a reply of our own.
pub(super) struct OwnHead<'r> {
    pub(super) status: u16,
    pub(super) headers: &'r [(&'static str, String)],
}

/// Nothing leaves any yet.
static NO_STATE: FilterState = FilterState::EMPTY;

/// What filters may ask beside the messages.
pub(super) struct Around<'x> {
    facts: Facts<'x>,
    connection: ConnectionAttributes<'x>,
    runtime: Arc<Runtime>,
    clusters: Rc<Clusters>,
}

// === impl Around ===

impl<'x> Around<'x> {
    pub(super) fn of(exchange: &'x Exchange<'_>) -> Self {
        Self {
            facts: exchange.facts(""),
            connection: exchange.attributes(),
            runtime: exchange.manager.context.routes.runtime(),
            clusters: Rc::clone(&exchange.manager.context.clusters),
        }
    }

    pub(super) fn stream<'r>(
        &'r self,
        random: &'r dyn Fn() -> u64,
        metadata: &'r mut Metadata,
    ) -> Stream<'r> {
        Stream {
            info: &self.facts,
            connection: &self.connection,
            runtime: &self.runtime,
            random,
            metadata,
            filter_state: &NO_STATE,
            clusters: Some(&self.clusters),
            now: Instant::now(),
        }
    }
}

// === impl OwnHead ===

impl Fields for OwnHead<'_> {
    fn any_line<'h>(&'h self, name: &str, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        let mut lines = self.headers.iter().filter(|(known, _)| *known == name);
        lines.any(|(_, value)| look(value.as_str().into()))
    }

    fn any_name<'h>(&'h self, look: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        self.headers.iter().any(|(name, _)| look((*name).into()))
    }
}

impl ResponseHead for OwnHead<'_> {
    fn status(&self) -> u16 {
        self.status
    }
}

// === impl Passage ===

impl<'c> Passage<'c> {
    /// Begins with the route that the request has as it came.
    pub(super) fn new(filters: &'c HttpFilters, route: Option<Matched<'c>>) -> Self {
        Self {
            filters: ActiveFilters::new(filters, route.as_ref()),
            edits: Edits::default(),
            route: Some(route),
            metadata: Metadata::default(),
            body: None,
        }
    }

    /// What filters say of the request to others.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The route, as far as it is known.
    pub(super) fn known_route(&self) -> Option<Matched<'c>> {
        self.route.flatten()
    }

    /// The route by which the request is sent on.
    pub(super) fn route(
        &self,
        head: &dyn RequestHead,
        find: &dyn Fn(&dyn RequestHead) -> Option<Matched<'c>>,
    ) -> Option<Matched<'c>> {
        self.route
            .unwrap_or_else(|| find(&Edited::new(head, &self.edits)))
    }

    /// Whether filters see a body's trailers, or slow it down: it is not moved raw then.
    pub(super) fn sees_response_body(&mut self) -> bool {
        self.filters.wants_response_trailers() || self.filters.response_throttle().is_some()
    }

    /// Whether filters see the request's trailers.
    pub(super) fn sees_request_trailers(&self) -> bool {
        self.filters.wants_request_trailers()
    }

    /// Lets trailers pass.
    pub(super) fn pass_trailers(
        &mut self,
        exchange: &Exchange<'_>,
        trailers: &mut HeaderMap,
        way: Way,
    ) {
        let around = Around::of(exchange);
        let random = || exchange.manager.random();
        let request = exchange.request.head().unwrap_or(&Nothing);
        let mut edits = Edits::default();
        let mut passing = Trailers {
            fields: trailers,
            edits: &mut edits,
            request: &Edited::new(request, &self.edits),
            response: None,
            route: self.route.flatten(),
            stream: around.stream(&random, &mut self.metadata),
        };
        match way {
            Way::Request => self.filters.on_request_trailers(&mut passing),
            Way::Response => self.filters.on_response_trailers(&mut passing),
        }
        for name in edits.dropped() {
            trailers.remove(name);
        }
        for (name, value) in edits.added() {
            append(trailers, name, value);
        }
    }

    /// What slows the response's body down.
    pub(super) fn response_throttle(&mut self) -> Option<&mut Throttle> {
        self.filters.response_throttle()
    }

    fn step(
        &mut self,
        exchange: &Exchange<'_>,
        find: &dyn Fn(&dyn RequestHead) -> Option<Matched<'c>>,
    ) -> Step {
        let Some(head) = exchange.request.head() else {
            return Step::Continue;
        };
        let around = Around::of(exchange);
        let random = || exchange.manager.random();
        let route = match self.route.take() {
            Some(found) => CachedRoute::of(found, find),
            None => CachedRoute::new(find),
        };
        let mut decoding = Decoding {
            head,
            edits: &mut self.edits,
            has_body: !exchange.request.has_no_body() && self.body.is_none(),
            route,
            stream: around.stream(&random, &mut self.metadata),
        };
        let step = self.filters.on_request_headers(&mut decoding);
        self.route = decoding.route.found();
        step
    }

    /// Lets a response's head pass through the encoders.
    pub(super) fn encode(
        &mut self,
        exchange: &Exchange<'_>,
        head: &dyn ResponseHead,
        edits: &mut Edits<'c>,
    ) {
        let around = Around::of(exchange);
        let random = || exchange.manager.random();
        let gone = Edits::default();
        // A request's head that was sent on and not kept says nothing any more.
        let request: &dyn RequestHead = match exchange.request.head() {
            Some(head) => &Edited::new(head, &self.edits),
            None => &Edited::new(&Nothing as &dyn RequestHead, &gone),
        };
        let mut encoding = Encoding {
            head,
            edits,
            request,
            route: self.route.flatten(),
            stream: around.stream(&random, &mut self.metadata),
        };
        self.filters.on_response_headers(&mut encoding);
    }
}

/// Which way trailers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the endpoint.
    Request,
    /// To the client.
    Response,
}

/// A head of which nothing is known.
struct Nothing;

impl Fields for Nothing {
    fn any_line<'h>(&'h self, _: &str, _: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        false
    }

    fn any_name<'h>(&'h self, _: &mut dyn FnMut(Cow<'h, str>) -> bool) -> bool {
        false
    }
}

impl RequestHead for Nothing {
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
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Lets the request pass through the decoders. Else what to answer.
    pub(super) async fn decode<'c>(
        &mut self,
        passage: &mut Passage<'c>,
        routes: Option<&'c RouteConfiguration>,
        random: u64,
    ) -> Result<(), Box<LocalReply>> {
        let manager = self.manager;
        let find = |head: &dyn RequestHead| plan::find(manager, routes, head, random);
        loop {
            let step = passage.step(self, &find);
            self.info.is_delayed = passage.filters.has_delayed();
            match step {
                Step::Continue => return Ok(()),
                Step::WaitUntil(until) => self.wait_until(until.into()).await?,
                Step::Wait(waiting) => self.wait_for_filter(waiting).await?,
                Step::WholeBody { limit } => {
                    let body = self.read_body(limit).await?;
                    passage.body = Some(body);
                }
                Step::Reply(reply) => return Err(reply),
            }
        }
    }

    /// Waits for what a filter waits for, unless the client goes, or it takes longer than a stream may
    /// be idle.
    async fn wait_for_filter(&mut self, mut waiting: Waiting) -> Result<(), Box<LocalReply>> {
        let is_read = self.request.has_no_body();
        let idle = self.manager.config.stream_idle_timeout;
        let idle = idle.map(|timeout| tokio::time::Instant::now() + timeout);
        poll_fn(|cx| {
            if waiting.poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.scratch.timer.poll(cx, idle).is_ready() {
                return Poll::Ready(Err(Box::new(Reason::StreamIdleTimeout.into())));
            }
            let gone = self.downstream.poll_gone(cx, is_read);
            gone.map(|_| Err(Box::new(Reason::ClientClosed.into())))
        })
        .await
    }

    /// Waits, unless the client goes, or nothing has moved for too long by then.
    async fn wait_until(&mut self, until: tokio::time::Instant) -> Result<(), Box<LocalReply>> {
        let is_read = self.request.has_no_body();
        let idle = self.manager.config.stream_idle_timeout;
        let idle = idle.map(|timeout| tokio::time::Instant::now() + timeout);
        let first = idle.map_or(until, |idle| idle.min(until));
        poll_fn(|cx| {
            if self.scratch.timer.poll(cx, Some(first)).is_ready() {
                return Poll::Ready(match first < until {
                    true => Err(Box::new(Reason::StreamIdleTimeout.into())),
                    false => Ok(()),
                });
            }
            let gone = self.downstream.poll_gone(cx, is_read);
            gone.map(|_| Err(Box::new(Reason::ClientClosed.into())))
        })
        .await
    }

    /// Reads the request's body to its end.
    async fn read_body(&mut self, limit: u64) -> Result<Source, Box<LocalReply>> {
        let timeout = self.manager.config.request_timeout;
        let timeout = timeout.or(self.manager.config.stream_idle_timeout);
        let deadline = timeout.map(|timeout| self.began + timeout);
        let mut source = self.request.take_body();
        let (mut frames, mut length) = (VecDeque::new(), 0);
        let read = poll_fn(|cx| {
            let from = self.downstream.wire();
            match source.poll_collect(cx, from, &mut frames, &mut length, limit) {
                Poll::Ready(Ok(())) if length > limit => {
                    return Poll::Ready(Err(Reason::PayloadTooLarge));
                }
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(Stop::Malformed)) => return Poll::Ready(Err(Reason::BadRequest)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Reason::ClientClosed)),
                Poll::Pending => {}
            }
            let late = self.scratch.timer.poll(cx, deadline);
            late.map(|()| Err(Reason::RequestTimeout))
        });
        match read.await {
            Ok(()) => Ok(Source::Collected(frames, length)),
            Err(reason) => {
                if reason == Reason::PayloadTooLarge {
                    self.manager.stats.downstream_rq_too_large.inc();
                }
                Err(Box::new(reason.into()))
            }
        }
    }

    /// What rules may ask of the connection.
    fn attributes(&self) -> ConnectionAttributes<'_> {
        let connection = self.connection;
        let peer = connection.remote.ip();
        let head = self.request.head();
        let client = head.and_then(|head| self.manager.client(head, peer));
        ConnectionAttributes {
            source: connection.remote.0,
            direct_remote: connection.direct_remote.0,
            // Its port is not known.
            remote: client.map_or(connection.remote.0, |client| (client, 0).into()),
            destination: connection.original_destination.0,
            server_name: connection.server_name.as_deref().unwrap_or_default(),
            tls: connection.tls.as_deref(),
        }
    }
}
