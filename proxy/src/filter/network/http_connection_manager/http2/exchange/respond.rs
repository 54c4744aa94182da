//! The response on its way to the client.

use std::{future::poll_fn, task::Poll};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};
use tokio::time::Instant;

use super::{
    super::{
        super::upstream_head::ConnectionHeader,
        bridge::{Bridge, Encoder, Framed, Sink, Source, Stop},
        message::{ResponseChanges, change_response, may_have_length, write_http1_response},
    },
    Answer, Client, Ended, Exchange,
    attempt::Answered,
    upstream::UpstreamStream,
};
use crate::{
    cluster::micros,
    http::{
        codec::h2,
        edits::{Edits, rendered},
        head::RequestHead,
    },
    reason::Reason,
};

/// A response on its way.
pub(super) struct Responding {
    receiving: Bridge,
    source: Source,
    upstream: UpstreamStream,
    status: u16,
    headers: Option<Box<HeaderMap>>,
    head_bytes: u64,
}

impl Exchange<'_> {
    /// Sends the head that has come. None if the client is gone.
    pub(super) fn begin_response(&mut self, answered: Answered) -> Option<Responding> {
        let Answered {
            mut head,
            source,
            upstream,
        } = answered;
        self.plan.cluster.note_http();
        let status = head.status.as_u16();
        if !may_have_length(head.status) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        self.change(&mut head.headers);
        let logged = !self.manager.config.access_logs.is_empty();
        let headers = logged.then(|| Box::new(head.headers.clone()));
        let end = source.has_ended() || self.is_bodiless(head.status);
        let sent_all = self.sending.as_ref().is_none_or(Bridge::is_done);
        let (sink, head_bytes) = self.client.send_head(head, end, self.is_head, sent_all)?;
        Some(Responding {
            receiving: Bridge::new(sink),
            source,
            upstream,
            status,
            headers,
            head_bytes,
        })
    }

    /// Counts the response, and puts the endpoint's connection to its further use.
    pub(super) fn end_response(&self, response: Responding, cut: Option<Reason>) -> Ended {
        let Responding {
            receiving,
            source,
            upstream,
            status,
            headers,
            head_bytes,
        } = response;
        let stats = &self.plan.cluster.stats;
        stats.upstream_rq.inc(status);
        stats.upstream_rq_completed.inc();
        stats
            .upstream_rq_time
            .record_us(micros(self.began.elapsed()));
        if cut.is_none() {
            self.put_back(upstream, &source);
        }
        let (keep, until_close) = match &self.client {
            Client::Http2(_) => (true, false),
            Client::Http1 {
                keep, until_close, ..
            } => (*keep && cut.is_none(), *until_close),
        };
        Ended::Answered(Answer {
            status,
            headers,
            head_bytes,
            body_bytes: receiving.moved,
            cut,
            keep,
            until_close,
        })
    }

    /// Moves both bodies until the response is complete. Says what cut it short.
    pub(super) async fn relay(&mut self, response: &mut Responding) -> Option<Reason> {
        let Responding {
            receiving,
            source,
            upstream,
            ..
        } = response;
        if receiving.is_done() {
            return None;
        }
        poll_fn(|cx| {
            let received = receiving.poll(cx, source, upstream.wire(), self.client.connection());
            let stop = match received {
                Poll::Ready(Ok(())) => return Poll::Ready(None),
                Poll::Ready(Err(stop)) => Some(stop),
                Poll::Pending => self.poll_client(cx, receiving, upstream),
            };
            if let Some(stop) = stop {
                return Poll::Ready(Some(self.cut(stop, receiving)));
            }
            let moved = self.sent_bytes() + receiving.moved;
            let late = self.deadlines.poll(cx, &mut self.timer, moved);
            late.map(|late| {
                if let Some(stream) = receiving.http2_sink() {
                    stream.send_reset(h2::Reason::INTERNAL_ERROR);
                }
                Some(late.reason(&self.plan.cluster.stats))
            })
        })
        .await
    }

    /// Sends more of the request, and looks for a reset of the client's.
    fn poll_client(
        &mut self,
        cx: &mut std::task::Context<'_>,
        receiving: &mut Bridge,
        upstream: &mut UpstreamStream,
    ) -> Option<Stop> {
        if let Some(stream) = receiving.http2_sink()
            && let Poll::Ready(code) = stream.poll_reset(cx)
        {
            return Some(Stop::Sink(code.ok()));
        }
        let sending = self.sending.as_mut().filter(|sending| !sending.is_done())?;
        let (from, to) = (self.client.wire(), upstream.connection());
        match sending.poll(cx, &mut self.source, from, to) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) => {
                self.deadlines.request_is_read(Instant::now());
                None
            }
            // The client has ended its side in the middle; it can have no use for the rest.
            Poll::Ready(Err(Stop::Source(code))) => Some(Stop::Sink(code)),
            Poll::Ready(Err(Stop::Malformed)) => Some(Stop::Sink(None)),
            // What becomes of the rest of the request no longer matters.
            Poll::Ready(Err(Stop::Sink(_))) => {
                sending.abandon();
                None
            }
        }
    }

    /// Passes a reset on, with its code.
    fn cut(&mut self, stop: Stop, receiving: &mut Bridge) -> Reason {
        let stats = &self.plan.cluster.stats;
        match stop {
            Stop::Sink(code) => {
                stats.upstream_rq_tx_reset.inc();
                if let Some(stream) = self.sending.as_mut().and_then(Bridge::http2_sink) {
                    stream.send_reset(code.unwrap_or(h2::Reason::CANCEL));
                }
                Reason::ClientClosed
            }
            Stop::Source(code) => {
                stats.upstream_rq_rx_reset.inc();
                if let Some(stream) = receiving.http2_sink() {
                    stream.send_reset(code.unwrap_or(h2::Reason::INTERNAL_ERROR));
                }
                Reason::UpstreamReset
            }
            Stop::Malformed => {
                stats.upstream_cx_protocol_error.inc();
                if let Some(stream) = receiving.http2_sink() {
                    stream.send_reset(h2::Reason::PROTOCOL_ERROR);
                }
                Reason::UpstreamProtocolError
            }
        }
    }

    fn change(&self, headers: &mut HeaderMap) {
        let mut edits = Edits::default();
        let request = self.head.as_ref().map(|head| head as &dyn RequestHead);
        let levels = self.plan.matched.levels();
        for level in levels.filter(|level| !level.response.is_empty()) {
            edits.apply(&level.response, headers, &rendered(&self.facts(request)));
        }
        let envoy_headers = !self.manager.router().suppress_envoy_headers;
        let copy_id = self.manager.config.always_set_request_id_in_response;
        let id = || request?.header("x-request-id");
        let changes = ResponseChanges {
            edits,
            service_time_ms: envoy_headers.then(|| micros(self.began.elapsed()) / 1000),
            request_id: copy_id
                .then(id)
                .flatten()
                .and_then(|id| HeaderValue::from_str(&id).ok()),
        };
        change_response(headers, self.manager, &changes);
    }

    fn is_bodiless(&self, status: StatusCode) -> bool {
        self.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }

    /// Puts an HTTP/1 connection back that can carry another request.
    fn put_back(&self, upstream: UpstreamStream, source: &Source) {
        let UpstreamStream::Http1(stream) = upstream else {
            return;
        };
        let sent_all = self.sending.as_ref().is_some_and(Bridge::is_sent);
        let whole = source.has_ended() && stream.received.is_empty();
        if sent_all && whole && stream.response.keeps_alive() && !stream.until_close {
            let clusters = std::rc::Rc::clone(&self.manager.context.clusters);
            clusters.put_back(stream.upstream);
        }
    }
}

