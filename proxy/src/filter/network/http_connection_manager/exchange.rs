//! One HTTP/1 request: routed, sent to an endpoint, answered.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll, time::Duration};

use tokio::time::Instant;

use super::{
    ConnectionManager,
    attempt::Answered,
    deadlines::{Deadlines, Late},
    http1::{Http1, InFlight, Next},
    plan::{ForwardPlan, Plan},
    pump::Pump,
    respond::{Responded, Then},
    retry::Retries,
    trust::is_trusted,
};
use crate::{
    access_log::Facts,
    cluster::Tried,
    config::cluster::UpstreamProtocol,
    http::{
        codec::h1::{
            body::Body,
            head::{Field, FieldKind},
            request::Request,
        },
        head::RequestHead,
        local_reply::LocalReply,
        path::BadPath,
    },
    reason::Reason,
};

/// What configurations call the permission to tunnel.
const CONNECT: &str = "connect";

/// A request on its way, from attempt to attempt.
pub(super) struct Sending<'p> {
    pub(super) plan: &'p ForwardPlan<'p>,
    pub(super) pump: Pump,
    pub(super) deadlines: Deadlines,
    /// What it asks its connection to become, if that is passed on.
    pub(super) switch: Option<Switch>,
    /// Counted from 1.
    pub(super) attempt: u32,
    /// It was given up, and nothing of it was sent.
    pub(super) undelivered: bool,
}

/// What a request asks its connection to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// One of another protocol, by `Upgrade`.
    Upgrade,
    /// A tunnel, by CONNECT.
    Tunnel,
}

