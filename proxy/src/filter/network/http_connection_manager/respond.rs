//! The response on its way to the client.

use std::{future::poll_fn, sync::Arc, task::Poll};

use tokio::time::Instant;

use super::{
    attempt::Answered,
    deadlines::Late,
    exchange::{Sending, Switch},
    http1::Http1,
    plan::ForwardPlan,
    pump::{Pump, PumpError},
    upstream_head::{ConnectionHeader, ResponseHeadPlan, write_response},
};
use crate::{
    cluster::micros,
    http::{
        codec::h1::{
            body::{Body, Framing},
            response::ReadResponse,
        },
        edits::{Edits, rendered},
        head::Fields,
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
            switch,
            ..
        } = sending;
        let (plan, switch) = (*plan, *switch);
        let (upstream, received) = (&mut answered.upstream, &mut answered.received);
        let head_length = answered.head_length;
        let stats = Arc::clone(&plan.cluster.stats);
        plan.cluster.note_http();
        let status = self.response.status;
        let switched = match switch {
            None => false,
            Some(Switch::Upgrade) => status == 101,
            Some(Switch::Tunnel) => (200..300).contains(&status),
        };
        let (body, framing) = match switched {
            true => (Body::none(), None),
            false => (
                self.response.body(self.request.is_head()),
                self.response.framing(),
            ),
        };
        let until_close = body.framing() == Framing::UntilClose;
        let keep = self.request.keeps_alive()
            && !until_close
            && !self.is_leaving()
            // What the client has sent may have been meant for the tunnel.
            && switch != Some(Switch::Tunnel)
            && sending.has_read_all();
        let mut head = std::mem::take(&mut self.response_out);
        head.clear();
        let connection = match (switched, switch) {
            (true, Some(Switch::Tunnel)) => ConnectionHeader::None,
            (true, _) => ConnectionHeader::Upgrade,
            (false, _) => self.connection_header(keep),
        };
        self.write_response_head(&mut head, plan, received.filled(), (connection, framing));
        received.consume(head_length);
        let mut receiving = Pump::response(head, body);
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
                Cut::Pump(PumpError::Source) => Reason::UpstreamReset,
                Cut::Pump(PumpError::Malformed) => {
                    stats.upstream_cx_protocol_error.inc();
                    Reason::UpstreamProtocolError
                }
                Cut::Late(late) => late.reason(&stats),
            });
            // The client gets all that came, and must not take it for the whole. Where its framing
            // would not tell, a reset does, and may cost what is still on its way.
            if until_close {
                self.downstream.reset_on_drop();
            }
        }
        let client_left = matches!(result, Err(Cut::Pump(PumpError::Sink)));
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
                (false, _) if client_left || until_close => Then::Close,
                (false, _) => Then::Linger,
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

    /// What the client is told of its connection, unless that becomes something else.
    fn connection_header(&self, keep: bool) -> ConnectionHeader {
        // RFC 9110 section 15.5.22: with it comes what to upgrade to.
        let upgrade = self.response.status == 426 && self.response.semantics.upgrade;
        match (keep, self.request.minor_version) {
            (false, _) if upgrade => ConnectionHeader::UpgradeAndClose,
            (true, 1..) if upgrade => ConnectionHeader::Upgrade,
            (false, _) => ConnectionHeader::Close,
            (true, 0) => ConnectionHeader::KeepAlive,
            (true, _) => ConnectionHeader::None,
        }
    }

    fn write_response_head(
        &self,
        out: &mut Vec<u8>,
        plan: &ForwardPlan<'_>,
        bytes: &[u8],
        (connection, framing): (ConnectionHeader, Option<Framing>),
    ) {
        let config = &self.manager.config;
        let envoy_headers = !self.manager.router().suppress_envoy_headers;
        let mut edits = Edits::default();
        for level in plan.matched.levels() {
            if !level.response.is_empty() {
                let response = &self.response;
                let facts = self.facts(&plan.matched.route.name);
                let read = ReadResponse { bytes, response };
                edits.apply(&level.response, &read, &rendered(&facts));
            }
        }
        let id = self.request.header("x-request-id");
        let head = ResponseHeadPlan {
            edits: &edits,
            minor_version: self.request.minor_version,
            framing,
            connection,
            service_time_ms: envoy_headers.then(|| self.began.elapsed().as_millis()),
            request_id: id
                .as_deref()
                .filter(|_| config.always_set_request_id_in_response),
        };
        write_response(out, bytes, &self.response, config, &head);
    }
}
