//! An HTTP/1 client's request, sent to an endpoint that speaks HTTP/2.

use std::rc::Rc;

use super::{
    super::{
        http1::{Http1, Next},
        plan::ForwardPlan,
    },
    bridge::Source,
    exchange::{Answer, Client, Ended, Exchange},
    message::{request_from_http1, write_http1_headers},
};
use crate::{
    http::codec::h1::{body::Body, decode::Decoder},
    reason::Reason,
};

impl Http1<'_> {
    /// Sends the request whose head has been read to an endpoint that speaks HTTP/2.
    pub(in super::super) async fn forward_to_http2(
        &mut self,
        plan: &ForwardPlan<'_>,
        body: Body,
    ) -> Next {
        let mut head = request_from_http1(&self.request);
        if head.is_none() {
            return self.reply(&Reason::BadRequest.into(), false, None).await;
        }
        let manager = Rc::clone(&self.manager);
        let keep = self.request.keeps_alive() && !self.is_leaving();
        let mut outcome = std::mem::take(&mut self.context.outcome);
        let client = Client::Http1 {
            wire: (&mut self.downstream, &mut self.buffer),
            minor_version: self.request.minor_version,
            keep,
            until_close: false,
            informational: Vec::new(),
        };
        let message = (&mut head, Source::Http1(Decoder::new(body)));
        let facts = (&*self.context, &mut outcome);
        let mut exchange = Exchange::new(&manager, plan, facts, client, message, self.began);
        let ended = exchange.run().await;
        let body_is_read = exchange.source.has_ended();
        drop(exchange);
        self.context.outcome = outcome;
        match ended {
            Ended::Gone => self.gone(&plan.matched.route.name),
            Ended::Refused(reply) => {
                let matched = Some(&plan.matched);
                self.reply(&reply, body_is_read, matched).await
            }
            Ended::Answered(answer) => {
                let next = self.answered(&answer, &plan.matched.route.name);
                if answer.cut.is_some() && !body_is_read {
                    // Closing with something unread would take back what the client has not read.
                    self.linger().await;
                }
                next
            }
        }
    }

    fn answered(&mut self, answer: &Answer, route_name: &str) -> Next {
        self.context.outcome.reason = answer.cut;
        if answer.cut.is_some() && answer.until_close {
            // The client must not take what it has for the whole.
            self.downstream.reset_on_drop();
        }
        let mut head = b"\r\n".to_vec();
        if let Some(headers) = &answer.headers {
            write_http1_headers(&mut head, headers);
        }
        let rest = answer.head_bytes.saturating_sub(head.len() as u64);
        self.finish(answer.status, &head, answer.body_bytes, route_name);
        self.manager.stats.downstream_cx_tx_bytes_total.add(rest);
        self.context.bytes_sent += rest;
        if answer.keep {
            return Next::Request;
        }
        if self.context.is_draining() {
            self.manager.stats.downstream_cx_drain_close.inc();
        }
        Next::Close
    }
}
