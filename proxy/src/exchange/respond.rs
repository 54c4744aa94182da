//! The response on its way to the client.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use http::{HeaderMap, Response, StatusCode, header, response};

use super::{
    Downstream, Exchange, Next,
    bridge::{Bridge, Encoder, Framed, Sink, Source, Stop},
    deadlines::Late,
    log::SentHead,
    passage::{Passage, Way},
    plan::ForwardPlan,
    pump::Pump,
    request::RequestMessage,
    send::{Answer, Sending, Switch},
    transfer::Transfer,
    upstream::{ReceivedHead, UpstreamPort},
};
use crate::{
    buffer::Buffer,
    cluster::micros,
    http::{
        changes::ResponseChanges,
        codec::{
            h1::{
                body::{Body, Framing},
                response::{ReadResponse, Response as Http1Response},
            },
            h2,
        },
        edits::{Edits, rendered},
        head::ResponseHead,
        message::{change_response, may_have_length, response_from_http1, write_http1_response},
        write::{ConnectionHeader, Http1Head, write_response},
    },
    reason::Reason,
};

/// A response whose head is on its way.
pub(super) struct Responding {
    transfer: Transfer,
    status: u16,
    /// The headers that were sent, where the access log may ask for them and `transfer` has no head.
    headers: Option<Box<HeaderMap>>,
    /// The connection becomes something else.
    switched: bool,
    /// The end of the client's connection ends the response.
    until_close: bool,
    /// The client's connection carries another request.
    keep: bool,
}

/// Why a response was cut short.
#[derive(Clone, Copy)]
enum Cut {
    Stopped(Stop),
    Late(Late),
}

