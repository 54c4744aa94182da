//! A request on its way, from attempt to attempt.

use std::{future::poll_fn, task::Poll, time::Duration};

use tokio::time::Instant;

use weir_api::xds::peer::Mark;

use super::{
    Downstream, Exchange, Next,
    affinity::{Affinity, Wish},
    bridge::Bridge,
    deadlines::{Deadlines, Late},
    passage::Passage,
    plan::ForwardPlan,
    pump::Pump,
    request::RequestMessage,
    respond::Responding,
    retry::Retries,
    transfer::Transfer,
    upstream::{ReceivedHead, UpstreamPort},
};
use crate::{
    cluster::{ClusterStats, Tried},
    http::local_reply::LocalReply,
    info::GrpcStatus,
    reason::Reason,
};

/// A request on its way to an endpoint.
pub(super) struct Sending<'p> {
    pub(super) plan: &'p ForwardPlan<'p>,
    pub(super) transfer: Transfer,
    pub(super) deadlines: Deadlines<'p>,
    /// What it asks its connection to become, if that is passed on.
    pub(super) switch: Option<Switch>,
    /// Counted from 1.
    pub(super) attempt: u32,
    /// Who is asked. Here and not in the future of an attempt, which would hold it twice, as all below.
    pub(super) upstream: Option<UpstreamPort>,
    /// What it has answered.
    pub(super) answer: Answer,
    /// HTTP filters, if there are any.
    pub(super) passage: Option<Box<Passage<'p>>>,
    /// It is one of gRPC, where outlier detection asks.
    pub(super) is_grpc: bool,
    /// What leads it to an endpoint, if anything does.
    pub(super) affinity: Option<Box<Affinity>>,
    /// It was given up, and this is how far it came.
    mark: Option<Mark>,
}

/// How far the answer to a request has come.
pub(super) enum Answer {
    /// There is none yet.
    Awaited,
    /// Its head has come.
    Headed(ReceivedHead),
    /// It is on its way to the client.
    OnItsWay(Responding),
}

/// What a request asks its connection to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// One of another protocol, by `Upgrade`.
    Upgrade,
    /// A tunnel, by CONNECT.
    Tunnel,
}

// === impl Sending ===

impl<'p> Sending<'p> {
    pub(super) fn new(
        exchange: &mut Exchange<'_>,
        plan: &'p ForwardPlan<'p>,
        switch: Option<Switch>,
        mut passage: Option<Box<Passage<'p>>>,
    ) -> Self {
        let mut deadlines = Deadlines::new(exchange.manager, plan, exchange.began);
        let collected = passage.as_mut().and_then(|passage| passage.body.take());
        let speaks_http2 = plan.speaks_http2(&exchange.downstream);
        let is_seen = passage
            .as_ref()
            .is_some_and(|passage| passage.sees_request_trailers())
            && switch.is_none();
        let is_copied = !plan.forward.mirrors.is_empty();
        let mut transfer = match (collected, &exchange.request) {
            (Some(body), _) => Transfer::Framed(Bridge::default(), body),
            (None, RequestMessage::Http1(request)) if !speaks_http2 && !is_seen && !is_copied => {
                let head = std::mem::take(&mut exchange.scratch.request_out);
                Transfer::Raw(Pump::request(head, request.body()))
            }
            (None, _) => Transfer::Framed(Bridge::default(), exchange.request.take_body()),
        };
        if is_seen {
            transfer.show_trailers();
        }
        if transfer.has_read_all() {
            deadlines.request_is_read(exchange.began);
        }
        Self {
            plan,
            transfer,
            deadlines,
            switch,
            attempt: 1,
            upstream: None,
            answer: Answer::Awaited,
            passage,
            is_grpc: false,
            affinity: None,
            mark: None,
        }
    }

    /// What leads this attempt to an endpoint.
    fn wish(&self) -> Wish {
        let affinity = self.affinity.as_deref();
        affinity.map_or_else(Wish::default, |it| it.wish(self.attempt))
    }

    /// `set-cookie` of what its endpoint was chosen by.
    pub(super) fn take_cookies(&mut self) -> Vec<String> {
        let affinity = self.affinity.as_deref_mut();
        affinity.map_or_else(Vec::new, Affinity::take_cookies)
    }

    /// Counts what an HTTP/1 endpoint was sent and has sent. HTTP/2 connections count for themselves.
    pub(super) fn count_traffic(&mut self) {
        if let Some(UpstreamPort::Http1(stream)) = &mut self.upstream {
            stream.upstream.count_traffic();
        }
    }

