//! The response on its way to the client.

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::time::Instant;

use super::{
    attempt::Answered,
    deadlines::Late,
    exchange::Sending,
    http1::Http1,
    plan::ForwardPlan,
    pump::{Pump, PumpError},
    upstream_head::{ConnectionHeader, ResponseHeadPlan, write_response},
};
use crate::{
    cluster::micros,
    http::{
        h1::body::{Body, Framing},
        head::RequestHead,
        header_edits::HeaderEdits,
    },
    reason::Reason,
};

/// Why a response was cut short.
enum Cut {
    Pump(PumpError),
    Late(Late),
}

/// What is left to do once a response has been sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Responded {
    pub(super) then: Then,
    /// The endpoint's connection can carry another request.
    pub(super) reuse: bool,
}

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It carries another request.
    Request,
    /// It is closed.
    Close,
    /// It is closed once the client has had time to read the response.
    Linger,
    /// It carries bytes, both ways.
    Tunnel,
}

impl Http1<'_> {
    /// Sends the response whose head has been read.
    pub(super) async fn respond(
        &mut self,
        sending: &mut Sending<'_>,
        answered: &mut Answered,
    ) -> Responded {
        let Sending {
            plan,
            pump: sending,
            deadlines,
            upgrading,
            ..
        } = sending;
        let (plan, upgrading) = (*plan, *upgrading);
        let (upstream, received) = (&mut answered.upstream, &mut answered.received);
        let head_length = answered.head_length;
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
            && !self.is_leaving()
            && sending.has_read_all();
        let mut head = std::mem::take(&mut self.response_out);
        head.clear();
        let connection = match (switched, keep, self.request.minor_version) {
            (true, ..) => ConnectionHeader::Upgrade,
            (false, false, _) => ConnectionHeader::Close,
            (false, true, 0) => ConnectionHeader::KeepAlive,
            (false, true, _) => ConnectionHeader::None,
        };
        self.write_response_head(&mut head, plan, received.filled(), connection, self.began);
        received.consume(head_length);
        let mut receiving = Pump::new(head, body);
        let result = poll_fn(|cx| {
            let (from, to) = (&mut upstream.connection, &mut self.downstream);
            if let Poll::Ready(done) = receiving.poll(cx, from, received, to) {
                return Poll::Ready(done.map_err(Cut::Pump));
            }
            if !sending.is_done() {
                // What becomes of the rest of the request no longer matters.
                let (from, to) = (&mut self.downstream, &mut upstream.connection);
                let _ = sending.poll(cx, from, &mut self.buffer, to);
            }
            if !switched && self.poll_gone(cx, sending.is_done()).is_ready() {
                return Poll::Ready(Err(Cut::Pump(PumpError::Sink)));
            }
            if !deadlines.knows_request_is_read() && sending.has_read_all() {
                deadlines.request_is_read(Instant::now());
            }
            let moved = receiving.moved + sending.moved;
            let late = deadlines.poll(cx, &mut self.timer, moved);
            late.map(|late| Err(Cut::Late(late)))
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
        if let Err(cut) = &result {
            self.context.outcome.reason = Some(match cut {
                Cut::Pump(PumpError::Sink) => {
                    self.manager.stats.downstream_rq_rx_reset.inc();
                    Reason::ClientClosed
                }
                Cut::Pump(PumpError::Source | PumpError::Malformed) => Reason::UpstreamReset,
                Cut::Late(late) => late.reason(&stats),
            });
            // The client must not take what it has for the whole.
            self.downstream.reset_on_drop();
        }
        let request_is_read = sending.has_read_all();
        let request_sent = sending.is_done();
        let upstream_keeps = self.response.keeps_alive() && self.request.minor_version > 0;
        self.out = sending.take_head();
        self.finish(
            status,
            receiving.head(),
            body_bytes,
            &plan.matched.route.name,
        );
        self.response_out = receiving.take_head();
        let whole = result.is_ok();
        if whole && !switched && !keep && self.context.is_draining() {
            self.manager.stats.downstream_cx_drain_close.inc();
        }
        Responded {
            then: match (whole, request_is_read) {
                (false, _) => Then::Close,
                (true, _) if switched => Then::Tunnel,
                (true, _) if keep => Then::Request,
                (true, true) => Then::Close,
                (true, false) => Then::Linger,
            },
            reuse: whole
                && !switched
                && upstream_keeps
                && request_sent
                && !until_close
                && received.is_empty(),
        }
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
}
