//! An HTTP/1 connection: one request after the other, until either side has had enough.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    buffer::Buffer,
    cluster::Upstream,
    config::http::CodecType,
    exchange::{
        ConnectionManager, Downstream, Exchange, Http1Downstream, Next, RequestMessage, Scratch,
        write_all,
    },
    http::{
        codec::h1::{
            head::HeadError,
            partial::PartialHead,
            request::{Parsed, Request},
        },
        head::RequestHead,
    },
    info::ConnectionInfo,
    net::{relay, transport_socket::Connection},
    reason::Reason,
    stats::Held,
};

/// An HTTP/1 connection and what is used again from request to request.
struct Http1<'c> {
    manager: Rc<ConnectionManager>,
    context: &'c mut ConnectionInfo,
    downstream: Connection,
    buffer: Buffer,
    request: Request,
    scratch: Scratch,
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
        scratch: Scratch::default(),
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
                Incoming::Request => http1.exchange(None).await,
                Incoming::Refused(reason) => http1.exchange(Some(reason)).await,
                Incoming::End => {
                    http1.count_traffic();
                    return None;
                }
                Incoming::Http2 => {
                    http1.count_traffic();
                    return Some((http1.downstream, http1.buffer));
                }
            };
            match next {
                Next::Request => {}
                Next::Close => return None,
                Next::Linger => {
                    http1.linger().await;
                    return None;
                }
                Next::Tunnel(upstream, buffer) => {
                    Box::pin(http1.tunnel(*upstream, buffer)).await;
                    return None;
                }
            }
        }
    }
}

// === impl Http1 ===

impl Http1<'_> {
    /// Reads until there is a whole head.
    async fn read_head(&mut self, mut drained: Pin<&mut impl Future<Output = ()>>) -> Incoming {
        let manager = Rc::clone(&self.manager);
        let (config, stats) = (&manager.config, &manager.stats);
        let idle_since = Instant::now();
        let retires_at = manager.retires_at(self.context);
        let (mut first_byte, mut drains_at) = (None, None);
        let (mut partial, mut holding) = (PartialHead::default(), manager.context.heads.holding());
        self.request.clear();
        self.scratch.shrink();
        loop {
            if !self.buffer.is_empty() {
                first_byte = first_byte.or_else(|| Some(Instant::now()));
                match self.parse(&mut partial) {
                    Ok(Parsed::Complete(length))
                        if length > config.max_request_headers_bytes as usize =>
                    {
                        self.buffer.consume(length);
                        return Incoming::Refused(Reason::HeadTooLarge);
                    }
                    Ok(Parsed::Complete(length)) => {
                        self.buffer.consume(length);
                        return Incoming::Request;
                    }
                    Ok(Parsed::Partial)
                        if self.buffer.len() > config.max_request_headers_bytes as usize
                            || !holding.grow(self.buffer.len()) =>
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
                let late = self.scratch.timer.poll(cx, deadline).is_ready();
                if draining || late {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                }
            });
            match (read.await, first_byte) {
                (Some(Ok(n)), _) if n > 0 => {}
                (Some(_), _) => return Incoming::End,
                (None, Some(_)) => {
                    stats.downstream_rq_timeout.inc();
                    let reason = match config.request_headers_timeout {
                        Some(_) => Reason::RequestHeadersTimeout,
                        None => Reason::RequestTimeout,
                    };
                    return Incoming::Refused(reason);
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

    fn parse(&mut self, partial: &mut PartialHead) -> Result<Parsed, HeadError> {
        if !partial.is_due(self.buffer.filled()) {
            return Ok(Parsed::Partial);
        }
        let max_headers = self.manager.config.max_headers_count as usize;
        self.request.parse(self.buffer.filled(), max_headers)
    }

    /// Whether the client opened with HTTP/2's preface, where that is for the client to choose.
    fn speaks_http2(&self) -> bool {
        self.manager.config.codec == CodecType::Auto
            && self.context.requests == 0
            && self.buffer.filled().starts_with(b"PRI * HTTP/2.0\r\n")
    }

    /// Serves the request whose head has been read, or answers what could not be read as one.
    async fn exchange(&mut self, refused: Option<Reason>) -> Next {
        let stats = &self.manager.stats;
        match refused {
            None => self.context.http = self.request.protocol(),
            Some(Reason::HeadTooLarge) => stats.downstream_rq_too_large.inc(),
            Some(Reason::RequestHeadersTimeout | Reason::RequestTimeout) => {}
            Some(_) => stats.downstream_cx_protocol_error.inc(),
        }
        self.context.requests += 1;
        let client = Http1Downstream {
            minor_version: self.request.minor_version,
            connection: &mut self.downstream,
            buffer: &mut self.buffer,
            informational: Vec::new(),
        };
        let mut exchange = Exchange::new(
            &self.manager,
            self.context,
            Downstream::Http1(client),
            RequestMessage::Http1(&mut self.request),
            &mut self.scratch,
        );
        let next = match refused {
            None => exchange.run().await,
            Some(reason) => exchange.refuse(reason).await,
        };
        let outcome = std::mem::take(&mut exchange.info);
        drop(exchange);
        self.context.outcome = outcome;
        self.count_traffic();
        next
    }

    /// Counts what has travelled since this was asked last.
    fn count_traffic(&mut self) {
        let traffic = self.downstream.take_traffic();
        let stats = &self.manager.stats;
        stats.downstream_cx_rx_bytes_total.add(traffic.received);
        stats.downstream_cx_tx_bytes_total.add(traffic.sent);
        self.context.bytes_received += traffic.received;
        self.context.bytes_sent += traffic.sent;
    }

    async fn linger(&mut self) {
        let _ = poll_fn(|cx| self.downstream.poll_shutdown(cx)).await;
        let (deadline, mut dropped) = (Instant::now() + LINGER, 0);
        while dropped < LINGER_BYTES {
            self.buffer.consume(self.buffer.len());
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = self.downstream.poll_read(cx, &mut self.buffer) {
                    return Poll::Ready(read.unwrap_or(0));
                }
                self.buffer.release();
                self.scratch.timer.poll(cx, Some(deadline)).map(|()| 0)
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
        if write_all(&mut self.downstream, received.filled()).await {
            let limit = upstream.cluster.config.buffer_limit;
            let ends = (&mut self.downstream, &mut upstream.connection);
            let idle = manager.config.stream_idle_timeout;
            let buffer = (&mut self.buffer, limit);
            let relayed = relay::relay(ends, buffer, idle, |_, _| {}).await;
            self.context.bytes_received += relayed.to_upstream;
            self.context.bytes_sent += relayed.to_downstream;
            if matches!(relayed.end, relay::End::Reset | relay::End::Untouched) {
                self.downstream.reset_on_drop();
                upstream.connection.reset_on_drop();
            }
        }
    }
}
