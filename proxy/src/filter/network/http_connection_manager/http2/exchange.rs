//! One request sent on and answered, where either side speaks HTTP/2.

mod attempt;
mod client;
mod respond;
mod upstream;

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{HeaderMap, request};
use tokio::time::{Instant, sleep};

use super::{
    super::{ConnectionManager, deadlines::Deadlines, plan::ForwardPlan, retry::Retries},
    bridge::{Bridge, Source, Wire},
};
use crate::{
    access_log::Facts,
    cluster::Tried,
    http::{codec::h2::SendResponse, head::RequestHead, local_reply::LocalReply, timer::Timer},
    info::{ConnectionInfo, Outcome},
    reason::Reason,
};

/// One request on its way to an endpoint, and its response on the way back.
pub(in super::super) struct Exchange<'e> {
    pub(in super::super) manager: &'e ConnectionManager,
    pub(in super::super) plan: &'e ForwardPlan<'e>,
    pub(in super::super) context: &'e ConnectionInfo,
    /// What became of the request so far.
    pub(in super::super) outcome: &'e mut Outcome,
    pub(in super::super) client: Client<'e>,
    /// As it came; none once it has been sent and nobody will ask for it again.
    pub(in super::super) head: &'e mut Option<request::Parts>,
    /// The request's body.
    pub(in super::super) source: Source,
    pub(in super::super) began: Instant,
    sending: Option<Bridge>,
    timer: Timer,
    deadlines: Deadlines,
    is_head: bool,
}

/// Who asked.
pub(in super::super) enum Client<'e> {
    Http2(SendResponse),
    Http1 {
        wire: Wire<'e>,
        minor_version: u8,
        /// What the client is told of the connection.
        keep: bool,
        /// The end of the connection ends the response.
        until_close: bool,
        /// 1xx heads that have not been written yet.
        informational: Vec<u8>,
    },
}

/// What became of a request.
pub(in super::super) enum Ended {
    /// Nothing has been sent to the client, which is to be told why.
    Refused(LocalReply),
    /// The client went away before there was a response.
    Gone,
    /// There was a response.
    Answered(Answer),
}

/// A response that was sent.
pub(in super::super) struct Answer {
    pub(in super::super) status: u16,
    /// Headers, if the access log may ask for them.
    pub(in super::super) headers: Option<Box<HeaderMap>>,
    /// Bytes of the head, as HTTP/1 has it.
    pub(in super::super) head_bytes: u64,
    pub(in super::super) body_bytes: u64,
    /// Why it was cut short.
    pub(in super::super) cut: Option<Reason>,
    /// The HTTP/1 client may send another request.
    pub(in super::super) keep: bool,
    /// The end of the connection ends the response.
    pub(in super::super) until_close: bool,
}

impl Ended {
    /// With the mark of a request that reached no application.
    fn marked(mut self, undelivered: bool) -> Self {
        if let Self::Refused(reply) = &mut self {
            reply.undelivered = undelivered;
        }
        self
    }
}

