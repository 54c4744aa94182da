//! One attempt: a request sent, and the head of its response awaited.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, header, request};
use tokio::time::Instant;
use weir_api::xds::peer::{Mark, UNDELIVERED};

use super::{
    Exchange,
    bridge::{Encoder, Framed, Sink, Stop},
    deadlines::Late,
    head_bytes,
    passage::{Passage, Way},
    request::RequestMessage,
    retry::{Failure, FailureKind},
    send::{Answer, Sending, Switch},
    transfer::Transfer,
    upstream::{Http1Upstream, ReceivedHead, UpstreamPort, failure},
};
use crate::{
    cluster::{Host, Http2Lease, Place, Upstream},
    config::{cluster::UpstreamProtocol, format::TimePoint},
    http::{
        changes::RequestChanges,
        codec::h1::{body::Framing, head::FieldKind},
        message::{change_request, http2_request, request_from_http1, write_http1_request},
        write::write_request,
    },
    reason::Reason,
};

/// Something to send a request on.
enum Slot {
    Http2(Http2Lease),
    /// A connection, and whether it has carried requests before.
    Http1(Upstream, bool),
}

impl From<Place> for Slot {
    fn from(place: Place) -> Self {
        match place {
            Place::Http1(acquired) => Self::Http1(acquired.upstream, acquired.reused),
            Place::Http2(lease) => Self::Http2(lease),
        }
    }
}

