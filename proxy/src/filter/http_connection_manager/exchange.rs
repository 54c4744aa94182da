//! One HTTP/1 request: routed, sent to an endpoint, answered.

use std::{
    borrow::Cow,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    ConnectionManager,
    http1::{Http1, Next},
    plan::{ForwardPlan, Plan},
    pump::{Pump, PumpError},
    upstream_head::{
        ConnectionHeader, RequestHeadPlan, ResponseHeadPlan, write_request, write_response,
    },
};
use crate::{
    access_log::Facts,
    buffer::Buffer,
    cluster::{Host, Upstream, micros},
    config::route::{HostRewrite, RetryOn},
    http::{
        h1::{
            body::{Body, Framing},
            head::FieldKind,
            request::{Parsed, Request},
        },
        head::RequestHead,
        header_edits::HeaderEdits,
        request_id,
        route::rewrite_path,
    },
    reason::Reason,
};

/// An attempt that got no response.
struct Failure {
    reason: Reason,
    /// Nothing of the request can have been processed.
    unprocessed: bool,
    /// The connection had carried requests before, and the endpoint closed it.
    stale: bool,
}

/// An attempt that got a response head.
struct Answered {
    upstream: Upstream,
    /// What was read from the endpoint; begins with the head.
    received: Buffer,
    head_length: usize,
    /// The rest of the request.
    sending: Pump,
    sent_at: Instant,
}