impl Http1<'_> {
    /// Serves the request whose head has been read.
    pub(super) async fn exchange(&mut self) -> Next {
        let manager = Rc::clone(&self.manager);
        manager.stats.downstream_rq_total.inc();
        manager.stats.downstream_rq_http1_total.inc();
        self.active = Some(InFlight::new(&manager));
        self.begin_outcome();
        self.context.http = self.request.protocol();
        let body = self.request.body();
        let body_is_read = body.has_ended();
        if let Some(reason) = self.objection() {
            self.context.outcome.cluster = None;
            return self.reply(&reason.into(), false, None).await;
        }
        let routes = manager.routes();
        let clusters = Rc::clone(&manager.context.clusters);
        let plan = Plan::new(&manager, routes.as_deref(), &self.request, &clusters);
        match plan {
            Plan::Reply(reply, matched) => {
                self.context.outcome.cluster = None;
                let keep = body_is_read && !self.request.is_connect();
                self.reply(&reply, keep, matched.as_ref()).await
            }
            Plan::Forward(ref plan) => self.forward(&manager, plan, body).await,
        }
    }

    /// What is wrong with the request before it is routed. Brings it into the form that is routed.
    fn objection(&mut self) -> Option<Reason> {
        let config = &self.manager.config;
        let bytes = &self.request.bytes;
        let trusted = |field: &Field| is_trusted(config, field.kind, &bytes[field.name.clone()]);
        self.request.fields.retain(trusted);
        if !self.request.is_connect() {
            match config.path.apply(self.request.text(&self.request.path)) {
                Ok(None) => {}
                Ok(Some(path)) => self.request.set_path(&path),
                Err(BadPath) => return Some(Reason::BadRequest),
            }
        }
        if self.request.minor_version == 0 {
            let host = &config.default_host_for_http_10;
            if !host.is_empty() && self.request.authority.is_empty() {
                self.request.set_authority(host.as_bytes());
            }
            return (!config.accept_http_10).then_some(Reason::UpgradeRequired);
        }
        // RFC 9112 section 3.2: a request without Host is a bad one.
        let has_host = self.request.field(FieldKind::Host).is_some();
        (!has_host && self.request.authority.is_empty()).then_some(Reason::BadRequest)
    }

    async fn forward(
        &mut self,
        manager: &Rc<ConnectionManager>,
        plan: &ForwardPlan<'_>,
        body: Body,
    ) -> Next {
        let switch = match self.wish(manager, plan) {
            Ok(switch) => switch,
            Err(reason) => {
                manager.stats.downstream_rq_ws_on_non_ws_route.inc();
                return self.reply(&reason.into(), false, Some(&plan.matched)).await;
            }
        };
        let outcome = &mut self.context.outcome;
        if !outcome
            .cluster
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(c, &plan.cluster.config))
        {
            outcome.cluster = Some(Arc::clone(&plan.cluster.config));
        }
        // What an HTTP/1.0 client cannot read is framed anew; without a Host there is nothing to
        // ask an HTTP/1.1 endpoint by.
        let reframed = self.request.minor_version == 0
            && switch.is_none()
            && !self.request.authority.is_empty();
        if plan.cluster.config.protocol == UpstreamProtocol::Http2 || reframed {
            return match switch {
                // On the heap, so that those who need it not do not hold its memory.
                None => Box::pin(self.forward_to_http2(plan, body)).await,
                // An upgrade would take an extended CONNECT (RFC 8441), which is not supported.
                Some(_) => {
                    let reply = Reason::UpgradeRefused.into();
                    self.reply(&reply, false, Some(&plan.matched)).await
                }
            };
        }
        let mut deadlines = Deadlines::new(manager, plan, self.began);
        if body.has_ended() {
            deadlines.request_is_read(self.began);
        }
        let head = std::mem::take(&mut self.out);
        let mut sending = Sending {
            plan,
            pump: Pump::request(head, body),
            deadlines,
            switch,
            attempt: 1,
            undelivered: false,
        };
        self.send(&mut sending).await
    }

    /// What the request asks its connection to become. Else why that is refused.
    fn wish(
        &self,
        manager: &ConnectionManager,
        plan: &ForwardPlan<'_>,
    ) -> Result<Option<Switch>, Reason> {
        let (switch, allowed) = if self.request.is_connect() {
            (Switch::Tunnel, plan.allows_upgrade(manager, CONNECT))
        } else {
            match self.request.upgrade() {
                // HTTP/2 is spoken here with prior knowledge, and to each hop on its own.
                Some(protocol) if protocol != "h2c" => {
                    (Switch::Upgrade, plan.allows_upgrade(manager, &protocol))
                }
                _ => return Ok(None),
            }
        };
        match allowed {
            true => Ok(Some(switch)),
            false => Err(Reason::UpgradeRefused),
        }
    }

    /// Sends a request on, again where that may help, and answers it.
    async fn send(&mut self, sending: &mut Sending<'_>) -> Next {
        let plan = sending.plan;
        let mut retries = Retries::new(plan);
        if retries.may_need_body() {
            sending.pump.keep_body();
        }
        let mut tried = Tried::default();
        loop {
            let Some(host) = plan.pick(self.context, &tried) else {
                return self.give_up(sending, Reason::NoHealthyUpstream).await;
            };
            self.context.outcome.upstream_host = Some(host.address);
            if host.sidecar && sending.attempt == 1 {
                sending.pump.keep_body();
            }
            let Some(active) = plan.cluster.begin_request(&host) else {
                return self.give_up(sending, Reason::Overflow).await;
            };
            let answered = self.attempt(sending, &host).await;
            sending.deadlines.end_attempt();
            let can_rewind = sending.pump.can_rewind();
            match answered {
                Ok(mut answered) => {
                    let grpc_status = || self.grpc_status(&answered);
                    let status = self.response.status;
                    if !retries.after_response(status, grpc_status, can_rewind) {
                        let responded = self.respond(sending, &mut answered).await;
                        let next = self.settle(responded, answered);
                        if responded.then == Then::Linger {
                            self.linger().await;
                        }
                        return next;
                    }
                    self.discard(sending, answered);
                }
                Err(failure) => {
                    let is_safe = sending.pump.has_read_all() && is_safe(&self.request);
                    if !retries.after_failure(failure, &host, can_rewind, is_safe) {
                        sending.undelivered = retries.reached_nobody();
                        return self.give_up(sending, failure.reason).await;
                    }
                }
            }
            drop(active);
            let pause = retries.back_off(self.manager.random());
            if let Err(reason) = self.pause(sending, pause).await {
                return self.give_up(sending, reason).await;
            }
            sending.attempt += 1;
            tried.note(host);
        }
    }

    /// Puts the endpoint's connection to its further use, and says what follows.
    fn settle(&self, responded: Responded, answered: Answered) -> Next {
        let upstream = answered.upstream;
        if responded.then == Then::Tunnel {
            return Next::Tunnel(Box::new(upstream), answered.received);
        }
        if responded.reuse {
            self.manager.context.clusters.put_back(upstream);
        }
        match responded.then {
            Then::Request => Next::Request,
            _ => Next::Close,
        }
    }

    /// Tells the client that there is no response.
    async fn give_up(&mut self, sending: &mut Sending<'_>, reason: Reason) -> Next {
        let stats = Rc::clone(&self.manager);
        let (stats, plan) = (&stats.stats, sending.plan);
        self.out = sending.pump.take_head();
        match reason {
            Reason::ClientClosed => return self.gone(&plan.matched.route.name),
            Reason::StreamIdleTimeout => stats.downstream_rq_idle_timeout.inc(),
            Reason::RequestTimeout => stats.downstream_rq_timeout.inc(),
            Reason::BadRequest => stats.downstream_cx_protocol_error.inc(),
            reason => plan.cluster.stats.upstream_rq.inc(reason.status()),
        }
        let body_is_read = sending.pump.drop_body(&mut self.buffer);
        let mut reply = LocalReply::for_attempt(reason, body_is_read, sending.attempt);
        reply.undelivered = sending.undelivered && self.context.is_inbound();
        self.reply(&reply, body_is_read, Some(&plan.matched)).await
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, sending: &mut Sending<'_>, pause: Duration) -> Result<(), Reason> {
        if pause.is_zero() {
            return Ok(());
        }
        let until = Instant::now() + pause;
        poll_fn(|cx| {
            if self.timer.poll(cx, Some(until)).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.poll_gone(cx, sending.pump.has_read_all()).is_ready() {
                return Poll::Ready(Err(Reason::ClientClosed));
            }
            let late = sending.deadlines.poll(cx, &mut self.timer, 0);
            late.map(|late| Err(late.reason(&sending.plan.cluster.stats)))
        })
        .await
    }

    /// Puts the connection of a response that nobody wants back, if nothing of it is still to
    /// come; else it is closed.
    fn discard(&self, sending: &Sending<'_>, mut answered: Answered) {
        let mut body = self.response.body(self.request.is_head());
        let left = &mut answered.received.filled_mut()[answered.head_length..];
        let whole = body.advance(left).taken == left.len() && body.has_ended();
        if whole && sending.pump.is_done() && self.response.keeps_alive() {
            self.manager.context.clusters.put_back(answered.upstream);
        }
    }

    fn grpc_status(&self, answered: &Answered) -> Option<u8> {
        let bytes = answered.received.filled();
        let mut fields = self.response.fields.iter();
        let named = |name: &[u8]| name.eq_ignore_ascii_case(b"grpc-status");
        let field = fields.find(|field| named(&bytes[field.name.clone()]))?;
        let value = std::str::from_utf8(&bytes[field.value.clone()]).ok()?;
        value.parse().ok()
    }

    pub(super) fn facts<'a>(&'a self, route_name: &'a str) -> Facts<'a> {
        Facts {
            context: self.context,
            outcome: &self.context.outcome,
            request: Some(&self.request),
            response: None,
            client: self.manager.client(&self.request, self.context.remote.ip()),
            upstream_local: None,
            duration_us: 0,
            start: self.context.start_time,
            bytes_received: 0,
            bytes_sent: 0,
            route_name,
        }
    }
}

/// Methods that may be repeated without the client knowing (RFC 9110 section 9.2.1).
fn is_safe(request: &Request) -> bool {
    matches!(request.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

// === impl Late ===

impl Late {
    /// What to tell the client. Counts what the endpoint has to answer for.
    pub(super) fn reason(self, stats: &crate::cluster::ClusterStats) -> Reason {
        match self {
            Self::Route => {
                stats.upstream_rq_timeout.inc();
                Reason::UpstreamTimeout
            }
            Self::PerTry => {
                stats.upstream_rq_per_try_timeout.inc();
                Reason::UpstreamTimeout
            }
            Self::Request => Reason::RequestTimeout,
            Self::Idle => Reason::StreamIdleTimeout,
        }
    }
}
