//! One attempt: a request sent, and the head of its response awaited.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    deadlines::Late,
    exchange::{Sending, Switch},
    http1::Http1,
    pump::PumpError,
    request_changes::RequestChanges,
    retry::{Failure, FailureKind},
    upstream_head::{write_informational, write_request},
};
use crate::{
    buffer::Buffer,
    cluster::{Host, Upstream},
    http::codec::h1::{head::FieldKind, request::Parsed},
    reason::Reason,
};

/// Largest head of a response. Envoy's default is 60 KiB; ours leaves room for large cookies.
const MAX_RESPONSE_HEAD: usize = 1 << 20;
/// Bytes of further requests that are read while one is being answered.
const MAX_PIPELINED: usize = 16 * 1024;

/// An attempt that got a response head.
pub(super) struct Answered {
    pub(super) upstream: Upstream,
    /// What was read from the endpoint; begins with the head.
    pub(super) received: Buffer,
    pub(super) head_length: usize,
}

/// Why there is no response head.
enum Stop {
    Failed(Reason),
    Late(Late),
}

impl Http1<'_> {
    /// Sends the request to `host` and waits for the head of the response.
    pub(super) async fn attempt(
        &mut self,
        sending: &mut Sending<'_>,
        host: &Rc<Host>,
    ) -> Result<Answered, Failure> {
        let plan = sending.plan;
        let (mut upstream, reused) = self.connect(sending, host).await?;
        upstream.requests += 1;
        plan.cluster.stats.upstream_rq_total.inc();
        let mut head = sending.pump.take_head();
        self.write_request_head(&mut head, sending, host);
        sending.pump.rewind(head);
        sending.deadlines.begin_attempt();
        let mut received = Buffer::default();
        let mut relayed_1xx = Vec::new();
        let answer = poll_fn(|cx| {
            let from = (&mut upstream, &mut received);
            let head = self.poll_answer(cx, sending, from, &mut relayed_1xx);
            if let Poll::Ready(head) = head {
                return Poll::Ready(head.map_err(Stop::Failed));
            }
            let Sending {
                pump, deadlines, ..
            } = sending;
            if !deadlines.knows_request_is_read() && pump.has_read_all() {
                deadlines.request_is_read(Instant::now());
            }
            let late = deadlines.poll(cx, &mut self.timer, pump.moved);
            late.map(|late| Err(Stop::Late(late)))
        })
        .await;
        let stop = match answer {
            Ok(_) if host.sidecar && self.response.has(FieldKind::Undelivered) => {
                return Err(Failure::UNDELIVERED);
            }
            Ok(head_length) => {
                return Ok(Answered {
                    upstream,
                    received,
                    head_length,
                });
            }
            Err(stop) => stop,
        };
        let stats = &plan.cluster.stats;
        let reason = match stop {
            Stop::Failed(reason) => reason,
            Stop::Late(late) => {
                let kind = match late {
                    Late::PerTry => FailureKind::Lost,
                    Late::Request | Late::Route | Late::Idle => FailureKind::Final,
                };
                return Err(Failure {
                    reason: late.reason(stats),
                    kind,
                });
            }
        };
        let kind = match reason {
            Reason::UpstreamProtocolError => {
                stats.upstream_cx_protocol_error.inc();
                FailureKind::Lost
            }
            Reason::UpstreamClosed | Reason::UpstreamReset => {
                stats.upstream_rq_rx_reset.inc();
                stats.upstream_cx_destroy_remote_with_active_rq.inc();
                match (sending.pump.moved, reused && received.is_empty()) {
                    (0, _) => FailureKind::Unsent,
                    (_, true) => FailureKind::Stale,
                    (_, false) => FailureKind::Lost,
                }
            }
            _ => {
                stats.upstream_rq_tx_reset.inc();
                FailureKind::Final
            }
        };
        Err(Failure { reason, kind })
    }

    /// A connection to `host`, and whether it has carried requests before. Given up when the
    /// client goes, or has waited for too long.
    async fn connect(
        &mut self,
        sending: &mut Sending<'_>,
        host: &Rc<Host>,
    ) -> Result<(Upstream, bool), Failure> {
        let cluster = &sending.plan.cluster;
        if let Some(upstream) = cluster.take_idle(host) {
            return Ok((upstream, true));
        }
        let fail = |reason, kind| Err(Failure { reason, kind });
        // On the heap: most requests find a connection, and need not hold memory for a dial.
        let mut acquired = Box::pin(cluster.acquire(host));
        poll_fn(|cx| {
            if let Poll::Ready(acquired) = acquired.as_mut().poll(cx) {
                return Poll::Ready(match acquired {
                    Ok(acquired) => Ok((acquired.upstream, acquired.reused)),
                    Err(error) => {
                        cluster.stats.upstream_rq_pending_failure_eject.inc();
                        match error.reason() {
                            // As Envoy: what a circuit breaker refuses is not tried again. Where
                            // there is no endpoint, there is none to try.
                            reason @ (Reason::Overflow | Reason::NoHealthyUpstream) => {
                                fail(reason, FailureKind::Final)
                            }
                            reason => fail(reason, FailureKind::Unsent),
                        }
                    }
                });
            }
            if self.poll_gone(cx, sending.pump.has_read_all()).is_ready() {
                return Poll::Ready(fail(Reason::ClientClosed, FailureKind::Final));
            }
            let late = sending.deadlines.poll(cx, &mut self.timer, 0);
            late.map(|late| fail(late.reason(&cluster.stats), FailureKind::Final))
        })
        .await
    }

    /// Ready when the client is gone. Once its request `is_read` it has nothing to say but the
    /// next request or that.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, is_read: bool) -> Poll<()> {
        if !is_read || self.buffer.len() >= MAX_PIPELINED {
            return Poll::Pending;
        }
        while let Poll::Ready(read) = self.downstream.poll_read(cx, &mut self.buffer) {
            match read {
                Ok(n) if n > 0 && self.buffer.len() < MAX_PIPELINED => {}
                Ok(n) if n > 0 => break,
                _ => return Poll::Ready(()),
            }
        }
        self.buffer.release();
        Poll::Pending
    }

    /// Sends what can be sent, and looks for the head of the response.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending<'_>,
        (upstream, received): (&mut Upstream, &mut Buffer),
        relayed_1xx: &mut Vec<u8>,
    ) -> Poll<Result<usize, Reason>> {
        let may_switch = sending.switch == Some(Switch::Upgrade);
        let sending = &mut sending.pump;
        let mut sink_failed = false;
        if !sending.is_done() {
            let (from, to) = (&mut self.downstream, &mut upstream.connection);
            match sending.poll(cx, from, &mut self.buffer, to) {
                Poll::Ready(Err(PumpError::Source)) => {
                    return Poll::Ready(Err(Reason::ClientClosed));
                }
                Poll::Ready(Err(PumpError::Malformed)) => {
                    return Poll::Ready(Err(Reason::BadRequest));
                }
                // The endpoint may have answered before it closed.
                Poll::Ready(Err(PumpError::Sink)) => sink_failed = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            while !relayed_1xx.is_empty() {
                match self.downstream.poll_write(cx, relayed_1xx) {
                    Poll::Ready(Ok(written)) => drop(relayed_1xx.drain(..written)),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Reason::ClientClosed)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !received.is_empty() {
                match self.response.parse(received.filled()) {
                    Ok(Parsed::Complete(length)) if self.response.is_informational() => {
                        if self.request.minor_version > 0 {
                            write_informational(relayed_1xx, received.filled(), &self.response);
                        }
                        received.consume(length);
                        continue;
                    }
                    // Nobody asked for another protocol.
                    Ok(Parsed::Complete(_)) if self.response.status == 101 && !may_switch => {
                        return Poll::Ready(Err(Reason::UpstreamProtocolError));
                    }
                    Ok(Parsed::Complete(length)) => return Poll::Ready(Ok(length)),
                    Ok(Parsed::Partial) if received.len() <= MAX_RESPONSE_HEAD => {}
                    Ok(Parsed::Partial) | Err(_) => {
                        return Poll::Ready(Err(Reason::UpstreamProtocolError));
                    }
                }
            }
            match upstream.connection.poll_read(cx, received) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Reason::UpstreamClosed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Reason::UpstreamReset)),
                Poll::Pending if sink_failed => return Poll::Ready(Err(Reason::UpstreamReset)),
                Poll::Pending => break,
            }
        }
        if self.poll_gone(cx, sending.has_read_all()).is_ready() {
            return Poll::Ready(Err(Reason::ClientClosed));
        }
        Poll::Pending
    }

    fn write_request_head(&self, out: &mut Vec<u8>, sending: &Sending<'_>, host: &Host) {
        let plan = sending.plan;
        let facts = self.facts(&plan.matched.route.name);
        let (manager, request) = (&self.manager, &self.request);
        let changes = RequestChanges::new(manager, plan, request, &facts, host, sending.attempt);
        let upgrade = sending.switch == Some(Switch::Upgrade);
        write_request(out, request, &manager.config, &changes, upgrade);
    }
}