impl<'e> Exchange<'e> {
    pub(in super::super) fn new(
        manager: &'e ConnectionManager,
        plan: &'e ForwardPlan<'e>,
        (context, outcome): (&'e ConnectionInfo, &'e mut Outcome),
        client: Client<'e>,
        (head, source): (&'e mut Option<request::Parts>, Source),
        began: Instant,
    ) -> Self {
        outcome.cluster = Some(Arc::clone(&plan.cluster.config));
        Self {
            manager,
            plan,
            context,
            outcome,
            client,
            is_head: head
                .as_ref()
                .is_some_and(|head| head.method == http::Method::HEAD),
            head,
            source,
            began,
            sending: None,
            timer: Timer::default(),
            deadlines: Deadlines::new(manager, plan, began),
        }
    }

    /// Sends the request on, again where that may help, and the response back.
    pub(in super::super) async fn run(&mut self) -> Ended {
        let plan = self.plan;
        let mut retries = Retries::new(plan);
        let mut tried = Tried::default();
        let mut attempt = 1;
        if self.source.has_ended() {
            self.deadlines.request_is_read(self.began);
        }
        loop {
            let Some(host) = plan.pick(self.context, &tried) else {
                return self.give_up(Reason::NoHealthyUpstream, attempt);
            };
            self.outcome.upstream_host = Some(host.address);
            let Some(active) = plan.cluster.begin_request(&host) else {
                return self.give_up(Reason::Overflow, attempt);
            };
            let answered = self.attempt(&host, attempt).await;
            self.deadlines.end_attempt();
            let can_rewind = self.can_rewind();
            match answered {
                Ok(answered) => {
                    let grpc_status = || grpc_status(&answered.head.headers);
                    let status = answered.head.status.as_u16();
                    if !retries.after_response(status, grpc_status, can_rewind) {
                        let Some(mut response) = self.begin_response(answered) else {
                            return Ended::Gone;
                        };
                        let cut = self.relay(&mut response).await;
                        return self.end_response(response, cut);
                    }
                }
                Err(failure) => {
                    let is_safe = self.head.as_ref().is_some_and(|head| head.method.is_safe());
                    if !retries.after_failure(failure, &host, can_rewind, is_safe) {
                        let undelivered = retries.reached_nobody() && self.context.is_inbound();
                        let ended = self.give_up(failure.reason, attempt);
                        return ended.marked(undelivered);
                    }
                }
            }
            drop(active);
            // What is left of the attempt ends now, not with the next one.
            if let Some(sending) = &mut self.sending {
                sending.let_go();
            }
            let pause = retries.back_off(self.manager.random());
            if let Err(reason) = self.pause(pause).await {
                return self.give_up(reason, attempt);
            }
            attempt += 1;
            tried.note(host);
        }
    }

    fn give_up(&self, reason: Reason, attempt: u32) -> Ended {
        let stats = &self.manager.stats;
        match reason {
            Reason::ClientClosed => return Ended::Gone,
            Reason::StreamIdleTimeout => stats.downstream_rq_idle_timeout.inc(),
            Reason::RequestTimeout => stats.downstream_rq_timeout.inc(),
            Reason::BadRequest => stats.downstream_cx_protocol_error.inc(),
            reason => self.plan.cluster.stats.upstream_rq.inc(reason.status()),
        }
        let is_read = self.deadlines.knows_request_is_read();
        Ended::Refused(LocalReply::for_attempt(reason, is_read, attempt))
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, pause: Duration) -> Result<(), Reason> {
        if pause.is_zero() {
            return Ok(());
        }
        let mut paused = Box::pin(sleep(pause));
        poll_fn(|cx| {
            if paused.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let all_read = self.deadlines.knows_request_is_read();
            if self.client.poll_gone(cx, all_read).is_ready() {
                return Poll::Ready(Err(Reason::ClientClosed));
            }
            let late = self.deadlines.poll(cx, &mut self.timer, 0);
            late.map(|late| Err(late.reason(&self.plan.cluster.stats)))
        })
        .await
    }

    /// Whether the request is still there to be sent again.
    fn can_rewind(&self) -> bool {
        self.head.is_some() && self.sending.as_ref().is_none_or(Bridge::can_rewind)
    }

    /// Bytes of the request's body that were sent on.
    pub(in super::super) fn sent_bytes(&self) -> u64 {
        self.sending.as_ref().map_or(0, |sending| sending.moved)
    }

    /// What formats may ask for.
    fn facts<'a>(&'a self, request: Option<&'a dyn RequestHead>) -> Facts<'a> {
        let peer = self.context.remote.ip();
        Facts {
            context: self.context,
            outcome: self.outcome,
            request,
            response: None,
            client: request.and_then(|request| self.manager.client(request, peer)),
            upstream_local: None,
            duration_us: 0,
            start: self.context.start_time,
            bytes_received: 0,
            bytes_sent: 0,
            route_name: &self.plan.matched.route.name,
        }
    }
}

/// Of a response that is nothing but trailers.
fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
