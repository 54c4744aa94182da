//! One request, from its head to its access log: routed, sent to an endpoint, again where that may
//! help, and answered. What differs between versions of HTTP is in the ports: [`Downstream`],
//! [`RequestMessage`] and the upstream port are enums of them.

mod affinity;
mod attempt;
mod bridge;
mod client_cert;
mod deadlines;
mod destination;
mod downstream;
mod head_bytes;
mod log;
mod manager;
mod mirror;
mod observe;
mod passage;
mod plan;
mod pump;
mod reply;
mod report;
mod request;
mod request_changes;
mod resolve;
mod respond;
mod retry;
mod send;
mod stats;
mod transfer;
mod trust;
mod upstream;
mod upstream_filters;

use std::rc::Rc;

use tokio::time::Instant;

pub(crate) use self::{
    downstream::{Downstream, Http1Downstream},
    manager::ConnectionManager,
    reply::write_all,
    request::{Http2Request, RequestMessage},
    stats::HttpStats,
};
use self::{
    passage::Passage,
    plan::{ForwardPlan, Plan},
    send::{Sending, Switch},
};
use crate::{
    buffer::Buffer,
    cluster::Upstream,
    config::{RouteConfiguration, overload::ActionKind},
    http::{
        codec::h1::response::Response, edits::Edited, local_reply::LocalReply, path::reference,
        route::Matched, timer::Timer,
    },
    info::{ConnectionInfo, Observed, Outcome, request_id},
    reason::Reason,
};

/// One request, and the response on its way back.
pub(crate) struct Exchange<'e> {
    pub(crate) manager: &'e Rc<ConnectionManager>,
    pub(crate) connection: &'e ConnectionInfo,
    pub(crate) downstream: Downstream<'e>,
    pub(crate) request: RequestMessage<'e>,
    pub(crate) scratch: &'e mut Scratch,
    /// When the request's head was complete.
    pub(crate) began: Instant,
    /// What becomes of it.
    pub(crate) info: Outcome,
    /// What only access logs ask, where there are any.
    observed: Option<Box<Observed>>,
    /// The request has been answered, or its client has gone.
    is_over: bool,
}

/// Memory that a connection uses again from request to request.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Where the parts of an HTTP/1 endpoint's head lie.
    pub(crate) response: Response,
    pub(crate) request_out: Vec<u8>,
    pub(crate) response_out: Vec<u8>,
    pub(crate) timer: Timer,
}

/// What becomes of an HTTP/1 client's connection.
pub(crate) enum Next {
    /// It carries another request.
    Request,
    /// It is closed.
    Close,
    /// It is closed once the client has had time to read the response.
    Linger,
    /// It carries bytes, both ways; some have come behind the response's head.
    Tunnel(Box<Upstream>, Buffer),
}

/// What configurations call the permission to tunnel.
const CONNECT: &str = "connect";
/// Memory of a head that is kept from request to request.
const KEPT_HEAD: usize = 4096;

// === impl Exchange ===

impl<'e> Exchange<'e> {
    /// A request whose head has been read.
    pub(crate) fn new(
        manager: &'e Rc<ConnectionManager>,
        connection: &'e ConnectionInfo,
        downstream: Downstream<'e>,
        request: RequestMessage<'e>,
        scratch: &'e mut Scratch,
    ) -> Self {
        let stats = &manager.stats;
        stats.downstream_rq_total.inc();
        match request {
            RequestMessage::Http1(_) => stats.downstream_rq_http1_total.inc(),
            RequestMessage::Http2(_) => stats.downstream_rq_http2_total.inc(),
        }
        stats.downstream_rq_active.inc();
        let began = Instant::now();
        let is_logged = !manager.config.access_logs.is_empty();
        Self {
            manager,
            connection,
            downstream,
            request,
            scratch,
            began,
            info: Outcome::default(),
            observed: is_logged.then(|| Observed::new(began)),
            is_over: false,
        }
    }

    /// Answers the request.
    pub(crate) async fn run(&mut self) -> Next {
        let manager = self.manager;
        if manager.takes(ActionKind::StopAcceptingRequests, self.connection) {
            manager.stats.downstream_rq_overload_close.inc();
            let is_read = self.request.has_no_body();
            let reply = Reason::Overloaded.into();
            return self.reply(&reply, is_read, None, None).await;
        }
        if let Some(reason) = self.request.objection(&manager.config) {
            return self.object(reason).await;
        }
        let tls = self.connection.tls.as_deref();
        self.request
            .forward_client_cert(&manager.config.client_cert, tls);
        self.identify();
        self.observe_request();
        let (routes, random) = (manager.routes(), manager.random());
        let routes = routes.as_deref();
        let Some(head) = self.request.head() else {
            return Next::Close;
        };
        let matched = plan::find(manager, routes, head, random);
        if !manager.filters.is_empty() {
            return Box::pin(self.run_filtered(routes, matched, random)).await;
        }
        match Plan::new(manager, matched, head, random) {
            Plan::Reply(reply, matched) => {
                let is_read = self.request.has_no_body();
                self.reply(&reply, is_read, matched.as_ref(), None).await
            }
            Plan::Forward(ref plan) => self.forward(plan, None).await,
        }
    }