impl Exchange<'_> {
    /// Sends the request to `host` and waits for the head of the response.
    pub(super) async fn attempt(
        &mut self,
        sending: &mut Sending<'_>,
        host: &Rc<Host>,
    ) -> Result<(), Failure> {
        (sending.upstream, sending.answer) = (None, Answer::Awaited);
        let slot = self.find_slot(sending, host).await?;
        self.begin(sending, host, slot)?;
        let stats = &sending.plan.cluster.stats;
        match self.await_head(sending).await {
            Ok(()) if host.sidecar => match self.mark(sending) {
                Some(Mark::Undelivered) => Err(Failure::UNDELIVERED),
                Some(Mark::Unanswered) if self.request.is_safe() => Err(Failure::UNANSWERED),
                _ => Ok(()),
            },
            Ok(()) => Ok(()),
            Err(mut failure) => {
                let lost = matches!(
                    failure.reason,
                    Reason::UpstreamClosed | Reason::UpstreamReset
                );
                let is_http1 = matches!(sending.upstream, Some(UpstreamPort::Http1(_)));
                if lost && is_http1 {
                    stats.upstream_cx_destroy_remote_with_active_rq.inc();
                    if !sending.transfer.has_left() {
                        failure.kind = FailureKind::Unsent;
                    }
                }
                sending.count_traffic();
                self.count_failure(sending, failure.reason);
                Err(failure)
            }
        }
    }

    /// A connection, or a place on one. Given up when the client goes, or has waited for too long.
    async fn find_slot(
        &mut self,
        sending: &mut Sending<'_>,
        host: &Rc<Host>,
    ) -> Result<Slot, Failure> {
        let plan = sending.plan;
        let (cluster, priority) = (&plan.cluster, plan.forward.priority);
        if cluster.config.protocol == UpstreamProtocol::Auto {
            if let Some(place) = cluster.idle_place(host) {
                return Ok(place.into());
            }
            let clusters = Rc::clone(&self.manager.context.clusters);
            let acquired = Box::pin(async {
                let place = cluster.acquire_place(host, priority, &clusters).await?;
                Ok(place.into())
            });
            return self.wait_for(sending, acquired).await;
        }
        if plan.speaks_http2(&self.downstream) {
            if let Some(lease) = cluster.lease_http2(host) {
                return Ok(Slot::Http2(lease));
            }
            let clusters = Rc::clone(&self.manager.context.clusters);
            let acquired = Box::pin(async {
                let lease = cluster.acquire_http2(host, priority, &clusters).await?;
                Ok(Slot::Http2(lease))
            });
            return self.wait_for(sending, acquired).await;
        }
        if let Some(upstream) = cluster.take_idle(host) {
            return Ok(Slot::Http1(upstream, true));
        }
        // On the heap: most requests find a connection, and need not hold memory for a dial.
        let acquired = Box::pin(async {
            let acquired = cluster.acquire(host, priority).await;
            let acquired = acquired.map_err(|error| error.reason())?;
            Ok(Slot::Http1(acquired.upstream, acquired.reused))
        });
        self.wait_for(sending, acquired).await
    }

    /// Waits for a connection, unless the client goes or has waited for too long.
    async fn wait_for(
        &mut self,
        sending: &mut Sending<'_>,
        mut acquired: Pin<Box<impl Future<Output = Result<Slot, Reason>>>>,
    ) -> Result<Slot, Failure> {
        let stats = &sending.plan.cluster.stats;
        sending.deadlines.begin_wait(Instant::now());
        let acquired = poll_fn(|cx| {
            if let Poll::Ready(acquired) = acquired.as_mut().poll(cx) {
                return Poll::Ready(acquired.map_err(|reason| {
                    stats.upstream_rq_pending_failure_eject.inc();
                    // As in Envoy a pool that fails has answered, too.
                    if let (Some(observed), true) =
                        (&mut self.observed, reason != Reason::NoHealthyUpstream)
                    {
                        observed.end_wait();
                    }
                    let kind = match reason {
                        // As Envoy: what a circuit breaker refuses is not tried again. Where there
                        // is no endpoint, there is none to try.
                        Reason::Overflow | Reason::NoHealthyUpstream => FailureKind::Final,
                        _ => FailureKind::Unsent,
                    };
                    Failure { reason, kind }
                }));
            }
            let over = |reason| Failure {
                reason,
                kind: FailureKind::Final,
            };
            let is_read = sending.transfer.has_read_all();
            if self.downstream.poll_gone(cx, is_read).is_ready() {
                return Poll::Ready(Err(over(Reason::ClientClosed)));
            }
            let late = sending.deadlines.poll(cx, &mut self.scratch.timer, 0);
            late.map(|late| Err(over(late.reason(stats))))
        });
        let acquired = acquired.await;
        sending.deadlines.end_wait();
        acquired
    }

    /// Begins to send the request.
    fn begin(&mut self, sending: &mut Sending<'_>, host: &Host, slot: Slot) -> Result<(), Failure> {
        sending.plan.cluster.stats.upstream_rq_total.inc();
        sending.upstream = Some(match slot {
            Slot::Http1(upstream, reused) => self.send_http1(sending, host, upstream, reused)?,
            Slot::Http2(lease) => self.send_http2(sending, host, lease)?,
        });
        sending.deadlines.begin_attempt();
        self.observe_sending(sending);
        Ok(())
    }

    /// Begins to send the request on an HTTP/1 connection.
    fn send_http1(
        &mut self,
        sending: &mut Sending<'_>,
        host: &Host,
        mut upstream: Upstream,
        reused: bool,
    ) -> Result<UpstreamPort, Failure> {
        upstream.requests += 1;
        if let RequestMessage::Http1(request) = &self.request {
            let mut out = sending.transfer.take_head();
            let changes = self.request_changes(sending, host);
            let upgrade = sending.switch == Some(Switch::Upgrade);
            write_request(&mut out, request, &self.manager.config, &changes, upgrade);
            if let Some(observed) = &mut self.observed {
                observed.request_headers_bytes = head_bytes::of_written(&out, changes.scheme());
            }
            match sending.transfer {
                Transfer::Raw(_) => sending.transfer.begin_raw(out),
                Transfer::Framed(..) => {
                    let is_chunked = changes.length.is_none()
                        && request.semantics.framing == Some(Framing::Chunked);
                    let framed = match is_chunked {
                        true => Framed::Chunked,
                        false => Framed::Plain,
                    };
                    let encoder = Encoder::new(out, framed);
                    sending.transfer.begin(Sink::Http1(encoder));
                }
            }
        } else {
            let no_body = sending.transfer.is_bodiless();
            let head = self.changed_head(sending, host)?;
            let mut out = Vec::with_capacity(1024);
            write_http1_request(&mut out, &head);
            let framed = frame(&mut out, &head, no_body);
            out.extend_from_slice(b"\r\n");
            sending
                .transfer
                .begin(Sink::Http1(Encoder::new(out, framed)));
        }
        Ok(UpstreamPort::Http1(Http1Upstream::new(upstream, reused)))
    }

    /// Begins to send the request as a stream.
    fn send_http2(
        &mut self,
        sending: &mut Sending<'_>,
        host: &Host,
        lease: Http2Lease,
    ) -> Result<UpstreamPort, Failure> {
        let no_body = sending.transfer.is_bodiless();
        let head = self.changed_head(sending, host)?;
        let sent = lease.send(http2_request(head), no_body);
        let (response, stream) = sent.map_err(|error| failure(&error, true))?;
        sending.transfer.begin(match no_body {
            true => Sink::None(Some(stream)),
            false => Sink::Http2(stream),
        });
        Ok(UpstreamPort::Http2(response, lease))
    }

    pub(super) fn request_changes<'c>(
        &self,
        sending: &Sending<'c>,
        host: &Host,
    ) -> RequestChanges<'c> {
        let plan = sending.plan;
        let facts = self.facts(&plan.matched.route.name);
        match self.request.head() {
            Some(head) => {
                let elapsed = match sending.attempt {
                    1 => Duration::ZERO,
                    _ => self.began.elapsed(),
                };
                let (manager, attempt) = (self.manager, (sending.attempt, elapsed));
                let edits = sending.passage.as_ref().map(|passage| &passage.edits);
                let mut changes =
                    RequestChanges::new(manager, plan, head, &facts, host, attempt, edits);
                changes.length = sending.transfer.collected_length();
                self.decode_attempt(plan, head, &mut changes);
                changes
            }
            None => RequestChanges::default(),
        }
    }

    /// The head as it is sent to `host`, where it is written anew.
    fn changed_head(
        &mut self,
        sending: &Sending<'_>,
        host: &Host,
    ) -> Result<request::Parts, Failure> {
        let changes = self.request_changes(sending, host);
        let is_kept = self.is_head_needed_later(sending, host);
        let head = match &mut self.request {
            RequestMessage::Http1(request) => {
                request_from_http1(request, changes.scheme()).ok_or(Failure {
                    reason: Reason::BadRequest,
                    kind: FailureKind::Final,
                })?
            }
            RequestMessage::Http2(request) => {
                // Only who may ask for the head again pays for a second one.
                let head = match is_kept {
                    true => request.head.clone(),
                    false => request.head.take(),
                };
                head.ok_or(Failure {
                    reason: Reason::UpstreamReset,
                    kind: FailureKind::Lost,
                })?
            }
        };
        let head = change_request(head, &self.manager.config, &changes);
        if let Some(observed) = &mut self.observed {
            observed.request_headers_bytes = head_bytes::of_parts(&head, changes.scheme());
        }
        Ok(head)
    }

    /// Whether anybody asks for the request's head once it has been sent.
    fn is_head_needed_later(&self, sending: &Sending<'_>, host: &Host) -> bool {
        let (config, plan) = (&self.manager.config, sending.plan);
        plan.retry_policy().is_some()
            || host.sidecar
            || !config.access_logs.is_empty()
            || sending.passage.is_some()
            || !plan.upstream_filters().is_empty()
            || !plan.forward.mirrors.is_empty()
            || config.always_set_request_id_in_response
            || plan
                .matched
                .levels()
                .any(|level| !level.response.is_empty())
    }

    async fn await_head(&mut self, sending: &mut Sending<'_>) -> Result<(), Failure> {
        poll_fn(|cx| {
            if let Poll::Ready(answer) = self.poll_answer(cx, sending) {
                self.observe_progress(sending);
                self.observe(TimePoint::UpstreamRxBegin);
                return Poll::Ready(answer.map(|head| sending.answer = Answer::Headed(head)));
            }
            sending.note_read();
            self.observe_progress(sending);
            let moved = sending.transfer.moved();
            let late = sending.deadlines.poll(cx, &mut self.scratch.timer, moved);
            late.map(|late| {
                let kind = match late {
                    Late::PerTry => FailureKind::Lost,
                    Late::Request | Late::Route | Late::Idle => FailureKind::Final,
                };
                let reason = late.reason(&sending.plan.named_cluster.stats);
                Err(Failure { reason, kind })
            })
        })
        .await
    }

    /// Sends what can be sent, and looks for the head of the response.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending<'_>,
    ) -> Poll<Result<ReceivedHead, Failure>> {
        let Sending {
            transfer,
            upstream: Some(upstream),
            passage,
            ..
        } = sending
        else {
            return Poll::Pending;
        };
        let gone = Failure {
            reason: Reason::ClientClosed,
            kind: FailureKind::Final,
        };
        let mut sink_failed = false;
        if !transfer.is_done() {
            match self.poll_request(cx, transfer, upstream, passage.as_deref_mut()) {
                Poll::Pending | Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Stop::Source(code))) => {
                    if let (Some(code), Some(stream)) = (code, transfer.http2_sink()) {
                        stream.send_reset(code);
                    }
                    return Poll::Ready(Err(gone));
                }
                Poll::Ready(Err(Stop::Malformed)) => {
                    return Poll::Ready(Err(Failure {
                        reason: Reason::BadRequest,
                        kind: FailureKind::Final,
                    }));
                }
                // The endpoint may have answered before it refused the rest.
                Poll::Ready(Err(Stop::Sink(_) | Stop::Trailers)) => {
                    sink_failed = true;
                    transfer.abandon();
                }
            }
        }
        let may_switch = sending.switch == Some(Switch::Upgrade);
        let (client, response) = (&mut self.downstream, &mut self.scratch.response);
        if let Poll::Ready(head) = upstream.poll_head(cx, response, client, may_switch, sink_failed)
        {
            return Poll::Ready(head);
        }
        // What the client has sent before it left has been sent on.
        let is_read = transfer.has_read_all();
        client.poll_gone(cx, is_read).map(|code| {
            if let (Some(code), Some(stream)) = (code, transfer.http2_sink()) {
                stream.send_reset(code);
            }
            Err(gone)
        })
    }

    /// Sends more of the request; filters see its trailers.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        transfer: &mut Transfer,
        upstream: &mut UpstreamPort,
        passage: Option<&mut Passage<'_>>,
    ) -> Poll<Result<(), Stop>> {
        let sent = transfer.poll(cx, self.downstream.wire(), upstream.connection());
        if let (Poll::Ready(Err(Stop::Trailers)), Some(passage)) = (&sent, passage) {
            if let Some(trailers) = transfer.trailers() {
                passage.pass_trailers(self, trailers, Way::Request);
            }
            return transfer.poll(cx, self.downstream.wire(), upstream.connection());
        }
        sent
    }

    /// What the endpoint's sidecar says of how far the request came.
    fn mark(&self, sending: &Sending<'_>) -> Option<Mark> {
        match (sending.answer.head()?, sending.upstream.as_ref()?) {
            (ReceivedHead::Http2(head, _), _) => {
                Mark::of(head.headers.get(UNDELIVERED)?.as_bytes())
            }
            (ReceivedHead::Http1(_), UpstreamPort::Http1(stream)) => {
                let response = &self.scratch.response;
                if !response.has(FieldKind::Undelivered) {
                    return None;
                }
                let head = stream.received.filled();
                Mark::of(response.header(head, UNDELIVERED.as_bytes())?)
            }
            (ReceivedHead::Http1(_), UpstreamPort::Http2(..)) => None,
        }
    }

    fn count_failure(&self, sending: &Sending<'_>, reason: Reason) {
        let stats = &sending.plan.cluster.stats;
        match reason {
            // Counted already, or the client's.
            Reason::UpstreamTimeout => {}
            Reason::UpstreamProtocolError => stats.upstream_cx_protocol_error.inc(),
            Reason::UpstreamClosed | Reason::UpstreamReset => stats.upstream_rq_rx_reset.inc(),
            _ => stats.upstream_rq_tx_reset.inc(),
        }
    }
}

/// Writes the field that frames the body of a request that is written anew.
fn frame(out: &mut Vec<u8>, head: &request::Parts, no_body: bool) -> Framed {
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
    // Those that say that they have no body (RFC 9110 section 8.6).
    let wants_length = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match (no_body, has_length) {
        (false, false) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framed::Chunked
        }
        (true, false) if wants_length => {
            out.extend_from_slice(b"content-length: 0\r\n");
            Framed::Plain
        }
        _ => Framed::Plain,
    }
}
