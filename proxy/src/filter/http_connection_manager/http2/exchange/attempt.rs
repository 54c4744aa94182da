//! One attempt: a request sent, and the head of its response awaited.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use h2::client::ResponseFuture;
use http::{Method, header, request, response};
use tokio::time::Instant;

use super::{
    super::{
        super::{
            deadlines::Late,
            request_changes::RequestChanges,
            retry::{Failure, FailureKind},
        },
        bridge::{Bridge, Encoder, Framed, Sink, Source, Stop, Wire},
        message::{
            change_request, http2_request, response_from_http1, write_http1_request,
            write_http1_response,
        },
    },
    Client, Exchange,
};
use crate::{
    buffer::Buffer,
    cluster::{Host, Http2Lease, Upstream},
    config::cluster::UpstreamProtocol,
    http::{
        h1::{
            body::Framing, decode::Decoder, request::Parsed, response::Response as Http1Response,
        },
        head::RequestHead,
    },
    reason::Reason,
    transport_socket::Connection,
};

/// Largest head of an HTTP/1 response.
const MAX_RESPONSE_HEAD: usize = 1 << 20;
/// Bytes of further requests that are read from an HTTP/1 client while one is being answered.
const MAX_PIPELINED: usize = 16 * 1024;

/// An attempt that got a response head.
pub(super) struct Answered {
    pub(super) head: response::Parts,
    /// The response's body.
    pub(super) source: Source,
    pub(super) upstream: UpstreamStream,
}

/// Who is asked.
pub(super) enum UpstreamStream {
    Http2 {
        response: ResponseFuture,
        _lease: Http2Lease,
    },
    Http1(Box<Http1Stream>),
}

/// A request on an HTTP/1 connection.
pub(super) struct Http1Stream {
    pub(super) upstream: Upstream,
    pub(super) received: Buffer,
    pub(super) response: Http1Response,
    /// The end of the connection ends the response.
    pub(super) until_close: bool,
    reused: bool,
}

/// Something to send a request on.
enum Place {
    Http2(Http2Lease),
    Http1(Upstream, bool),
}

