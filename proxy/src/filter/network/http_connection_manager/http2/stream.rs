//! One stream of a client: a request, routed and answered.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, request, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    super::{
        plan::{ForwardPlan, Plan},
        trust::sanitize,
    },
    Shared,
    bridge::Source,
    exchange::{Client, Ended, Exchange},
    message::{append, complete_response},
};
use crate::{
    access_log::{self, Facts},
    cluster::micros,
    config,
    http::{
        codec::h2::{RecvStream, SendResponse, TooLarge},
        edits::{Edits, rendered},
        h2::head::value,
        head::RequestHead,
        local_reply::{LocalReply, ReplyFields},
        route::Matched,
        route::is_grpc,
    },
    info::Outcome,
    reason::Reason,
};

/// What is known of a stream until it ends. Dropped before that, it was the client's doing.
struct Stream<'s, 'c> {
    shared: &'s Shared<'c>,
    began: Instant,
    /// The request's head, as long as somebody may ask for it.
    head: Option<request::Parts>,
    kind: Kind,
    outcome: Outcome,
    /// Bytes of the request's body.
    received: u64,
    ended: bool,
}

/// What a local reply must know of the request.
#[derive(Debug, Clone, Copy)]
struct Kind {
    is_head: bool,
    is_grpc: bool,
}

/// Answers a request.
pub(super) async fn serve(
    shared: &Shared<'_>,
    request: Request<RecvStream>,
    respond: SendResponse,
) {
    let (mut head, body) = request.into_parts();
    sanitize(&shared.manager.config, &mut head.headers);
    let mut stream = Stream::begin(shared, head);
    if let Some(reason) = stream.objection() {
        return stream.reply(respond, &reason.into(), None);
    }
    let Some(head) = &stream.head else { return };
    let manager = &shared.manager;
    let routes = manager.routes();
    match Plan::new(manager, routes.as_deref(), head, &manager.context.clusters) {
        Plan::Reply(reply, matched) => stream.reply(respond, &reply, matched.as_ref()),
        Plan::Forward(ref plan) => stream.forward(plan, body, respond).await,
    }
}

/// Brings the path into the form that is routed.
fn normalize(
    config: &config::HttpConnectionManager,
    head: &mut request::Parts,
) -> Result<(), Reason> {
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let path = config.path.apply(path.as_bytes());
    if let Some(path) = path.map_err(|_| Reason::BadRequest)? {
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path));
        uri.path_and_query = Some(path.map_err(|_| Reason::BadRequest)?);
        head.uri = Uri::from_parts(uri).map_err(|_| Reason::BadRequest)?;
    }
    Ok(())
}

// === impl Stream ===

impl<'s, 'c> Stream<'s, 'c> {
    fn begin(shared: &'s Shared<'c>, head: request::Parts) -> Self {
        let stats = &shared.manager.stats;
        stats.downstream_rq_total.inc();
        stats.downstream_rq_http2_total.inc();
        stats.downstream_rq_active.inc();
        shared.active.set(shared.active.get() + 1);
        shared.requests.set(shared.requests.get() + 1);
        Self {
            shared,
            began: Instant::now(),
            kind: Kind::of(&head),
            head: Some(head),
            outcome: Outcome::default(),
            received: 0,
            ended: false,
        }
    }

    /// What is wrong with the request before it is routed. Brings it into the form that is routed.
    fn objection(&mut self) -> Option<Reason> {
        let config = &self.shared.manager.config;
        let head = self.head.as_mut()?;
        if head.method == Method::CONNECT {
            return Some(Reason::UpgradeRefused);
        }
        let is_too_large = head.extensions.get::<TooLarge>().is_some();
        if is_too_large || head.headers.len() > config.max_headers_count as usize {
            return Some(Reason::HeadTooLarge);
        }
        normalize(config, head).err()
    }

    async fn forward(&mut self, plan: &ForwardPlan<'_>, body: RecvStream, respond: SendResponse) {
        let Shared {
            manager, context, ..
        } = self.shared;
        let client = Client::Http2(respond);
        let message = (&mut self.head, Source::Http2(body));
        let facts = (*context, &mut self.outcome);
        let mut exchange = Exchange::new(manager, plan, facts, client, message, self.began);
        let ended = exchange.run().await;
        self.received = exchange.sent_bytes();
        let client = exchange.client;
        let name = &plan.matched.route.name;
        match ended {
            Ended::Gone => self.gone(name),
            Ended::Refused(reply) => {
                if let Client::Http2(respond) = client {
                    self.reply(respond, &reply, Some(&plan.matched));
                }
            }
            Ended::Answered(answer) => {
                self.outcome.reason = answer.cut;
                if answer.cut == Some(Reason::ClientClosed) {
                    manager.stats.downstream_rq_rx_reset.inc();
                }
                let headers = answer.headers.as_deref();
                self.finish(answer.status, headers, answer.body_bytes, name);
            }
        }
    }

