//! An HTTP/1 connection: one request after the other, until either side has had enough.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    ConnectionManager,
    upstream_head::{ConnectionHeader, line, status_line, via},
};
use crate::{
    access_log::{self, Facts},
    buffer::Buffer,
    cluster::{Upstream, micros},
    config::http::{CodecType, ServerHeader},
    http::{
        codec::h1::{
            head::HeadError,
            request::{Parsed, Request},
            response::Response,
        },
        edits::{Edits, rendered},
        local_reply::{LocalReply, ReplyFields, phrase, with_date},
        route::Matched,
        route::is_grpc,
        timer::Timer,
    },
    info::ConnectionInfo,
    net::relay,
    net::transport_socket::Connection,
    reason::Reason,
    stats::Held,
};

/// An HTTP/1 connection and what is used again from request to request.
pub(super) struct Http1<'c> {
    pub(super) manager: Rc<ConnectionManager>,
    pub(super) context: &'c mut ConnectionInfo,
    pub(super) downstream: Connection,
    pub(super) buffer: Buffer,
    pub(super) request: Request,
    pub(super) response: Response,
    pub(super) out: Vec<u8>,
    pub(super) response_out: Vec<u8>,
    pub(super) timer: Timer,
    /// When the current request's head was complete.
    pub(super) began: Instant,
    /// The current request, until it has been answered.
    pub(super) active: Option<InFlight>,
}

/// A request on the gauge of those in flight, whatever ends it.
pub(super) struct InFlight(Rc<ConnectionManager>);

/// What follows a request.
pub(super) enum Next {
    /// Another one.
    Request,
    /// The connection is closed.
    Close,
    /// Bytes, both ways: the upgrade was accepted.
    Tunnel(Box<Upstream>, Buffer),
}

/// What there is to read.
enum Incoming {
    Request,
    /// The client has closed, or nothing came for too long.
    End,
    Refused(Reason),
    /// The client speaks HTTP/2.
    Http2,
}

/// How long the rest of a refused request is read and dropped, so that closing does not reset the
/// connection before the client has read the answer (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How long an idle connection of a listener that drains is kept. A request may be on its way, and one that
/// meets a closed connection cannot be told from one that was lost. Longer than other sidecars take to hear
/// that the endpoint is gone: they close first.
const DRAIN_IDLE: Duration = Duration::from_secs(2);
/// Memory of a head that is kept from request to request, bytes.
const KEPT_HEAD: usize = 4096;
/// Bytes that are dropped at most.
const LINGER_BYTES: usize = 1 << 20;

/// Serves a connection until it ends, or until it turns out to speak HTTP/2: then it is handed
/// back with what was read.
pub(super) fn serve(
    manager: Rc<ConnectionManager>,
    context: &mut ConnectionInfo,
    downstream: Connection,
    buffer: Buffer,
) -> impl Future<Output = Option<(Connection, Buffer)>> {
    // Made here, not in the future, which would hold the parts beside the whole.
    let mut http1 = Http1 {
        manager,
        context,
        downstream,
        buffer,
        request: Request::default(),
        response: Response::default(),
        out: Vec::new(),
        response_out: Vec::new(),
        timer: Timer::default(),
        began: Instant::now(),
        active: None,
    };
    async move {
        let drain = http1.context.drain.clone();
        let mut drained = pin!(drain.drained());
        loop {
            let incoming = http1.read_head(drained.as_mut()).await;
            let first = http1.context.requests == 0;
            if first && matches!(incoming, Incoming::Request | Incoming::Refused(_)) {
                http1.manager.stats.downstream_cx_http1_total.inc();
            }
            let next = match incoming {
                Incoming::Request => http1.exchange().await,
                Incoming::Refused(reason) => http1.refuse(reason).await,
                Incoming::End => return None,
                Incoming::Http2 => return Some((http1.downstream, http1.buffer)),
            };
            match next {
                Next::Request => {}
                Next::Close => return None,
                Next::Tunnel(upstream, buffer) => {
                    Box::pin(http1.tunnel(*upstream, buffer)).await;
                    return None;
                }
            }
        }
    }
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn new(manager: &Rc<ConnectionManager>) -> Self {
        manager.stats.downstream_rq_active.inc();
        Self(Rc::clone(manager))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.stats.downstream_rq_active.dec();
    }
}

