//! One attempt: a request sent, and the head of its response awaited.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{Method, header, request, response};
use tokio::time::Instant;
use weir_api::xds::peer::UNDELIVERED;

use super::{
    super::{
        super::{
            deadlines::Late,
            request_changes::RequestChanges,
            retry::{Failure, FailureKind},
        },
        bridge::{Bridge, Encoder, Framed, Sink, Source, Stop},
        message::{change_request, http2_request, write_http1_request},
    },
    Client, Exchange,
    upstream::{Http1Stream, UpstreamStream, failure},
};
use crate::{
    buffer::Buffer,
    cluster::{Host, Http2Lease, Upstream},
    config::cluster::UpstreamProtocol,
    http::{codec::h1::response::Response as Http1Response, head::RequestHead},
    reason::Reason,
};

/// An attempt that got a response head.
pub(super) struct Answered {
    pub(super) head: response::Parts,
    /// The response's body.
    pub(super) source: Source,
    pub(super) upstream: UpstreamStream,
}

/// Something to send a request on.
enum Place {
    Http2(Http2Lease),
    Http1(Upstream, bool),
}

impl Exchange<'_> {
    /// Sends the request to `host` and waits for the head of the response.
    pub(super) async fn attempt(
        &mut self,
        host: &Rc<Host>,
        attempt: u32,
    ) -> Result<Answered, Failure> {
        let place = self.find_place(host).await?;
        self.plan.cluster.stats.upstream_rq_total.inc();
        let (mut upstream, sink) = self.send_head(place, host, attempt)?;
        match &mut self.sending {
            Some(sending) => sending.rewind(sink),
            None => {
                let sending = self.sending.insert(Bridge::new(sink));
                let may_ask_again = self.plan.retry_policy().is_some() || host.sidecar;
                if self.head.is_some() && may_ask_again {
                    sending.keep_for_replay();
                }
            }
        }
        self.deadlines.begin_attempt();
        let answered = self.await_head(&mut upstream).await.and_then(|answer| {
            let undelivered = host.sidecar && answer.0.headers.contains_key(UNDELIVERED);
            match undelivered {
                true => Err(Failure::UNDELIVERED),
                false => Ok(answer),
            }
        });
        match answered {
            Ok((head, source)) => Ok(Answered {
                head,
                source,
                upstream,
            }),
            Err(failure) => {
                self.count_failure(failure.reason);
                Err(failure)
            }
        }
    }

    /// A connection, or a place on one.
    async fn find_place(&mut self, host: &Rc<Host>) -> Result<Place, Failure> {
        let cluster = &self.plan.cluster;
        let speaks_http2 = match cluster.config.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::UseDownstream => matches!(self.client, Client::Http2(_)),
        };
        if speaks_http2 {
            if let Some(lease) = cluster.lease_http2(host) {
                return Ok(Place::Http2(lease));
            }
            let clusters = &self.manager.context.clusters;
            let mut acquired = Box::pin(cluster.acquire_http2(host, clusters));
            let lease = self.wait_for(acquired.as_mut()).await?;
            return Ok(Place::Http2(lease));
        }
        if let Some(upstream) = cluster.take_idle(host) {
            return Ok(Place::Http1(upstream, true));
        }
        let mut acquired = Box::pin(async {
            let acquired = cluster.acquire(host).await;
            acquired.map_err(|error| error.reason())
        });
        let acquired = self.wait_for(acquired.as_mut()).await?;
        Ok(Place::Http1(acquired.upstream, acquired.reused))
    }

    /// Waits for a connection, unless the client goes or has waited for too long.
    async fn wait_for<T>(
        &mut self,
        mut acquired: Pin<&mut impl Future<Output = Result<T, Reason>>>,
    ) -> Result<T, Failure> {
        let stats = &self.plan.cluster.stats;
        self.deadlines.begin_wait(Instant::now());
        let acquired = poll_fn(|cx| {
            if let Poll::Ready(acquired) = acquired.as_mut().poll(cx) {
                return Poll::Ready(acquired.map_err(|reason| {
                    stats.upstream_rq_pending_failure_eject.inc();
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
            let all_read = self.deadlines.knows_request_is_read();
            if self.client.poll_gone(cx, all_read).is_ready() {
                return Poll::Ready(Err(over(Reason::ClientClosed)));
            }
            let late = self.deadlines.poll(cx, &mut self.timer, 0);
            late.map(|late| Err(over(late.reason(stats))))
        });
        let acquired = acquired.await;
        self.deadlines.end_wait();
        acquired
    }

    /// The head as it is sent to `host`.
    fn upstream_head(&mut self, host: &Host, attempt: u32) -> Option<request::Parts> {
        let head = self.head.take()?;
        let (manager, plan) = (self.manager, self.plan);
        let facts = self.facts(Some(&head as &dyn RequestHead));
        let changes = RequestChanges::new(manager, plan, &head, &facts, host, attempt);
        // Only who may ask for the head again pays for a second one.
        let levels = || plan.matched.levels();
        let again = plan.retry_policy().is_some()
            || host.sidecar
            || !manager.config.access_logs.is_empty()
            || manager.config.always_set_request_id_in_response
            || levels().any(|level| !level.response.is_empty());
        if again {
            *self.head = Some(head.clone());
        }
        Some(change_request(head, manager, &changes))
    }

    /// Sends the head. The sink is where the body goes.
    fn send_head(
        &mut self,
        place: Place,
        host: &Host,
        attempt: u32,
    ) -> Result<(UpstreamStream, Sink), Failure> {
        let lost = Failure {
            reason: Reason::UpstreamReset,
            kind: FailureKind::Lost,
        };
        let head = self.upstream_head(host, attempt).ok_or(lost)?;
        let no_body = self.source.has_ended()
            && self
                .sending
                .as_ref()
                .is_none_or(|sending| sending.moved == 0);
        match place {
            Place::Http2(lease) => {
                let sent = lease.send(http2_request(head), no_body);
                let (response, stream) = sent.map_err(|error| failure(&error, true))?;
                let sink = match no_body {
                    true => Sink::None(Some(stream)),
                    false => Sink::Http2(stream),
                };
                let upstream = UpstreamStream::Http2 {
                    response,
                    _lease: lease,
                };
                Ok((upstream, sink))
            }
            Place::Http1(mut upstream, reused) => {
                upstream.requests += 1;
                let mut out = Vec::with_capacity(1024);
                write_http1_request(&mut out, &head);
                let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
                let framed = match (no_body, has_length) {
                    (false, false) => {
                        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                        Framed::Chunked
                    }
                    (true, false) if wants_length(&head.method) => {
                        out.extend_from_slice(b"content-length: 0\r\n");
                        Framed::Plain
                    }
                    _ => Framed::Plain,
                };
                out.extend_from_slice(b"\r\n");
                let stream = Http1Stream {
                    upstream,
                    received: Buffer::default(),
                    response: Http1Response::default(),
                    until_close: false,
                    reused,
                };
                let sink = Sink::Http1(Encoder::new(out, framed));
                Ok((UpstreamStream::Http1(Box::new(stream)), sink))
            }
        }
    }

    async fn await_head(
        &mut self,
        upstream: &mut UpstreamStream,
    ) -> Result<(response::Parts, Source), Failure> {
        poll_fn(|cx| {
            if let Poll::Ready(answer) = self.poll_answer(cx, upstream) {
                return Poll::Ready(answer);
            }
            let moved = self.sent_bytes();
            let late = self.deadlines.poll(cx, &mut self.timer, moved);
            late.map(|late| {
                let kind = match late {
                    Late::PerTry => FailureKind::Lost,
                    Late::Request | Late::Route | Late::Idle => FailureKind::Final,
                };
                let reason = late.reason(&self.plan.cluster.stats);
                Err(Failure { reason, kind })
            })
        })
        .await
    }

    /// Sends what can be sent, and looks for the head of the response.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut UpstreamStream,
    ) -> Poll<Result<(response::Parts, Source), Failure>> {
        let gone = Failure {
            reason: Reason::ClientClosed,
            kind: FailureKind::Final,
        };
        let mut sink_failed = false;
        let all_read = self.deadlines.knows_request_is_read();
        if let Some(sending) = &mut self.sending {
            let (from, to) = (self.client.wire(), upstream.connection());
            match sending.poll(cx, &mut self.source, from, to) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    if !all_read {
                        self.deadlines.request_is_read(Instant::now());
                    }
                }
                Poll::Ready(Err(Stop::Source(code))) => {
                    if let (Some(code), Some(stream)) = (code, sending.http2_sink()) {
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
                Poll::Ready(Err(Stop::Sink(_))) => {
                    sink_failed = true;
                    sending.abandon();
                }
            }
            // What the client has sent before it left has been sent on.
            if let Poll::Ready(code) = self.client.poll_gone(cx, all_read) {
                if let (Some(code), Some(stream)) = (code, sending.http2_sink()) {
                    stream.send_reset(code);
                }
                return Poll::Ready(Err(gone));
            }
        }
        upstream.poll_head(cx, &mut self.client, self.is_head, sink_failed)
    }

    fn count_failure(&self, reason: Reason) {
        let stats = &self.plan.cluster.stats;
        match reason {
            // Counted already, or the client's.
            Reason::UpstreamTimeout
            | Reason::StreamIdleTimeout
            | Reason::RequestTimeout
            | Reason::BadRequest => {}
            Reason::UpstreamProtocolError => stats.upstream_cx_protocol_error.inc(),
            Reason::ClientClosed => stats.upstream_rq_tx_reset.inc(),
            _ => stats.upstream_rq_rx_reset.inc(),
        }
    }
}

/// Methods whose requests say that they have no body (RFC 9110 section 8.6).
fn wants_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