    /// Notes when the request has been read to its end.
    pub(super) fn note_read(&mut self) {
        if !self.deadlines.knows_request_is_read() && self.transfer.has_read_all() {
            self.deadlines.request_is_read(Instant::now());
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The head, before it is on its way.
    pub(super) fn head(&self) -> Option<&ReceivedHead> {
        match self {
            Self::Headed(head) => Some(head),
            Self::Awaited | Self::OnItsWay(_) => None,
        }
    }

    pub(super) fn take_head(&mut self) -> Option<ReceivedHead> {
        match std::mem::replace(self, Self::Awaited) {
            Self::Headed(head) => Some(head),
            Self::Awaited | Self::OnItsWay(_) => None,
        }
    }

    /// The response on its way.
    pub(super) fn responding(&mut self) -> Option<&mut Responding> {
        match self {
            Self::OnItsWay(responding) => Some(responding),
            Self::Awaited | Self::Headed(_) => None,
        }
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Sends a request on, again where that may help, and answers it.
    pub(super) async fn send(&mut self, sending: &mut Sending<'_>) -> Next {
        let plan = sending.plan;
        let mut retries = Retries::new(plan);
        let mut is_copied = !plan.forward.mirrors.is_empty();
        let mut is_kept = retries.may_need_body() || is_copied;
        if is_kept {
            sending.transfer.keep_body(plan.keeps(self.connection));
        }
        if let Some(reason) = plan.cluster.drops_overload() {
            return self.give_up(sending, reason).await;
        }
        sending.affinity = self.affinity(sending);
        let mut tried = Tried::default();
        loop {
            let picked = match plan.cluster.forwards_by_name() {
                true => match Box::pin(self.resolve(sending)).await {
                    Ok(host) => Some(host),
                    Err(reply) => return Box::pin(self.give_up_with(sending, *reply)).await,
                },
                false => plan.pick(sending.wish(), self.destination(sending), &tried),
            };
            let Some(host) = picked else {
                return self.give_up(sending, Reason::NoHealthyUpstream).await;
            };
            let host = plan.named(host, self.request.head());
            let host = plan.cluster.of_client(host, self.connection);
            self.info.upstream_host = Some(host.address);
            if self.manager.context.mesh_metrics.is_some() {
                self.info.peer = host.peer();
            }
            if host.sidecar && sending.attempt == 1 {
                sending.transfer.keep_body(plan.keeps(self.connection));
            }
            let Some(active) = plan.cluster.begin_request(&host, plan.forward.priority) else {
                return self.give_up(sending, Reason::Overflow).await;
            };
            self.observe_attempt(&host);
            self.prepare_report(sending, &host);
            let attempted = self.attempt(sending, &host).await;
            self.report(sending, &host, &attempted);
            if is_copied && sending.upstream.is_some() {
                is_copied = false;
                self.mirror(sending, &host);
            }
            if is_kept && sending.transfer.has_outgrown() {
                is_kept = false;
                plan.named_cluster.stats.retry_or_shadow_abandoned.inc();
            }
            sending.deadlines.end_attempt();
            let can_rewind = self.request.has_head() && sending.transfer.can_rewind();
            match attempted {
                Ok(()) => {
                    let status = self.status(sending);
                    let grpc_status = || self.grpc_status(sending).map(GrpcStatus::code);
                    if !retries.after_response(status, grpc_status, can_rewind) {
                        self.info.is_exhausted = retries.is_exhausted;
                        return self.respond(sending, &host).await;
                    }
                    sending.count_traffic();
                    self.discard(sending);
                }
                Err(failure) => {
                    let is_safe = self.request.is_safe() && sending.transfer.has_read_all();
                    if !retries.after_failure(failure, &host, can_rewind, is_safe) {
                        self.info.is_exhausted = retries.is_exhausted;
                        sending.mark = retries.mark();
                        return self.give_up(sending, failure.reason).await;
                    }
                }
            }
            drop(active);
            // What is left of the attempt ends now, not with the next one.
            sending.transfer.let_go();
            let pause = retries.back_off(self.manager.random());
            if let Err(reason) = self.pause(sending, pause).await {
                return self.give_up(sending, reason).await;
            }
            sending.attempt += 1;
            tried.note(host);
        }
    }

    /// Tells the client that there is no response.
    async fn give_up(&mut self, sending: &mut Sending<'_>, reason: Reason) -> Next {
        // On the heap: it is rare, and most requests need not hold memory for it.
        Box::pin(self.give_up_with(sending, reason.into())).await
    }

    /// The same, and what filters are to say of it.
    async fn give_up_with(&mut self, sending: &mut Sending<'_>, said: LocalReply) -> Next {
        let (stats, plan, reason) = (&self.manager.stats, sending.plan, said.reason);
        let missing = sending
            .wish()
            .asked
            .filter(|_| reason == Reason::NoHealthyUpstream);
        let missing = missing.and_then(|asked| plan.missing(&asked));
        self.scratch.request_out = sending.transfer.take_head();
        self.info.bytes_received = sending.transfer.payload();
        match reason {
            Reason::ClientClosed => return self.gone(&plan.matched.route.name),
            Reason::StreamIdleTimeout => stats.downstream_rq_idle_timeout.inc(),
            Reason::RequestTimeout => stats.downstream_rq_timeout.inc(),
            Reason::BadRequest => stats.downstream_cx_protocol_error.inc(),
            reason => {
                let status = missing.unwrap_or(reason.status());
                plan.named_cluster.stats.upstream_rq.inc(status);
                plan.named_cluster.stats.upstream_rq_completed.inc();
            }
        }
        let is_read = sending.transfer.drop_body(self.downstream.wire());
        let mut reply = LocalReply::for_attempt(reason, is_read, sending.attempt);
        reply.status = missing.unwrap_or(reply.status);
        reply.of_filter = said.of_filter;
        reply.mark = sending.mark.filter(|_| self.connection.is_inbound());
        let passage = sending.passage.as_deref_mut();
        self.reply(&reply, is_read, Some(&plan.matched), passage)
            .await
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, sending: &mut Sending<'_>, pause: Duration) -> Result<(), Reason> {
        if pause.is_zero() {
            return Ok(());
        }
        let until = Instant::now() + pause;
        poll_fn(|cx| {
            let timer = &mut self.scratch.timer;
            if timer.poll(cx, Some(until)).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let is_read = sending.transfer.has_read_all();
            if self.downstream.poll_gone(cx, is_read).is_ready() {
                return Poll::Ready(Err(Reason::ClientClosed));
            }
            let late = sending.deadlines.poll(cx, timer, 0);
            late.map(|late| Err(late.reason(&sending.plan.named_cluster.stats)))
        })
        .await
    }

    /// Puts the connection of a response that nobody wants back, if nothing of it is still to
    /// come; else it is closed.
    fn discard(&self, sending: &mut Sending<'_>) {
        let (Some(UpstreamPort::Http1(mut stream)), Some(ReceivedHead::Http1(length))) =
            (sending.upstream.take(), sending.answer.take_head())
        else {
            return;
        };
        let response = &self.scratch.response;
        let mut body = response.body(self.request.is_head());
        let left = &mut stream.received.filled_mut()[length..];
        let whole = body.advance(left).taken == left.len() && body.has_ended();
        if whole && sending.transfer.is_sent() && response.keeps_alive() {
            self.manager.context.clusters.put_back(stream.upstream);
        }
    }

    /// Of the response whose head has come.
    pub(super) fn status(&self, sending: &Sending<'_>) -> u16 {
        match sending.answer.head() {
            Some(ReceivedHead::Http2(head, _)) => head.status.as_u16(),
            _ => self.scratch.response.status,
        }
    }

    /// Of a response that is nothing but trailers.
    pub(super) fn grpc_status(&self, sending: &Sending<'_>) -> Option<GrpcStatus> {
        let value = match (sending.answer.head()?, sending.upstream.as_ref()?) {
            (ReceivedHead::Http2(head, _), _) => head.headers.get("grpc-status")?.as_bytes(),
            (ReceivedHead::Http1(_), UpstreamPort::Http1(stream)) => {
                let bytes = stream.received.filled();
                self.scratch.response.header(bytes, b"grpc-status")?
            }
            (ReceivedHead::Http1(_), UpstreamPort::Http2(..)) => return None,
        };
        GrpcStatus::parse(value)
    }
}

// === impl ForwardPlan ===

impl ForwardPlan<'_> {
    /// Whether the endpoint is spoken to in HTTP/2, or may be.
    pub(super) fn speaks_http2(&self, client: &Downstream<'_>) -> bool {
        use crate::config::cluster::UpstreamProtocol;
        match self.cluster.config.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 | UpstreamProtocol::Auto => true,
            UpstreamProtocol::UseDownstream => matches!(client, Downstream::Http2(_)),
        }
    }
}

// === impl Late ===

impl Late {
    /// What to tell the client. Counts what the endpoint has to answer for.
    pub(super) fn reason(self, stats: &ClusterStats) -> Reason {
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