// === impl Client ===

impl Client<'_> {
    /// Sends the response's head. None if the client is gone; else where the body goes and how
    /// many bytes the head has.
    fn send_head(
        &mut self,
        head: response::Parts,
        end: bool,
        is_head: bool,
        sent_all: bool,
    ) -> Option<(Sink, u64)> {
        match self {
            Self::Http2(respond) => {
                let response = Response::from_parts(head, ());
                let stream = respond.send_response(response, end).ok()?;
                let sink = match end {
                    true => Sink::None(Some(stream)),
                    false => Sink::Http2(stream),
                };
                Some((sink, 0))
            }
            Self::Http1 {
                minor_version,
                keep,
                until_close,
                ..
            } => {
                let mut out = Vec::with_capacity(1024);
                let old = *minor_version == 0;
                write_http1_response(&mut out, old, &head);
                let status = head.status;
                let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
                let may_have_length =
                    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
                        && !is_head;
                let framed = match (has_length, end, old) {
                    (false, true, _) if may_have_length => {
                        out.extend_from_slice(b"content-length: 0\r\n");
                        Framed::Plain
                    }
                    (false, false, false) => {
                        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
                        Framed::Chunked
                    }
                    (false, false, true) => {
                        (*keep, *until_close) = (false, true);
                        Framed::Plain
                    }
                    _ => Framed::Plain,
                };
                *keep &= sent_all;
                let connection = match (*keep, old) {
                    (false, _) => ConnectionHeader::Close,
                    (true, true) => ConnectionHeader::KeepAlive,
                    (true, false) => ConnectionHeader::None,
                };
                connection.write(&mut out);
                out.extend_from_slice(b"\r\n");
                let bytes = out.len() as u64;
                Some((Sink::Http1(Encoder::new(out, framed)), bytes))
            }
        }
    }
}
