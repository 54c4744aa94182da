//! One stream of a client: a request, routed and answered.

use std::{
    borrow::Cow,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, request, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    super::plan::{ForwardPlan, Plan},
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
        h2::head::joined,
        head::RequestHead,
        header_edits::{HeaderEdits, Matched},
        local_reply::LocalReply,
        route::is_grpc,
    },
    listener::ConnectionContext,
    reason::Reason,
};

/// What is known of a stream until it ends. Dropped before that, it was the client's doing.
struct Stream<'s, 'c> {
    shared: &'s Shared<'c>,
    began: Instant,
    cluster: Option<Arc<config::Cluster>>,
    host: Option<SocketAddr>,
    reason: Option<Reason>,
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
    respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let mut stream = Stream::begin(shared);
    // Lent to all that follows: it is large, and would be copied on its way.
    let mut lent = Some(head);
    let Some(head) = &mut lent else { return };
    let objection = stream.objection(head);
    if let Some(reason) = objection.or_else(|| normalize(&shared.manager.config, head).err()) {
        let kind = Kind::of(head);
        return stream.reply(Some(head), kind, respond, &reason.into(), None);
    }
    let manager = &shared.manager;
    let (routes, clusters) = {
        let worker = &shared.context.borrow().worker;
        (manager.routes(worker), Rc::clone(&worker.clusters))
    };
    match Plan::new(manager, routes.as_deref(), head, &clusters) {
        Plan::Reply(reply, matched) => {
            let kind = Kind::of(head);
            stream.reply(Some(head), kind, respond, &reply, matched.as_ref());
        }
        Plan::Forward(ref plan) => stream.forward(plan, &mut lent, body, respond).await,
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
    fn begin(shared: &'s Shared<'c>) -> Self {
        let stats = &shared.manager.stats;
        stats.downstream_rq_total.inc();
        stats.downstream_rq_http2_total.inc();
        stats.downstream_rq_active.inc();
        shared.active.set(shared.active.get() + 1);
        shared.context.borrow_mut().outcome.requests += 1;
        Self {
            shared,
            began: Instant::now(),
            cluster: None,
            host: None,
            reason: None,
            received: 0,
            ended: false,
        }
    }

    /// What is wrong with the request before it is routed.
    fn objection(&self, head: &request::Parts) -> Option<Reason> {
        if head.method == Method::CONNECT {
            return Some(Reason::UpgradeRefused);
        }
        let most = self.shared.manager.config.max_headers_count as usize;
        (head.headers.len() > most).then_some(Reason::HeadTooLarge)
    }

    async fn forward(
        &mut self,
        plan: &ForwardPlan<'_>,
        head: &mut Option<request::Parts>,
        body: RecvStream,
        respond: SendResponse<Bytes>,
    ) {
        let shared = self.shared;
        let manager = &shared.manager;
        let Some(kind) = head.as_ref().map(Kind::of) else {
            return;
        };
        let name = &plan.matched.route.name;
        let client = Client::Http2(respond);
        let message = (head, Source::Http2(body));
        let mut exchange =
            Exchange::new(manager, plan, &shared.context, client, message, self.began);
        let ended = exchange.run().await;
        self.cluster = Some(Arc::clone(&plan.cluster.config));
        self.host = exchange.host;
        self.received = exchange.sent_bytes();
        let Exchange { client, head, .. } = exchange;
        match ended {
            Ended::Gone => {
                self.reason = Some(Reason::ClientClosed);
                manager.stats.downstream_rq_rx_reset.inc();
                self.finish(head.as_ref(), 0, None, 0, name);
            }
            Ended::Refused(reason) => {
                if let Client::Http2(respond) = client {
                    let matched = Some(&plan.matched);
                    self.reply(head.as_ref(), kind, respond, &reason.into(), matched);
                }
            }
            Ended::Answered(answer) => {
                self.reason = answer.cut;
                if answer.cut == Some(Reason::ClientClosed) {
                    manager.stats.downstream_rq_rx_reset.inc();
                }
                let headers = answer.headers.as_deref();
                self.finish(
                    head.as_ref(),
                    answer.status,
                    headers,
                    answer.body_bytes,
                    name,
                );
            }
        }
    }

    /// Sends a response of our own.
    fn reply(
        &mut self,
        head: Option<&request::Parts>,
        kind: Kind,
        mut respond: SendResponse<Bytes>,
        reply: &LocalReply,
        matched: Option<&Matched<'_>>,
    ) {
        self.reason = match reply.reason {
            Reason::Redirect | Reason::DirectResponse => None,
            reason => Some(reason),
        };
        let (status, fields, body) = if kind.is_grpc {
            let grpc = reply.for_grpc();
            (grpc.status, grpc.headers, Bytes::new())
        } else {
            (reply.status, reply.headers(), reply.body.clone())
        };
        let mut edits = HeaderEdits::default();
        let name = matched.map_or("", |matched| matched.route.name.as_str());
        if let Some(matched) = matched {
            let context = &**self.shared.context.borrow();
            for level in matched.levels().filter(|level| !level.response.is_empty()) {
                let there = |name: &str| fields.iter().any(|(known, _)| *known == name);
                let facts = self.facts(context, head, 0, name);
                edits.apply(&level.response, &there, &facts);
            }
        }
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        let kept = fields
            .iter()
            .filter(|(name, _)| edits.keeps(name.as_bytes()));
        for (name, value) in kept.chain(&edits.added) {
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
        self.finish(head, status, Some(&sent), body_bytes, name);
    }

    /// Counts the response and writes the access log.
    fn finish(
        &mut self,
        head: Option<&request::Parts>,
        status: u16,
        headers: Option<&HeaderMap>,
        body_bytes: u64,
        route_name: &str,
    ) {
        self.ended = true;
        let manager = &self.shared.manager;
        let (stats, duration) = (&manager.stats, micros(self.began.elapsed()));
        stats.downstream_rq.inc(status);
        stats.downstream_rq_completed.inc();
        stats.downstream_rq_time.record_us(duration);
        let outcome = &mut self.shared.context.borrow_mut().outcome;
        outcome.response_code = status;
        outcome.reason = self.reason;
        outcome.upstream_host = self.host;
        if let Some(cluster) = self.cluster.take() {
            outcome.cluster = Some(cluster);
        }
        if !manager.config.access_logs.is_empty() {
            let context = &**self.shared.context.borrow();
            let find = |name: &str| {
                let found = joined(headers?, name);
                found.map(Cow::into_owned)
            };
            let facts = Facts {
                response: Some(&find),
                ..self.facts(context, head, body_bytes, route_name)
            };
            access_log::write(&manager.config.access_logs, &facts);
        }
    }

    fn facts<'a>(
        &self,
        context: &'a ConnectionContext,
        head: Option<&'a request::Parts>,
        bytes_sent: u64,
        route_name: &'a str,
    ) -> Facts<'a> {
        let duration_us = micros(self.began.elapsed());
        let request = head.map(|head| head as &dyn RequestHead);
        let (manager, peer) = (&self.shared.manager, context.remote.ip());
        Facts {
            context,
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
        let shared = self.shared;
        let stats = &shared.manager.stats;
        stats.downstream_rq_active.dec();
        shared.active.set(shared.active.get() - 1);
        if shared.active.get() == 0 {
            shared.idle_since.set(Instant::now());
        }
        if !self.ended {
            stats.downstream_rq_rx_reset.inc();
            shared.context.borrow_mut().outcome.reason = Some(Reason::ClientClosed);
        }
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