    /// Answers a request that is not routed.
    async fn object(&mut self, reason: Reason) -> Next {
        let stats = &self.manager.stats;
        let (mut reply, mut is_read) = (LocalReply::from(reason), false);
        match reason {
            // A client of gRPC does not follow.
            Reason::PathNormalized if !self.request.is_grpc() => {
                stats.downstream_rq_redirected_with_normalized_path.inc();
                reply.location = self.request.head().map(|head| reference(head.path()));
                is_read = self.request.has_no_body();
            }
            Reason::BadPath | Reason::PathNormalized => {
                stats.downstream_rq_failed_path_normalization.inc();
                reply = Reason::BadPath.into();
            }
            _ => {}
        }
        self.reply(&reply, is_read, None, None).await
    }

    /// Gives the request an id, if it needs one.
    fn identify(&mut self) {
        let config = &self.manager.config;
        let is_untrusted = config.use_remote_address && !config.preserve_external_request_id;
        let has_one = || {
            let head = self.request.head();
            head.is_some_and(|head| head.first("x-request-id").is_some())
        };
        if config.generate_request_id && (is_untrusted || !has_one()) {
            let id = request_id::new(self.manager.random(), self.manager.random());
            self.request.set_id(&id);
        }
    }

    /// Lets the request pass through the HTTP filters first.
    async fn run_filtered(
        &mut self,
        routes: Option<&RouteConfiguration>,
        matched: Option<Matched<'_>>,
        random: u64,
    ) -> Next {
        let manager = self.manager;
        let mut passage = Box::new(Passage::new(&manager.filters, matched));
        if let Err(reply) = self.decode(&mut passage, routes, random).await {
            if reply.reason == Reason::ClientClosed {
                return self.gone("");
            }
            let is_read = self.is_read(&passage);
            let route = passage.known_route();
            return self
                .reply(&reply, is_read, route.as_ref(), Some(&mut passage))
                .await;
        }
        let Some(head) = self.request.head() else {
            return Next::Close;
        };
        let matched = passage.route(head, &|head| plan::find(manager, routes, head, random));
        let plan = Plan::new(manager, matched, &Edited::new(head, &passage.edits), random);
        match plan {
            Plan::Reply(reply, matched) => {
                let is_read = self.is_read(&passage);
                self.reply(&reply, is_read, matched.as_ref(), Some(&mut passage))
                    .await
            }
            Plan::Forward(ref plan) => self.forward(plan, Some(passage)).await,
        }
    }

    /// Answers what could not be read as a request.
    pub(crate) async fn refuse(&mut self, reason: Reason) -> Next {
        self.reply(&reason.into(), false, None, None).await
    }

    async fn forward<'p>(
        &mut self,
        plan: &'p ForwardPlan<'p>,
        mut passage: Option<Box<Passage<'p>>>,
    ) -> Next {
        self.info.cluster = Some(plan.cluster.config.clone());
        let switch = match self.wish(plan) {
            Ok(switch) => switch,
            Err(reason) => {
                let stats = &self.manager.stats;
                stats.downstream_rq_ws_on_non_ws_route.inc();
                let passage = passage.as_deref_mut();
                let reply = reason.into();
                return self
                    .reply(&reply, false, Some(&plan.matched), passage)
                    .await;
            }
        };
        let mut sending = Sending::new(self, plan, switch, passage);
        self.send(&mut sending).await
    }

    /// What the request asks its connection to become. Else why that is refused.
    fn wish(&self, plan: &ForwardPlan<'_>) -> Result<Option<Switch>, Reason> {
        let RequestMessage::Http1(request) = &self.request else {
            return Ok(None);
        };
        let manager = self.manager;
        let (switch, allowed) = if request.is_connect() {
            (Switch::Tunnel, plan.allows_upgrade(manager, CONNECT))
        } else {
            match request.upgrade() {
                // HTTP/2 is spoken here with prior knowledge, and to each hop on its own.
                Some(protocol) if protocol != "h2c" => {
                    (Switch::Upgrade, plan.allows_upgrade(manager, &protocol))
                }
                _ => return Ok(None),
            }
        };
        // An upgrade would take an extended CONNECT (RFC 8441), which is not supported.
        match allowed && !plan.speaks_http2(&self.downstream) {
            true => Ok(Some(switch)),
            false => Err(Reason::UpgradeRefused),
        }
    }

    /// Whether an HTTP/1 connection carries another request after this one. `is_read`: this one has
    /// been read to its end.
    fn keeps_alive(&self, is_read: bool) -> bool {
        let RequestMessage::Http1(request) = &self.request else {
            return true;
        };
        is_read && request.keeps_alive() && !self.manager.is_leaving(self.connection)
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.gone("");
        }
        self.manager.stats.downstream_rq_active.dec();
    }
}

// === impl Scratch ===

impl Scratch {
    /// Gives back what an unusually large head, or one with a body kept for a retry, has needed.
    pub(crate) fn shrink(&mut self) {
        for head in [&mut self.request_out, &mut self.response_out] {
            if head.capacity() > KEPT_HEAD {
                *head = Vec::new();
            }
        }
    }
}
