//! One attempt: a request sent, and the head of its response awaited.

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    deadlines::Late,
    exchange::Sending,
    http1::Http1,
    plan::ForwardPlan,
    pump::{Pump, PumpError},
    retry::{Failure, FailureKind},
    upstream_head::{RequestHeadPlan, write_request},
};
use crate::{
    buffer::Buffer,
    cluster::{Host, Upstream},
    config::route::HostRewrite,
    http::{
        h1::{head::FieldKind, request::Parsed},
        head::RequestHead,
        header_edits::HeaderEdits,
        request_id::{self, RequestId},
        route::rewrite_path,
    },
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
        self.write_request_head(&mut head, plan, host, sending.upgrading, sending.attempt);
        sending.pump.rewind(head);
        sending.deadlines.begin_attempt();
        let mut received = Buffer::default();
        let mut relayed_1xx = Vec::new();
        let pump = &mut sending.pump;
        let deadlines = &mut sending.deadlines;
        let answer = poll_fn(|cx| {
            let head = self.poll_answer(cx, &mut upstream, pump, &mut received, &mut relayed_1xx);
            if let Poll::Ready(head) = head {
                return Poll::Ready(head.map_err(Stop::Failed));
            }
            if !deadlines.knows_request_is_read() && pump.has_read_all() {
                deadlines.request_is_read(Instant::now());
            }
            let late = deadlines.poll(cx, &mut self.timer, pump.moved);
            late.map(|late| Err(Stop::Late(late)))
        })
        .await;
        let stop = match answer {
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
                match (pump.moved, reused && received.is_empty()) {
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
                            // As Envoy: what a circuit breaker refuses is not tried again.
                            Reason::Overflow => fail(Reason::Overflow, FailureKind::Final),
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
        upstream: &mut Upstream,
        sending: &mut Pump,
        received: &mut Buffer,
        relayed_1xx: &mut Vec<u8>,
    ) -> Poll<Result<usize, Reason>> {
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
                            relayed_1xx.extend_from_slice(&received.filled()[..length]);
                        }
                        received.consume(length);
                        continue;
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

    fn write_request_head(
        &self,
        out: &mut Vec<u8>,
        plan: &ForwardPlan<'_>,
        host: &Host,
        upgrading: bool,
        attempt: u32,
    ) {
        let config = &self.manager.config;
        let envoy_headers = !self.manager.router().suppress_envoy_headers;
        let mut edits = HeaderEdits::default();
        for level in plan.matched.levels() {
            if !level.request.is_empty() {
                let there = |name: &str| self.request.header(name).is_some();
                edits.apply(
                    &level.request,
                    &there,
                    &self.facts(&plan.matched.route.name),
                );
            }
        }
        let path = plan.forward.path_rewrite.as_ref();
        let path = path.map(|r| rewrite_path(r, &plan.matched.route.criteria, self.request.path()));
        let new_host: Option<Cow<'_, str>> = match &plan.forward.host_rewrite {
            HostRewrite::Keep => None,
            HostRewrite::Literal(host) => Some(host.into()),
            HostRewrite::Auto => (!host.hostname.is_empty()).then(|| (&*host.hostname).into()),
            HostRewrite::Header(name) => self.request.header(name),
        };
        if new_host.is_some() && plan.forward.append_x_forwarded_host {
            edits
                .added
                .push(("x-forwarded-host", self.request.authority().to_owned()));
        }
        if new_host.is_some() && envoy_headers {
            edits
                .added
                .push(("x-envoy-original-host", self.request.authority().to_owned()));
        }
        if path.is_some() && envoy_headers {
            edits
                .added
                .push(("x-envoy-original-path", self.request.path().to_owned()));
        }
        let forwarded_for = (config.use_remote_address && !config.skip_xff_append)
            .then(|| self.context.remote.ip());
        let has_id = self.request.field(FieldKind::RequestId).is_some();
        let untrusted = config.use_remote_address && !config.preserve_external_request_id;
        let new_id = config.generate_request_id && (!has_id || untrusted);
        let request_id =
            new_id.then(|| request_id::new(self.manager.random(), self.manager.random()));
        let timeout = plan.forward.timeout.filter(|_| envoy_headers);
        let count = plan.matched.virtual_host.include_request_attempt_count;
        let head = RequestHeadPlan {
            edits: &edits,
            path: path.as_deref(),
            host: new_host.as_deref(),
            upgrade: upgrading,
            forwarded_for,
            request_id: request_id.as_ref().map(RequestId::as_str),
            expected_timeout_ms: timeout.map(|timeout| timeout.as_millis()),
            attempt: count.then_some(attempt),
        };
        write_request(out, &self.request, config, &head);
    }
}