    /// Sends a response of our own.
    fn reply(
        &mut self,
        mut respond: SendResponse,
        reply: &LocalReply,
        matched: Option<&Matched<'_>>,
    ) {
        let kind = self.kind;
        self.outcome.reason = match reply.reason {
            Reason::Redirect | Reason::DirectResponse => None,
            reason => Some(reason),
        };
        let (status, fields, body) = if kind.is_grpc {
            let grpc = reply.for_grpc(self.shared.manager.router());
            (grpc.status, grpc.headers, Bytes::new())
        } else {
            (
                reply.status,
                reply.headers(self.shared.manager.router()),
                reply.body.clone(),
            )
        };
        let mut edits = Edits::default();
        let name = matched.map_or("", |matched| matched.route.name.as_str());
        if let Some(matched) = matched {
            for level in matched.levels().filter(|level| !level.response.is_empty()) {
                let facts = self.facts(0, name);
                edits.apply(&level.response, &ReplyFields(&fields), &rendered(&facts));
            }
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        let kept = fields
            .iter()
            .filter(|(name, _)| edits.keeps(name.as_bytes()))
            .map(|(name, value)| (*name, value.as_str()));
        for (name, value) in kept.chain(edits.added()) {
            append(headers, name, value);
        }
        complete_response(headers, &self.shared.manager);
        let sent = headers.clone();
        let body_bytes = body.len() as u64;
        let end = body.is_empty() || kind.is_head;
        // A client that is gone needs no answer.
        if let Ok(mut stream) = respond.send_response(response, end)
            && !end
        {
            let _ = stream.send_data(body, true);
        }
        self.finish(status, Some(&sent), body_bytes, name);
    }

    /// Counts the response and writes the access log.
    fn finish(
        &mut self,
        status: u16,
        headers: Option<&HeaderMap>,
        body_bytes: u64,
        route_name: &str,
    ) {
        self.ended = true;
        let (stats, duration) = (&self.shared.manager.stats, micros(self.began.elapsed()));
        stats.downstream_rq.inc(status);
        stats.downstream_rq_completed.inc();
        stats.downstream_rq_time.record_us(duration);
        self.outcome.response_code = status;
        self.log(headers, body_bytes, route_name);
    }

    /// The client went away before there was a response.
    fn gone(&mut self, route_name: &str) {
        self.ended = true;
        self.shared.manager.stats.downstream_rq_rx_reset.inc();
        self.outcome.reason = Some(Reason::ClientClosed);
        self.log(None, 0, route_name);
    }

    /// Writes the access log. `headers` are those of the response, if there was one.
    fn log(&self, headers: Option<&HeaderMap>, body_bytes: u64, route_name: &str) {
        let logs = &self.shared.manager.config.access_logs;
        if logs.is_empty() {
            return;
        }
        let find = |name: &str| value(headers?, name).map(Cow::into_owned);
        let facts = Facts {
            response: Some(&find),
            ..self.facts(body_bytes, route_name)
        };
        let writers = &self.shared.manager.context.access_logs;
        access_log::write(writers, logs, &facts);
    }

    fn facts<'a>(&'a self, bytes_sent: u64, route_name: &'a str) -> Facts<'a> {
        let Shared {
            manager, context, ..
        } = self.shared;
        let duration_us = micros(self.began.elapsed());
        let request = self.head.as_ref().map(|head| head as &dyn RequestHead);
        let peer = context.remote.ip();
        Facts {
            context,
            outcome: &self.outcome,
            request,
            response: None,
            client: request.and_then(|request| manager.client(request, peer)),
            upstream_local: None,
            duration_us,
            start: SystemTime::now() - Duration::from_micros(duration_us),
            bytes_received: self.received,
            bytes_sent,
            route_name,
        }
    }
}

impl Drop for Stream<'_, '_> {
    fn drop(&mut self) {
        if !self.ended {
            self.gone("");
        }
        let shared = self.shared;
        shared.manager.stats.downstream_rq_active.dec();
        shared.active.set(shared.active.get() - 1);
        if shared.active.get() == 0 {
            shared.idle_since.set(Instant::now());
        }
        shared.last.set(std::mem::take(&mut self.outcome));
    }
}

// === impl Kind ===

impl Kind {
    fn of(head: &request::Parts) -> Self {
        Self {
            is_head: head.method == Method::HEAD,
            is_grpc: is_grpc(head),
        }
    }
}