impl Exchange<'_, '_> {
    /// Sends the request to `host` and waits for the head of the response.
    pub(super) async fn attempt(
        &mut self,
        host: &Rc<Host>,
        attempt: u32,
    ) -> Result<Answered, Failure> {
        let place = self.find_place(host).await;
        let place = place.map_err(|reason| {
            let stats = &self.plan.cluster.stats;
            stats.upstream_rq_pending_failure_eject.inc();
            let kind = match reason {
                Reason::ClientClosed | Reason::Overflow => FailureKind::Final,
                _ => FailureKind::Unsent,
            };
            Failure { reason, kind }
        })?;
        self.plan.cluster.stats.upstream_rq_total.inc();
        let (mut upstream, sink) = self.send_head(place, host, attempt)?;
        match &mut self.sending {
            Some(sending) => sending.rewind(sink),
            None => {
                let sending = self.sending.insert(Bridge::new(sink));
                if self.head.is_some() && self.plan.retry_policy().is_some() {
                    sending.keep_for_replay();
                }
            }
        }
        self.deadlines.begin_attempt();
        let answered = self.await_head(&mut upstream).await;
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

    /// A connection, or a place on one. Given up when the client goes.
    async fn find_place(&mut self, host: &Rc<Host>) -> Result<Place, Reason> {
        let cluster = &self.plan.cluster;
        if cluster.config.protocol != UpstreamProtocol::Http1 {
            if let Some(lease) = cluster.lease_http2(host) {
                return Ok(Place::Http2(lease));
            }
            let clusters = Rc::clone(&self.context.borrow().worker.clusters);
            let mut acquired = Box::pin(cluster.acquire_http2(host, &clusters));
            let lease = self.unless_gone(acquired.as_mut()).await??;
            return Ok(Place::Http2(lease));
        }
        if let Some(upstream) = cluster.take_idle(host) {
            return Ok(Place::Http1(upstream, true));
        }
        let mut acquired = Box::pin(cluster.acquire(host));
        let acquired = self.unless_gone(acquired.as_mut()).await?;
        let acquired = acquired.map_err(|error| error.reason())?;
        Ok(Place::Http1(acquired.upstream, acquired.reused))
    }

    async fn unless_gone<T>(
        &mut self,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Reason> {
        poll_fn(|cx| {
            if let Client::Http2(respond) = &mut self.client
                && respond.poll_reset(cx).is_ready()
            {
                return Poll::Ready(Err(Reason::ClientClosed));
            }
            future.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// The head as it is sent to `host`.
    fn upstream_head(&mut self, host: &Host, attempt: u32) -> Option<request::Parts> {
        let head = self.head.take()?;
        self.context.borrow_mut().outcome.upstream_host = self.host;
        let context = &**self.context.borrow();
        let (manager, plan) = (self.manager, self.plan);
        let facts = self.facts(context, Some(&head as &dyn RequestHead));
        let changes = RequestChanges::new(manager, plan, &head, &facts, host, attempt);
        // Only who may ask for the head again pays for a second one.
        let levels = || plan.matched.levels();
        let again = plan.retry_policy().is_some()
            || !manager.config.access_logs.is_empty()
            || manager.config.always_set_request_id_in_response
            || levels().any(|level| !level.response.is_empty());
        if again {
            self.head = Some(head.clone());
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
            if let Poll::Ready(code) = self.client.poll_gone(cx, all_read) {
                if let (Some(code), Some(stream)) = (code, sending.http2_sink()) {
                    stream.send_reset(code);
                }
                return Poll::Ready(Err(gone));
            }
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

/// What an error of an HTTP/2 endpoint means. `unsent`: nothing has left.
fn failure(error: &h2::Error, unsent: bool) -> Failure {
    let of_peer = error.is_remote();
    let (reason, kind) = if error.is_go_away() && of_peer {
        (Reason::UpstreamReset, FailureKind::GoneAway)
    } else if error.is_reset() && of_peer {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let kind = match refused {
            true => FailureKind::Refused,
            false => FailureKind::Lost,
        };
        (Reason::UpstreamReset, kind)
    } else if error.is_io() {
        (Reason::UpstreamClosed, FailureKind::Lost)
    } else {
        (Reason::UpstreamProtocolError, FailureKind::Lost)
    };
    let kind = match unsent {
        true => FailureKind::GoneAway,
        false => kind,
    };
    Failure { reason, kind }
}

// === impl UpstreamStream ===

impl UpstreamStream {
    /// The HTTP/1 connection.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Http2 { .. } => None,
            Self::Http1(stream) => Some(&mut stream.upstream.connection),
        }
    }

    /// The HTTP/1 connection to read from.
    pub(super) fn wire(&mut self) -> Option<Wire<'_>> {
        match self {
            Self::Http2 { .. } => None,
            Self::Http1(stream) => Some((&mut stream.upstream.connection, &mut stream.received)),
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<'_>,
        is_head: bool,
        sink_failed: bool,
    ) -> Poll<Result<(response::Parts, Source), Failure>> {
        match self {
            Self::Http2 { response, .. } => {
                while let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
                    client.inform(informational.into_parts().0);
                }
                if client.poll_informed(cx).is_pending() {
                    return Poll::Pending;
                }
                pin!(response).poll(cx).map(|answer| match answer {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        Ok((head, Source::Http2(body)))
                    }
                    Err(error) => Err(failure(&error, false)),
                })
            }
            Self::Http1(stream) => stream.poll_head(cx, client, is_head, sink_failed),
        }
    }
}

// === impl Http1Stream ===

impl Http1Stream {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<'_>,
        is_head: bool,
        sink_failed: bool,
    ) -> Poll<Result<(response::Parts, Source), Failure>> {
        let nothing_came = self.received.is_empty();
        let failed = |reason| {
            let lost = matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
            let kind = match self.reused && nothing_came && lost {
                true => FailureKind::Stale,
                false => FailureKind::Lost,
            };
            Poll::Ready(Err(Failure { reason, kind }))
        };
        loop {
            if !self.received.is_empty() {
                let bytes = self.received.filled();
                match self.response.parse(bytes) {
                    Ok(Parsed::Complete(length)) if self.response.is_informational() => {
                        client.inform(response_from_http1(bytes, &self.response));
                        self.received.consume(length);
                        continue;
                    }
                    // Nobody asked for another protocol.
                    Ok(Parsed::Complete(_)) if self.response.status == 101 => {
                        return failed(Reason::UpstreamProtocolError);
                    }
                    Ok(Parsed::Complete(length)) => {
                        let head = response_from_http1(bytes, &self.response);
                        let body = self.response.body(is_head);
                        self.received.consume(length);
                        self.until_close = body.framing() == Framing::UntilClose;
                        let decoder = Decoder::new(body.framing());
                        return Poll::Ready(Ok((head, Source::Http1(decoder))));
                    }
                    Ok(Parsed::Partial) if bytes.len() <= MAX_RESPONSE_HEAD => {}
                    Ok(Parsed::Partial) | Err(_) => return failed(Reason::UpstreamProtocolError),
                }
            }
            match self.upstream.connection.poll_read(cx, &mut self.received) {
                Poll::Ready(Ok(0)) => return failed(Reason::UpstreamClosed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return failed(Reason::UpstreamReset),
                Poll::Pending if sink_failed => return failed(Reason::UpstreamReset),
                Poll::Pending => {
                    self.received.release();
                    return Poll::Pending;
                }
            }
        }
    }
}

// === impl Client ===

impl Client<'_> {
    /// The HTTP/1 connection to read from.
    pub(super) fn wire(&mut self) -> Option<Wire<'_>> {
        match self {
            Self::Http2(_) => None,
            Self::Http1 { wire, .. } => Some((&mut *wire.0, &mut *wire.1)),
        }
    }

    /// The HTTP/1 connection.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Http2(_) => None,
            Self::Http1 { wire, .. } => Some(&mut *wire.0),
        }
    }