// === impl Http1 ===

impl Http1<'_> {
    /// Reads until there is a whole head.
    async fn read_head(&mut self, mut drained: Pin<&mut impl Future<Output = ()>>) -> Incoming {
        let manager = Rc::clone(&self.manager);
        let (config, stats) = (&manager.config, &manager.stats);
        let idle_since = Instant::now();
        let retires_at = self.retires_at();
        let (mut first_byte, mut drains_at) = (None, None);
        self.request.clear();
        for head in [&mut self.out, &mut self.response_out] {
            // An unusually large one, or one with a body kept for a retry, is not held on to.
            if head.capacity() > KEPT_HEAD {
                *head = Vec::new();
            }
        }
        loop {
            if !self.buffer.is_empty() {
                first_byte = first_byte.or_else(|| Some(Instant::now()));
                match self.parse() {
                    Ok(Parsed::Complete(length))
                        if length > config.max_request_headers_bytes as usize =>
                    {
                        self.buffer.consume(length);
                        return Incoming::Refused(Reason::HeadTooLarge);
                    }
                    Ok(Parsed::Complete(length)) => {
                        self.buffer.consume(length);
                        self.began = Instant::now();
                        return Incoming::Request;
                    }
                    Ok(Parsed::Partial)
                        if self.buffer.len() > config.max_request_headers_bytes as usize =>
                    {
                        return Incoming::Refused(Reason::HeadTooLarge);
                    }
                    Ok(Parsed::Partial) => {}
                    Err(HeadError::TooManyHeaders) => {
                        return Incoming::Refused(Reason::HeadTooLarge);
                    }
                    Err(HeadError::UnsupportedTransferCoding) => {
                        return Incoming::Refused(Reason::UnsupportedTransferCoding);
                    }
                    Err(HeadError::Malformed) if self.speaks_http2() => return Incoming::Http2,
                    Err(HeadError::Malformed) => return Incoming::Refused(Reason::BadRequest),
                }
            }
            let deadline = match first_byte {
                None => {
                    let idle = config.idle_timeout.map(|timeout| idle_since + timeout);
                    [idle, retires_at, drains_at].into_iter().flatten().min()
                }
                Some(first) => {
                    let timeout = config.request_headers_timeout.or(config.request_timeout);
                    timeout.map(|timeout| first + timeout)
                }
            };
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = self.downstream.poll_read(cx, &mut self.buffer) {
                    return Poll::Ready(Some(read));
                }
                // An idle connection holds no buffer.
                self.buffer.release();
                // Once drained the future is never polled again.
                let waits = first_byte.is_none() && drains_at.is_none();
                let draining = waits && drained.as_mut().poll(cx).is_ready();
                let late = self.timer.poll(cx, deadline).is_ready();
                if draining || late {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                }
            });
            match (read.await, first_byte) {
                (Some(Ok(n)), _) if n > 0 => {
                    stats.downstream_cx_rx_bytes_total.add(n as u64);
                    self.context.bytes_received += n as u64;
                }
                (Some(_), _) => return Incoming::End,
                (None, Some(_)) => {
                    stats.downstream_rq_timeout.inc();
                    return Incoming::Refused(Reason::RequestTimeout);
                }
                (None, None) if drains_at.is_none() && self.context.is_draining() => {
                    drains_at = Some(Instant::now() + DRAIN_IDLE);
                }
                (None, None) if drains_at.is_some_and(|at| Instant::now() >= at) => {
                    stats.downstream_cx_drain_close.inc();
                    return Incoming::End;
                }
                (None, None) if retires_at.is_some_and(|at| Instant::now() >= at) => {
                    stats.downstream_cx_max_duration_reached.inc();
                    return Incoming::End;
                }
                (None, None) => {
                    stats.downstream_cx_idle_timeout.inc();
                    return Incoming::End;
                }
            }
        }
    }

    fn parse(&mut self) -> Result<Parsed, HeadError> {
        let max_headers = self.manager.config.max_headers_count as usize;
        self.request.parse(self.buffer.filled(), max_headers)
    }

    /// Whether the client opened with HTTP/2's preface, where that is for the client to choose.
    fn speaks_http2(&self) -> bool {
        self.manager.config.codec == CodecType::Auto
            && self.context.requests == 0
            && self.buffer.filled().starts_with(b"PRI * HTTP/2.0\r\n")
    }

    /// Whether the connection ends after the current request: its listener drains, it has carried
    /// as many requests as it may, or it is too old.
    pub(super) fn is_leaving(&self) -> bool {
        let (config, stats) = (&self.manager.config, &self.manager.stats);
        let limit = config.max_requests_per_connection;
        let is_worn = limit.is_some_and(|most| self.context.requests >= u64::from(most));
        if is_worn {
            stats.downstream_cx_max_requests_reached.inc();
        }
        let is_old = self.retires_at().is_some_and(|at| Instant::now() >= at);
        if is_old {
            stats.downstream_cx_max_duration_reached.inc();
        }
        is_worn || is_old || self.context.is_draining()
    }

    /// When the connection is too old.
    fn retires_at(&self) -> Option<Instant> {
        let age = self.manager.config.max_connection_duration?;
        Some(Instant::from_std(self.context.start) + age)
    }

    /// Answers what could not be read as a request, and closes.
    async fn refuse(&mut self, reason: Reason) -> Next {
        let stats = Rc::clone(&self.manager);
        match reason {
            Reason::HeadTooLarge => stats.stats.downstream_rq_too_large.inc(),
            Reason::RequestTimeout => {}
            _ => stats.stats.downstream_cx_protocol_error.inc(),
        }
        self.began = Instant::now();
        self.begin_outcome();
        self.context.outcome.cluster = None;
        stats.stats.downstream_rq_total.inc();
        stats.stats.downstream_rq_http1_total.inc();
        self.active = Some(InFlight::new(&stats));
        self.reply(&reason.into(), false, None).await
    }

    /// Writes the fields of a response of our own, changed as the route says.
    fn write_fields(
        &self,
        out: &mut Vec<u8>,
        fields: &[(&'static str, String)],
        matched: Option<&Matched<'_>>,
    ) {
        let mut edits = Edits::default();
        if let Some(matched) = matched {
            for level in matched.levels().filter(|level| !level.response.is_empty()) {
                let facts = self.facts(&matched.route.name);
                edits.apply(&level.response, &ReplyFields(fields), &rendered(&facts));
            }
        }
        let kept = fields
            .iter()
            .filter(|(name, _)| edits.keeps(name.as_bytes()))
            .map(|(name, value)| (*name, value.as_str()));
        for (name, value) in kept.chain(edits.added()) {
            line(out, name, value.as_bytes());
        }
    }

    /// Sends a response of our own. `body_is_read`: the request has been read to its end, so that
    /// another may follow.
    pub(super) async fn reply(
        &mut self,
        reply: &LocalReply,
        body_is_read: bool,
        matched: Option<&Matched<'_>>,
    ) -> Next {
        let keep = body_is_read && self.request.keeps_alive() && !self.is_leaving();
        let manager = Rc::clone(&self.manager);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let router = manager.router();
        let grpc = is_grpc(&self.request).then(|| reply.for_grpc(router));
        let (status, body) = match &grpc {
            Some(grpc) => (grpc.status, &[][..]),
            None => (reply.status, &reply.body[..]),
        };
        status_line(&mut out, false, status, phrase(status).as_bytes());
        let headers = grpc.map_or_else(|| reply.headers(router), |grpc| grpc.headers);
        self.write_fields(&mut out, &headers, matched);
        if body.is_empty() && !matches!(status, 204 | 304) {
            line(&mut out, "content-length", b"0");
        }
        with_date(|date| line(&mut out, "date", date.as_bytes()));
        if manager.config.server_header != ServerHeader::PassThrough {
            line(&mut out, "server", manager.config.server_name.as_bytes());
        }
        via(&mut out, &manager.config);
        let connection = match (keep, self.request.minor_version) {
            (false, _) => ConnectionHeader::Close,
            (true, 0) => ConnectionHeader::KeepAlive,
            (true, _) => ConnectionHeader::None,
        };
        connection.write(&mut out);
        out.extend_from_slice(b"\r\n");
        let head_length = out.len();
        if !self.request.is_head() {
            out.extend_from_slice(body);
        }
        self.context.outcome.reason = match reply.reason {
            Reason::Redirect | Reason::DirectResponse => None,
            reason => Some(reason),
        };
        let written = self.write_all(&out).await;
        let route_name = matched.map_or("", |matched| matched.route.name.as_str());
        let body_bytes = (out.len() - head_length) as u64;
        self.finish(status, &out[..head_length], body_bytes, route_name);
        self.out = out;
        if written && keep {
            return Next::Request;
        }
        if written && !body_is_read {
            self.linger().await;
        }
        Next::Close
    }

    /// Counts a request in, and forgets what became of the one before. Its cluster is most likely
    /// that of this one too, and stays until another is known.
    pub(super) fn begin_outcome(&mut self) {
        self.context.requests += 1;
        let outcome = &mut self.context.outcome;
        outcome.upstream_host = None;
        outcome.response_code = 0;
        outcome.reason = None;
    }

    /// The client went away before there was a response.
    pub(super) fn gone(&mut self, route_name: &str) -> Next {
        let stats = &self.manager.stats;
        stats.downstream_rq_rx_reset.inc();
        self.active = None;
        self.context.outcome.reason = Some(Reason::ClientClosed);
        self.log(None, 0, route_name);
        Next::Close
    }

    /// Counts a response and writes the access log.
    pub(super) fn finish(&mut self, status: u16, head: &[u8], body_bytes: u64, route_name: &str) {
        let stats = &self.manager.stats;
        stats.downstream_rq.inc(status);
        stats.downstream_rq_completed.inc();
        self.active = None;
        stats
            .downstream_rq_time
            .record_us(micros(self.began.elapsed()));
        stats
            .downstream_cx_tx_bytes_total
            .add(head.len() as u64 + body_bytes);
        self.context.bytes_sent += head.len() as u64 + body_bytes;
        self.context.outcome.response_code = status;
        self.log(Some(head), body_bytes, route_name);
    }

    /// Writes the access log. `head` is that of the response, if there was one.
    fn log(&self, head: Option<&[u8]>, body_bytes: u64, route_name: &str) {
        let logs = &self.manager.config.access_logs;
        if logs.is_empty() {
            return;
        }
        let duration_us = micros(self.began.elapsed());
        let response = |name: &str| find_header(head?, name);
        let facts = Facts {
            response: Some(&response),
            duration_us,
            start: SystemTime::now() - Duration::from_micros(duration_us),
            bytes_sent: body_bytes,
            ..self.facts(route_name)
        };
        access_log::write(&self.manager.context.access_logs, logs, &facts);
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match poll_fn(|cx| self.downstream.poll_write(cx, bytes)).await {
                Ok(written) if written > 0 => bytes = &bytes[written..],
                _ => return false,
            }
        }
        true
    }

    pub(super) async fn linger(&mut self) {
        let _ = poll_fn(|cx| self.downstream.poll_shutdown(cx)).await;
        let (deadline, mut dropped) = (Instant::now() + LINGER, 0);
        while dropped < LINGER_BYTES {
            self.buffer.consume(self.buffer.len());
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = self.downstream.poll_read(cx, &mut self.buffer) {
                    return Poll::Ready(read.unwrap_or(0));
                }
                self.timer.poll(cx, Some(deadline)).map(|()| 0)
            });
            match read.await {
                0 => return,
                n => dropped += n,
            }
        }
    }

    /// After an upgrade: bytes, both ways. `received` came behind the response's head.
    async fn tunnel(mut self, mut upstream: Upstream, received: Buffer) {
        let manager = Rc::clone(&self.manager);
        manager.stats.downstream_cx_upgrades_total.inc();
        let _active = Held::new(&manager.stats, |s| &s.downstream_cx_upgrades_active);
        if self.write_all(received.filled()).await {
            let ends = (&mut self.downstream, &mut upstream.connection);
            let idle = manager.config.stream_idle_timeout;
            let relayed = relay::relay(ends, &mut self.buffer, idle).await;
            self.context.bytes_received += relayed.to_upstream;
            self.context.bytes_sent += relayed.to_downstream;
            if matches!(relayed.end, relay::End::Reset | relay::End::Untouched) {
                self.downstream.reset_on_drop();
                upstream.connection.reset_on_drop();
            }
        }
    }
}

/// A header of a head as it was written.
fn find_header(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'));
    let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned())
}