impl Exchange<'_> {
    /// Sends the response whose head has been read, and says what follows.
    pub(super) async fn respond(&mut self, sending: &mut Sending<'_>) -> Next {
        sending.plan.cluster.note_http();
        if let Some(responding) = self.begin_response(sending) {
            sending.answer = Answer::OnItsWay(responding);
        }
        let cut = self.relay(sending).await;
        match std::mem::replace(&mut sending.answer, Answer::Awaited) {
            Answer::OnItsWay(responding) => self.end_response(sending, responding, cut),
            Answer::Awaited | Answer::Headed(_) => {
                self.info.bytes_received = sending.transfer.payload();
                self.gone(&sending.plan.matched.route.name)
            }
        }
    }

    /// Sends the head. None if the client is gone.
    fn begin_response(&mut self, sending: &mut Sending<'_>) -> Option<Responding> {
        let status = self.status(sending);
        let switched = match sending.switch {
            None => false,
            Some(Switch::Upgrade) => status == 101,
            Some(Switch::Tunnel) => (200..300).contains(&status),
        };
        let is_read = sending.transfer.has_read_all();
        // What a client has sent that was refused a tunnel may have been meant for it.
        let keep = sending.switch != Some(Switch::Tunnel) && self.keeps_alive(is_read);
        let mut responding = Responding {
            transfer: Transfer::Framed(Bridge::default(), Source::Taken),
            status,
            headers: None,
            switched,
            until_close: false,
            keep,
        };
        let head = sending.answer.take_head()?;
        if let (Downstream::Http1(_), ReceivedHead::Http1(length)) = (&self.downstream, &head) {
            self.begin_http1_to_http1(sending, *length, &mut responding);
            show_trailers(sending, &mut responding);
            return Some(responding);
        }
        let (mut head, source) = match (head, sending.upstream.as_mut()?) {
            (ReceivedHead::Http2(head, body), _) => (head, Source::Http2(body)),
            (ReceivedHead::Http1(length), UpstreamPort::Http1(stream)) => {
                let response = &self.scratch.response;
                let head = response_from_http1(stream.received.filled(), response);
                stream.received.consume(length);
                (head, Source::http1(response.body(self.request.is_head())))
            }
            (ReceivedHead::Http1(_), UpstreamPort::Http2(..)) => return None,
        };
        if !may_have_length(head.status) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let passage = sending.passage.as_deref_mut();
        let mut changes = self.response_changes(sending.plan, passage, &head);
        changes.server = self.manager.server_name();
        change_response(&mut head.headers, &self.manager.config, &changes);
        let logged = !self.manager.config.access_logs.is_empty();
        responding.headers = logged.then(|| Box::new(head.headers.clone()));
        let end = source.has_ended() || self.is_bodiless(head.status);
        let sink = self.send_head(head, end, &mut responding)?;
        responding.transfer = Transfer::Framed(Bridge::new(sink), source);
        show_trailers(sending, &mut responding);
        Some(responding)
    }

    /// Writes the head in the form it came in, but for what is changed.
    fn begin_http1_to_http1(
        &mut self,
        sending: &mut Sending<'_>,
        length: usize,
        responding: &mut Responding,
    ) {
        let mut passage = sending.passage.take();
        let Some(UpstreamPort::Http1(stream)) = &sending.upstream else {
            return;
        };
        let mut out = std::mem::take(&mut self.scratch.response_out);
        out.clear();
        let old = self.is_old();
        let response = &self.scratch.response;
        let (body, mut framing) = match responding.switched {
            true => (Body::none(), None),
            false => (response.body(self.request.is_head()), response.framing()),
        };
        // HTTP/1.0 has no chunks: the end of the connection ends the body.
        let dechunks = old && body.framing() == Framing::Chunked;
        if old && framing == Some(Framing::Chunked) {
            framing = None;
        }
        responding.until_close = dechunks || body.framing() == Framing::UntilClose;
        responding.keep &= !responding.until_close;
        let bytes = stream.received.filled();
        let read = ReadResponse { bytes, response };
        let changes = self.response_changes(sending.plan, passage.as_deref_mut(), &read);
        let is_seen = !responding.switched
            && passage
                .as_deref_mut()
                .is_some_and(Passage::sees_response_body);
        let head = Http1Head {
            old,
            framing,
            connection: self.connection_header(sending, responding),
        };
        write_response(
            &mut out,
            bytes,
            response,
            &self.manager.config,
            &changes,
            &head,
        );
        drop(changes);
        sending.passage = passage;
        if let Some(UpstreamPort::Http1(stream)) = &mut sending.upstream {
            stream.received.consume(length);
        }
        responding.transfer = match dechunks || is_seen {
            false => Transfer::Raw(Pump::response(out, body)),
            true => {
                let framed = match framing {
                    Some(Framing::Chunked) => Framed::Chunked,
                    _ => Framed::Plain,
                };
                let sink = Sink::Http1(Encoder::new(out, framed));
                Transfer::Framed(Bridge::new(sink), Source::http1(body))
            }
        };
    }

    /// What the client is told of its connection.
    fn connection_header(
        &self,
        sending: &Sending<'_>,
        responding: &Responding,
    ) -> ConnectionHeader {
        match (responding.switched, sending.switch) {
            (true, Some(Switch::Tunnel)) => return ConnectionHeader::None,
            (true, _) => return ConnectionHeader::Upgrade,
            (false, _) => {}
        }
        let response = &self.scratch.response;
        // RFC 9110 section 15.5.22: with it comes what to upgrade to.
        let upgrade = response.status == 426 && response.semantics.upgrade;
        match (responding.keep, self.is_old()) {
            (false, _) if upgrade => ConnectionHeader::UpgradeAndClose,
            (true, false) if upgrade => ConnectionHeader::Upgrade,
            (false, _) => ConnectionHeader::Close,
            (true, true) => ConnectionHeader::KeepAlive,
            (true, false) => ConnectionHeader::None,
        }
    }

    /// Sends a head that is written anew. None if the client is gone; else where the body goes.
    fn send_head(
        &mut self,
        head: response::Parts,
        end: bool,
        responding: &mut Responding,
    ) -> Option<Sink> {
        let (is_old, is_head) = (self.is_old(), self.request.is_head());
        if let Downstream::Http2(respond) = &mut self.downstream {
            let stream = respond.send_response(Response::from_parts(head, ()), end);
            return stream.ok().map(|stream| match end {
                true => Sink::None(Some(stream)),
                false => Sink::Http2(stream),
            });
        }
        let mut out = std::mem::take(&mut self.scratch.response_out);
        out.clear();
        write_http1_response(&mut out, is_old, &head);
        let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
        let bodiless = matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        let framed = match (has_length, end, is_old) {
            (false, true, _) if !bodiless && !is_head => {
                out.extend_from_slice(b"content-length: 0\r\n");
                Framed::Plain
            }
            (false, false, false) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                Framed::Chunked
            }
            (false, false, true) => {
                (responding.keep, responding.until_close) = (false, true);
                Framed::Plain
            }
            _ => Framed::Plain,
        };
        let connection = match (responding.keep, is_old) {
            (false, _) => ConnectionHeader::Close,
            (true, true) => ConnectionHeader::KeepAlive,
            (true, false) => ConnectionHeader::None,
        };
        connection.write(&mut out);
        out.extend_from_slice(b"\r\n");
        Some(Sink::Http1(Encoder::new(out, framed)))
    }

    /// Moves both bodies until the response is complete. Says what cut it short.
    async fn relay(&mut self, sending: &mut Sending<'_>) -> Option<Reason> {
        poll_fn(|cx| {
            let Sending {
                upstream: Some(upstream),
                answer: Answer::OnItsWay(responding),
                passage,
                ..
            } = sending
            else {
                return Poll::Ready(None);
            };
            if responding.transfer.is_done() {
                return Poll::Ready(None);
            }
            let receiving = &mut responding.transfer;
            let cut = match self.poll_response(cx, receiving, upstream, passage.as_deref_mut()) {
                Poll::Ready(Ok(())) => return Poll::Ready(None),
                Poll::Ready(Err(stop)) => Some(Cut::Stopped(stop)),
                Poll::Pending => self.poll_client(cx, sending).map(Cut::Stopped),
            };
            let cut = cut.or_else(|| self.poll_late(cx, sending).map(Cut::Late));
            match cut {
                Some(cut) => Poll::Ready(Some(self.cut(cut, sending))),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Moves more of the response; filters slow it down and see its trailers.
    fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        transfer: &mut Transfer,
        upstream: &mut UpstreamPort,
        passage: Option<&mut Passage<'_>>,
    ) -> Poll<Result<(), Stop>> {
        let Some(passage) = passage else {
            return transfer.poll(cx, upstream.wire(), self.downstream.connection());
        };
        loop {
            let before = transfer.moved();
            if let Some(throttle) = passage.response_throttle() {
                transfer.allow(throttle.allowance(Instant::now()).unwrap_or(0));
            }
            let moved = transfer.poll(cx, upstream.wire(), self.downstream.connection());
            let mut pause = None;
            if let Some(throttle) = passage.response_throttle() {
                throttle.spend(transfer.moved() - before);
                pause = throttle.allowance(Instant::now()).err();
            }
            match moved {
                Poll::Ready(Err(Stop::Trailers)) => {
                    if let Some(trailers) = transfer.trailers() {
                        passage.pass_trailers(self, trailers, Way::Response);
                    }
                }
                Poll::Pending => {
                    if self
                        .scratch
                        .timer
                        .poll(cx, pause.map(Into::into))
                        .is_ready()
                    {
                        continue;
                    }
                    return Poll::Pending;
                }
                done => return done,
            }
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>, sending: &mut Sending<'_>) -> Option<Late> {
        sending.note_read();
        let responding = sending.answer.responding();
        let moved = responding.map_or(0, |responding| responding.transfer.moved());
        let moved = moved + sending.transfer.moved();
        match sending.deadlines.poll(cx, &mut self.scratch.timer, moved) {
            Poll::Ready(late) => Some(late),
            Poll::Pending => None,
        }
    }

    /// Sends more of the request, and looks whether the client still wants the response.
    fn poll_client(&mut self, cx: &mut Context<'_>, sending: &mut Sending<'_>) -> Option<Stop> {
        let Sending {
            transfer,
            upstream: Some(upstream),
            answer: Answer::OnItsWay(responding),
            passage,
            ..
        } = sending
        else {
            return None;
        };
        if let Some(stream) = responding.transfer.http2_sink() {
            if let Poll::Ready(code) = stream.poll_reset(cx) {
                return Some(Stop::Sink(code.ok()));
            }
        } else if !responding.switched && transfer.is_done() {
            let is_read = transfer.has_read_all();
            if self.downstream.poll_gone(cx, is_read).is_ready() {
                return Some(Stop::Sink(None));
            }
        }
        if transfer.is_done() {
            return None;
        }
        match self.poll_request(cx, transfer, upstream, passage.as_deref_mut()) {
            Poll::Pending | Poll::Ready(Ok(())) => None,
            // The client has ended its side in the middle; it can have no use for the rest.
            Poll::Ready(Err(Stop::Source(code))) => Some(Stop::Sink(code)),
            Poll::Ready(Err(Stop::Malformed)) => Some(Stop::Sink(None)),
            // What becomes of the rest of the request no longer matters.
            Poll::Ready(Err(Stop::Sink(_) | Stop::Trailers)) => {
                transfer.abandon();
                None
            }
        }
    }

    /// Passes a reset on, with its code, and names the reason.
    fn cut(&self, cut: Cut, sending: &mut Sending<'_>) -> Reason {
        let stats = &sending.plan.cluster.stats;
        let (reason, code) = match cut {
            Cut::Stopped(Stop::Trailers) => return Reason::ClientClosed,
            Cut::Stopped(Stop::Sink(code)) => {
                stats.upstream_rq_tx_reset.inc();
                self.manager.stats.downstream_rq_rx_reset.inc();
                if let Some(stream) = sending.transfer.http2_sink() {
                    stream.send_reset(code.unwrap_or(h2::Reason::CANCEL));
                }
                return Reason::ClientClosed;
            }
            Cut::Stopped(Stop::Source(code)) => {
                stats.upstream_rq_rx_reset.inc();
                (Reason::UpstreamReset, code)
            }
            Cut::Stopped(Stop::Malformed) => {
                stats.upstream_cx_protocol_error.inc();
                let code = Some(h2::Reason::PROTOCOL_ERROR);
                (Reason::UpstreamProtocolError, code)
            }
            Cut::Late(late) => (late.reason(stats), None),
        };
        let responding = sending.answer.responding();
        if let Some(stream) = responding.and_then(|responding| responding.transfer.http2_sink()) {
            stream.send_reset(code.unwrap_or(h2::Reason::INTERNAL_ERROR));
        }
        reason
    }

    /// Counts and logs the response, and puts both connections to their further use.
    fn end_response(
        &mut self,
        sending: &mut Sending<'_>,
        responding: Responding,
        cut: Option<Reason>,
    ) -> Next {
        sending.count_traffic();
        let stats = &sending.plan.cluster.stats;
        stats.upstream_rq.inc(responding.status);
        stats.upstream_rq_completed.inc();
        stats
            .upstream_rq_time
            .record_us(micros(self.began.elapsed()));
        self.info.reason = cut;
        self.info.bytes_received = sending.transfer.payload();
        self.info.bytes_sent = responding.transfer.payload();
        let request_is_read = sending.transfer.has_read_all();
        let whole = cut.is_none() && responding.transfer.has_read_all();
        let reusable = whole && sending.transfer.is_sent();
        self.scratch.request_out = sending.transfer.take_head();
        let head = match &responding.transfer {
            Transfer::Raw(pump) => SentHead::Bytes(pump.head()),
            Transfer::Framed(..) => SentHead::Headers(responding.headers.as_deref()),
        };
        self.finish(responding.status, &head, &sending.plan.matched.route.name);
        let Responding {
            mut transfer,
            switched,
            until_close,
            keep,
            ..
        } = responding;
        self.scratch.response_out = transfer.take_head();
        let upstream = self.settle(sending.upstream.take(), switched, reusable);
        if cut.is_some() {
            // The client gets all that came, and must not take it for the whole. Where its framing
            // would not tell, a reset does, and may cost what is still on its way.
            if let (true, Some(connection)) = (until_close, self.downstream.connection()) {
                connection.reset_on_drop();
            }
            return match cut == Some(Reason::ClientClosed) || until_close {
                true => Next::Close,
                false => Next::Linger,
            };
        }
        if let (true, Some((upstream, received))) = (switched, upstream) {
            return Next::Tunnel(Box::new(upstream), received);
        }
        if keep {
            return Next::Request;
        }
        if self.connection.is_draining() && matches!(self.downstream, Downstream::Http1(_)) {
            self.manager.stats.downstream_cx_drain_close.inc();
        }
        match request_is_read {
            true => Next::Close,
            false => Next::Linger,
        }
    }

    /// Puts the endpoint's connection back if it can carry another request. What is left of it goes
    /// to a tunnel.
    fn settle(
        &self,
        upstream: Option<UpstreamPort>,
        switched: bool,
        reusable: bool,
    ) -> Option<(crate::cluster::Upstream, Buffer)> {
        let Some(UpstreamPort::Http1(stream)) = upstream else {
            return None;
        };
        if switched {
            return Some((stream.upstream, stream.received));
        }
        let response = &self.scratch.response;
        let is_http11 = match &self.request {
            RequestMessage::Http1(request) => request.is_sent_on_as_http11(),
            RequestMessage::Http2(_) => true,
        };
        let reusable = reusable
            && is_http11
            && response.keeps_alive()
            && !is_until_close(response, self.request.is_head())
            && stream.received.is_empty();
        if reusable {
            self.manager.context.clusters.put_back(stream.upstream);
        }
        None
    }

    fn response_changes<'c>(
        &self,
        plan: &ForwardPlan<'c>,
        passage: Option<&mut Passage<'c>>,
        came: &dyn ResponseHead,
    ) -> ResponseChanges<'c> {
        let matched = &plan.matched;
        let mut edits = Edits::default();
        for level in matched.levels().filter(|level| !level.response.is_empty()) {
            let facts = self.facts(&matched.route.name);
            edits.apply(&level.response, came, &rendered(&facts));
        }
        if let Some(passage) = passage {
            passage.encode(self, came, &mut edits);
        }
        let envoy_headers = !self.manager.router().suppress_envoy_headers;
        let copies_id = self.manager.config.always_set_request_id_in_response;
        let id = self.request.head().filter(|_| copies_id);
        ResponseChanges {
            edits,
            service_time_ms: envoy_headers.then(|| micros(self.began.elapsed()) / 1000),
            request_id: id.and_then(|head| Some(head.header("x-request-id")?.into_owned())),
            server: None,
        }
    }

    /// Whether the client speaks HTTP/1.0.
    pub(super) fn is_old(&self) -> bool {
        matches!(&self.request, RequestMessage::Http1(request) if request.minor_version == 0)
    }

    fn is_bodiless(&self, status: StatusCode) -> bool {
        self.request.is_head()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

/// Has filters see the trailers, if they want to.
fn show_trailers(sending: &mut Sending<'_>, responding: &mut Responding) {
    let passage = sending.passage.as_deref_mut();
    if passage.is_some_and(Passage::sees_response_body) {
        responding.transfer.show_trailers();
    }
}

fn is_until_close(response: &Http1Response, to_head_request: bool) -> bool {
    response.body(to_head_request).framing() == Framing::UntilClose
}