    /// Ready when the client does not want the response any more, with its code.
    pub(super) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        has_sent_all: bool,
    ) -> Poll<Option<h2::Reason>> {
        match self {
            Self::Http2(respond) => respond.poll_reset(cx).map(Result::ok),
            Self::Http1 { wire, .. } => {
                let (connection, buffer) = wire;
                while has_sent_all && buffer.len() < MAX_PIPELINED {
                    match connection.poll_read(cx, buffer) {
                        Poll::Ready(Ok(n)) if n > 0 => {}
                        Poll::Ready(_) => return Poll::Ready(None),
                        Poll::Pending => {
                            buffer.release();
                            break;
                        }
                    }
                }
                Poll::Pending
            }
        }
    }

    /// Passes an informational response on.
    fn inform(&mut self, head: response::Parts) {
        match self {
            Self::Http2(respond) => {
                // A client that is gone is noticed elsewhere.
                let _ = respond.send_informational(http::Response::from_parts(head, ()));
            }
            Self::Http1 {
                minor_version: 0, ..
            } => {}
            Self::Http1 { informational, .. } => {
                write_http1_response(informational, false, &head);
                informational.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Ready when what the client is to be informed of has left.
    fn poll_informed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Http1 {
            wire,
            informational,
            ..
        } = self
        {
            while !informational.is_empty() {
                match wire.0.poll_write(cx, informational) {
                    Poll::Ready(Ok(n)) => drop(informational.drain(..n)),
                    Poll::Ready(Err(_)) => informational.clear(),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        Poll::Ready(())
    }
}