impl Http1<'_> {
    /// Serves the request whose head has been read.
    pub(super) async fn exchange(&mut self) -> Next {
        let manager = Rc::clone(&self.manager);
        manager.stats.downstream_rq_total.inc();
        manager.stats.downstream_rq_http1_total.inc();
        manager.stats.downstream_rq_active.inc();
        self.context.outcome.requests += 1;
        self.context.outcome.reason = None;
        let body = Body::new(self.request.semantics.framing.unwrap_or(Framing::Length(0)));
        let body_is_read = body.has_ended();
        if let Some(reason) = self.objection() {
            return self.reply(&reason.into(), false, None).await;
        }
        let routes = manager.routes(&self.context.worker);
        let clusters = Rc::clone(&self.context.worker.clusters);
        let plan = Plan::new(&manager, routes.as_deref(), &self.request, &clusters);
        match plan {
            Plan::Reply(reply, matched) => {
                let keep = body_is_read && self.request.method() != "CONNECT";
                self.reply(&reply, keep, matched.as_ref()).await
            }
            Plan::Forward(plan) => self.forward(&manager, &plan, body).await,
        }
    }

    /// What is wrong with the request before it is routed.
    fn objection(&self) -> Option<Reason> {
        let config = &self.manager.config;
        if self.request.minor_version == 0 {
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
        let upgrade = self.request.upgrade();
        let upgrade = upgrade.filter(|protocol| protocol != "h2c");
        if upgrade
            .as_ref()
            .is_some_and(|protocol| !plan.allows_upgrade(manager, protocol))
        {
            manager.stats.downstream_rq_ws_on_non_ws_route.inc();
            return self
                .reply(&Reason::UpgradeRefused.into(), false, Some(&plan.matched))
                .await;
        }
        let outcome = &mut self.context.outcome;
        if !outcome
            .cluster
            .as_ref()
            .is_some_and(|c| Arc::ptr_eq(c, &plan.cluster.config))
        {
            outcome.cluster = Some(Arc::clone(&plan.cluster.config));
        }
        let deadline = plan.forward.timeout.map(|timeout| self.began + timeout);
        let policy = plan.retry_policy();
        let retries = policy.map_or(0, |policy| policy.num_retries);
        let on = policy.map_or_else(RetryOn::default, |policy| policy.on);
        let (mut attempt, mut failed): (u32, Option<Rc<Host>>) = (1, None);
        let stats = Arc::clone(&plan.cluster.stats);
        loop {
            let destination = self.context.original_destination;
            let Some(host) = plan.cluster.pick(destination, failed.as_ref()) else {
                return self
                    .reply(
                        &Reason::NoHealthyUpstream.into(),
                        body.has_ended(),
                        Some(&plan.matched),
                    )
                    .await;
            };
            self.context.outcome.upstream_host = Some(host.address);
            let Some(active) = plan.cluster.begin_request(&host) else {
                return self
                    .reply(
                        &Reason::Overflow.into(),
                        body.has_ended(),
                        Some(&plan.matched),
                    )
                    .await;
            };
            let upgrading = upgrade.is_some();
            let answered = self
                .attempt(plan, &host, body.clone(), upgrading, attempt, deadline)
                .await;
            match answered {
                Ok(answered) => {
                    let next = self.respond(plan, answered, upgrading, deadline).await;
                    drop(active);
                    return next;
                }
                Err(failure) => {
                    let safe = failure.unprocessed
                        && (on.connect_failure || on.reset_before_request || on.refused_stream);
                    let resend = failure.stale && body.has_ended() && is_safe(&self.request);
                    let asked = !failure.unprocessed && on.reset && body.has_ended();
                    let left = attempt <= retries;
                    if failure.reason != Reason::ClientClosed
                        && ((left && (safe || asked)) || (resend && attempt == 1))
                    {
                        stats.upstream_rq_retry.inc();
                        attempt += 1;
                        failed = Some(host);
                        continue;
                    }
                    if failure.reason == Reason::ClientClosed {
                        manager.stats.downstream_rq_rx_reset.inc();
                        manager.stats.downstream_rq_active.dec();
                        self.context.outcome.reason = Some(Reason::ClientClosed);
                        return Next::Close;
                    }
                    if attempt > 1 {
                        stats.upstream_rq_retry_limit_exceeded.inc();
                    }
                    // Of a body that has begun to leave nothing can be read again.
                    stats.upstream_rq.inc(failure.reason.status());
                    return self
                        .reply(
                            &failure.reason.into(),
                            body.has_ended(),
                            Some(&plan.matched),
                        )
                        .await;
                }
            }
        }
    }

    /// Sends the request to `host` and waits for the head of the response.
    async fn attempt(
        &mut self,
        plan: &ForwardPlan<'_>,
        host: &Rc<Host>,
        body: Body,
        upgrading: bool,
        attempt: u32,
        deadline: Option<Instant>,
    ) -> Result<Answered, Failure> {
        let acquired = plan.cluster.acquire(host).await;
        let acquired = acquired.map_err(|error| {
            plan.cluster.stats.upstream_rq_pending_failure_eject.inc();
            Failure {
                reason: error.reason(),
                unprocessed: true,
                stale: false,
            }
        })?;
        let (mut upstream, reused) = (acquired.upstream, acquired.reused);
        upstream.requests += 1;
        let mut head = std::mem::take(&mut self.out);
        head.clear();
        self.write_request_head(&mut head, plan, host, upgrading, attempt);
        let mut sending = Pump::new(head, body);
        let mut received = Buffer::default();
        let mut relayed_1xx = Vec::new();
        let idle = plan.idle_timeout(&self.manager);
        let mut idle_deadline = idle.map(|idle| self.began + idle);
        let mut moved = 0;
        let head_length = poll_fn(|cx| {
            let head = self.poll_answer(
                cx,
                &mut upstream,
                &mut sending,
                &mut received,
                &mut relayed_1xx,
            );
            if let Poll::Ready(head) = head {
                return Poll::Ready(head);
            }
            if idle.is_some() && moved != sending.moved {
                moved = sending.moved;
                idle_deadline = idle.map(|idle| Instant::now() + idle);
            }
            let first = [deadline, idle_deadline].into_iter().flatten().min();
            self.timer.poll(cx, first).map(|()| {
                let is_idle = idle_deadline.is_some_and(|idle| deadline.is_none_or(|d| idle < d));
                Err(if is_idle {
                    Reason::StreamIdleTimeout
                } else {
                    Reason::UpstreamTimeout
                })
            })
        })
        .await;
        match head_length {
            Ok(head_length) => {
                let sent_at = self.began;
                Ok(Answered {
                    upstream,
                    received,
                    head_length,
                    sending,
                    sent_at,
                })
            }
            Err(reason) => {
                let stats = &plan.cluster.stats;
                match reason {
                    Reason::UpstreamTimeout | Reason::StreamIdleTimeout => {
                        stats.upstream_rq_timeout.inc()
                    }
                    Reason::UpstreamProtocolError => stats.upstream_cx_protocol_error.inc(),
                    Reason::ClientClosed => stats.upstream_rq_tx_reset.inc(),
                    _ => {
                        stats.upstream_rq_rx_reset.inc();
                        stats.upstream_cx_destroy_remote_with_active_rq.inc();
                    }
                }
                let lost = matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
                let stale = reused && lost && received.is_empty() && sending.body_is_untouched();
                let unprocessed = sending.moved == 0 && lost;
                self.out = sending.into_head();
                Err(Failure {
                    reason,
                    unprocessed,
                    stale,
                })
            }
        }
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
        // The request is complete, so the client has nothing to say but the next request or that
        // it is gone.
        if sending.has_read_all() && self.buffer.len() < MAX_PIPELINED {
            while let Poll::Ready(read) = self.downstream.poll_read(cx, &mut self.buffer) {
                match read {
                    Ok(n) if n > 0 && self.buffer.len() < MAX_PIPELINED => {}
                    Ok(n) if n > 0 => break,
                    _ => return Poll::Ready(Err(Reason::ClientClosed)),
                }
            }
            self.buffer.release();
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
            request_id: request_id.as_deref(),
            expected_timeout_ms: timeout.map(|timeout| timeout.as_millis()),
            attempt: count.then_some(attempt),
        };
        write_request(out, &self.request, config, &head);
    }

    /// Sends the response whose head has been read.
    async fn respond(
        &mut self,
        plan: &ForwardPlan<'_>,
        answered: Answered,
        upgrading: bool,
        deadline: Option<Instant>,
    ) -> Next {
        let Answered {
            mut upstream,
            mut received,
            head_length,
            mut sending,
            sent_at,
        } = answered;
        let stats = Arc::clone(&plan.cluster.stats);
        plan.cluster.note_http();
        let status = self.response.status;
        let switched = status == 101 && upgrading;
        let body = match switched {
            true => Body::none(),
            false => self.response.body(self.request.is_head()),
        };
        let until_close = body.framing() == Framing::UntilClose;
        let keep = self.request.keeps_alive()
            && !until_close
            && !self.context.is_draining()
            && sending.has_read_all();
        let mut head = Vec::new();
        let connection = match (switched, keep, self.request.minor_version) {
            (true, ..) => ConnectionHeader::Upgrade,
            (false, false, _) => ConnectionHeader::Close,
            (false, true, 0) => ConnectionHeader::KeepAlive,
            (false, true, _) => ConnectionHeader::None,
        };
        self.write_response_head(&mut head, plan, received.filled(), connection, sent_at);
        received.consume(head_length);
        let mut receiving = Pump::new(head, body);
        let idle = plan.idle_timeout(&self.manager);
        let mut idle_deadline = idle.map(|idle| Instant::now() + idle);
        let mut moved = 0;
        let result = poll_fn(|cx| {
            let (from, to) = (&mut upstream.connection, &mut self.downstream);
            if let Poll::Ready(done) = receiving.poll(cx, from, &mut received, to) {
                return Poll::Ready(Ok(done));
            }
            if !sending.is_done() {
                // What becomes of the rest of the request no longer matters.
                let (from, to) = (&mut self.downstream, &mut upstream.connection);
                let _ = sending.poll(cx, from, &mut self.buffer, to);
            }
            if idle.is_some() && moved != receiving.moved + sending.moved {
                moved = receiving.moved + sending.moved;
                idle_deadline = idle.map(|idle| Instant::now() + idle);
            }
            let first = [deadline, idle_deadline].into_iter().flatten().min();
            self.timer.poll(cx, first).map(|()| Err(()))
        })
        .await;
        stats.upstream_rq.inc(status);
        stats.upstream_rq_completed.inc();
        stats
            .upstream_rq_time
            .record_us(micros(self.began.elapsed()));
        stats.upstream_cx_tx_bytes_total.add(sending.moved);
        stats.upstream_cx_rx_bytes_total.add(receiving.moved);
        let body_bytes = receiving
            .moved
            .saturating_sub(receiving.head().len() as u64);
        let complete = matches!(result, Ok(Ok(())));
        if !complete {
            self.context.outcome.reason = Some(match result {
                Ok(Err(PumpError::Sink)) => Reason::ClientClosed,
                Err(()) => Reason::UpstreamTimeout,
                _ => Reason::UpstreamReset,
            });
            // The client must not take what it has for the whole.
            self.downstream.reset_on_drop();
        }
        let request_sent = sending.is_done();
        let upstream_keeps = self.response.keeps_alive() && self.request.minor_version > 0;
        self.out = sending.into_head();
        self.finish(
            status,
            receiving.head(),
            body_bytes,
            &plan.matched.route.name,
        );
        if !complete {
            return Next::Close;
        }
        if switched {
            return Next::Tunnel(Box::new(upstream), received);
        }
        if upstream_keeps && request_sent && !until_close && received.is_empty() {
            self.context.worker.clusters.put_back(upstream);
        }
        if keep {
            return Next::Request;
        }
        if self.context.is_draining() {
            self.manager.stats.downstream_cx_drain_close.inc();
        }
        Next::Close
    }

    fn write_response_head(
        &self,
        out: &mut Vec<u8>,
        plan: &ForwardPlan<'_>,
        bytes: &[u8],
        connection: ConnectionHeader,
        sent_at: Instant,
    ) {
        let config = &self.manager.config;
        let envoy_headers = !self.manager.router().suppress_envoy_headers;
        let mut edits = HeaderEdits::default();
        for level in plan.matched.levels() {
            if !level.response.is_empty() {
                let there = |name: &str| {
                    let mut names = self
                        .response
                        .fields
                        .iter()
                        .map(|field| &bytes[field.name.clone()]);
                    names.any(|known| known.eq_ignore_ascii_case(name.as_bytes()))
                };
                edits.apply(
                    &level.response,
                    &there,
                    &self.facts(&plan.matched.route.name),
                );
            }
        }
        let id = self.request.header("x-request-id");
        let head = ResponseHeadPlan {
            edits: &edits,
            minor_version: self.request.minor_version,
            connection,
            service_time_ms: envoy_headers.then(|| sent_at.elapsed().as_millis()),
            request_id: id
                .as_deref()
                .filter(|_| config.always_set_request_id_in_response),
        };
        write_response(out, bytes, &self.response, config, &head);
    }

    pub(super) fn facts<'a>(&'a self, route_name: &'a str) -> Facts<'a> {
        Facts {
            context: self.context,
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

/// Largest head of a response. Envoy's default is 60 KiB; ours leaves room for large cookies.
const MAX_RESPONSE_HEAD: usize = 1 << 20;
/// Bytes of further requests that are read while one is being answered.
const MAX_PIPELINED: usize = 16 * 1024;

/// Methods that may be repeated without the client knowing (RFC 9110 section 9.2.1).
fn is_safe(request: &Request) -> bool {
    matches!(request.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
}
