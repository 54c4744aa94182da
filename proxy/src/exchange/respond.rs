//! The response on its way to the client.

mod begin;

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use http::HeaderMap;

use super::{
    Downstream, Exchange, Next,
    bridge::Stop,
    deadlines::Late,
    log::SentHead,
    passage::{Passage, Way},
    request::RequestMessage,
    send::{Answer, Sending},
    transfer::Transfer,
    upstream::UpstreamPort,
};
use crate::{
    buffer::Buffer,
    cluster::{Host, Outcome, micros},
    config::format::TimePoint,
    http::codec::{
        h1::{body::Framing, response::Response as Http1Response},
        h2,
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

// === impl Responding ===

impl Responding {
    /// Whether the endpoint has sent all of it. What a switched connection carries does not end with it.
    fn has_come(&self) -> bool {
        !self.switched && self.transfer.has_read_all()
    }
}

// === impl Exchange ===

impl Exchange<'_> {
    /// Sends the response whose head has been read, and says what follows.
    pub(super) async fn respond(&mut self, sending: &mut Sending<'_>, host: &Host) -> Next {
        sending.plan.cluster.note_http();
        if self.request.is_grpc() {
            self.info.grpc_status = self.grpc_status(sending);
        }
        if let Some(responding) = self.begin_response(sending) {
            sending.answer = Answer::OnItsWay(responding);
        }
        let cut = self.relay(sending).await;
        if cut.is_some_and(is_of_the_endpoint) {
            sending.plan.cluster.report(host, Outcome::Failed);
        }
        match std::mem::replace(&mut sending.answer, Answer::Awaited) {
            Answer::OnItsWay(responding) => self.end_response(sending, responding, cut),
            Answer::Awaited | Answer::Headed(_) => {
                self.info.bytes_received = sending.transfer.payload();
                self.gone(&sending.plan.matched.route.name)
            }
        }
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
        self.observe_progress(sending);
        let responding = sending.answer.responding();
        if responding.as_ref().is_some_and(|it| it.has_come()) {
            self.observe(TimePoint::UpstreamRxEnd);
        }
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
        let stats = &sending.plan.named_cluster.stats;
        stats.upstream_rq.inc(responding.status);
        stats.upstream_rq_completed.inc();
        stats
            .upstream_rq_time
            .record_us(micros(self.began.elapsed()));
        self.info.reason = cut;
        self.info.bytes_received = sending.transfer.payload();
        self.info.bytes_sent = responding.transfer.payload();
        let of_trailers = responding.transfer.grpc_status();
        self.info.grpc_status = of_trailers.or(self.info.grpc_status);
        let request_is_read = sending.transfer.has_read_all();
        let whole = cut.is_none() && responding.transfer.has_read_all();
        let reusable = whole && sending.transfer.is_sent();
        self.scratch.request_out = sending.transfer.take_head();
        let head = match &responding.transfer {
            Transfer::Raw(pump) => SentHead::Bytes(pump.head()),
            Transfer::Framed(..) => SentHead::Headers(responding.headers.as_deref()),
        };
        let passage = sending.passage.as_deref();
        self.observe_end(Some(&sending.plan.matched), passage);
        if responding.has_come() {
            self.observe(TimePoint::UpstreamRxEnd);
        }
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
}

/// Whether a response was cut short by who sent it.
fn is_of_the_endpoint(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UpstreamReset | Reason::UpstreamProtocolError
    )
}

fn is_until_close(response: &Http1Response, to_head_request: bool) -> bool {
    response.body(to_head_request).framing() == Framing::UntilClose
}
