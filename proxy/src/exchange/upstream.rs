//! The endpoint's side of an exchange, an HTTP/1 connection or an HTTP/2 stream: the head of its
//! response.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
};

use http::response;

use super::{
    downstream::Downstream,
    retry::{Failure, FailureKind},
    transfer::Wire,
};
use crate::{
    buffer::Buffer,
    call::{LEAST_INFORMATIONAL, MAX_RESPONSE_HEAD, reason_of},
    cluster::{Http2Lease, Upstream},
    http::codec::{
        h1::{request::Parsed, response::Response},
        h2::{self, RecvStream, ResponseFuture},
    },
    net::transport_socket::Connection,
    reason::Reason,
};

/// Who is asked.
pub(super) enum UpstreamPort {
    /// A connection that carries one request at a time.
    Http1(Http1Upstream),
    /// A stream of a connection, and its place there.
    Http2(ResponseFuture, Http2Lease),
}

/// A request on an HTTP/1 connection.
pub(super) struct Http1Upstream {
    pub(super) upstream: Upstream,
    /// What was read and nobody has taken yet.
    pub(super) received: Buffer,
    /// The connection has carried requests before.
    pub(super) reused: bool,
    /// What 1xx responses came to, bytes.
    informed: u32,
}

/// The head of a response.
pub(super) enum ReceivedHead {
    /// Of so many bytes, which lie in front of what was received; where its parts are is in the
    /// exchange's [`Response`].
    Http1(usize),
    /// With the body to come.
    Http2(response::Parts, RecvStream),
}

// === impl UpstreamPort ===

impl UpstreamPort {
    /// The HTTP/1 connection.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Http2(..) => None,
            Self::Http1(stream) => Some(&mut stream.upstream.connection),
        }
    }

    /// The HTTP/1 connection to read from.
    pub(super) fn wire(&mut self) -> Option<Wire<'_>> {
        match self {
            Self::Http2(..) => None,
            Self::Http1(stream) => Some((&mut stream.upstream.connection, &mut stream.received)),
        }
    }

    /// Looks for the head of the response; 1xx are passed on. `may_switch`: 101 is an answer.
    /// `sink_failed`: the endpoint takes no more, so that nothing is worth waiting for.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut Response,
        client: &mut Downstream<'_>,
        may_switch: bool,
        sink_failed: bool,
    ) -> Poll<Result<ReceivedHead, Failure>> {
        match self {
            Self::Http2(response, _) => {
                while let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
                    client.inform(informational.into_parts().0);
                }
                if client.poll_informed(cx).is_pending() {
                    return Poll::Pending;
                }
                pin!(response).poll(cx).map(|answer| match answer {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        Ok(ReceivedHead::Http2(head, body))
                    }
                    Err(error) => Err(failure(&error, false)),
                })
            }
            Self::Http1(stream) => stream.poll_head(cx, response, client, may_switch, sink_failed),
        }
    }
}

// === impl Http1Upstream ===

impl Http1Upstream {
    pub(super) fn new(upstream: Upstream, reused: bool) -> Self {
        Self {
            received: Buffer::of(upstream.cluster.config.buffer_limit),
            upstream,
            reused,
            informed: 0,
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut Response,
        client: &mut Downstream<'_>,
        may_switch: bool,
        sink_failed: bool,
    ) -> Poll<Result<ReceivedHead, Failure>> {
        let nothing_came = self.received.is_empty();
        let failed = |reason| {
            let lost = matches!(reason, Reason::UpstreamClosed | Reason::UpstreamReset);
            let kind = match self.reused && nothing_came && lost {
                true => FailureKind::Stale,
                false => FailureKind::Lost,
            };
            Poll::Ready(Err(Failure { reason, kind }))
        };
        loop {
            if client.poll_informed(cx).is_pending() {
                return Poll::Pending;
            }
            if !self.received.is_empty() {
                let bytes = self.received.filled();
                match response.parse(bytes) {
                    Ok(Parsed::Complete(length)) if response.is_informational() => {
                        self.informed += length.max(LEAST_INFORMATIONAL) as u32;
                        if self.informed > MAX_RESPONSE_HEAD as u32 {
                            return failed(Reason::UpstreamProtocolError);
                        }
                        client.inform_raw(bytes, response);
                        self.received.consume(length);
                        continue;
                    }
                    // Nobody asked for another protocol.
                    Ok(Parsed::Complete(_)) if response.status == 101 && !may_switch => {
                        return failed(Reason::UpstreamProtocolError);
                    }
                    Ok(Parsed::Complete(length)) => {
                        return Poll::Ready(Ok(ReceivedHead::Http1(length)));
                    }
                    Ok(Parsed::Partial) if bytes.len() <= MAX_RESPONSE_HEAD => {}
                    Ok(Parsed::Partial) | Err(_) => return failed(Reason::UpstreamProtocolError),
                }
            }
            match self.upstream.connection.poll_read(cx, &mut self.received) {
                Poll::Ready(Ok(0)) => return failed(Reason::UpstreamClosed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return failed(Reason::UpstreamReset),
                Poll::Pending if sink_failed => return failed(Reason::UpstreamReset),
                Poll::Pending => {
                    self.received.release();
                    return Poll::Pending;
                }
            }
        }
    }
}

/// What an error of an HTTP/2 endpoint means. `unsent`: nothing has left.
pub(super) fn failure(error: &h2::Error, unsent: bool) -> Failure {
    let kind = match error {
        error if !error.is_remote() => FailureKind::Lost,
        error if error.is_go_away() => FailureKind::GoneAway,
        error if error.reason() == Some(h2::Reason::REFUSED_STREAM) => FailureKind::Refused,
        _ => FailureKind::Lost,
    };
    let kind = match unsent {
        true => FailureKind::GoneAway,
        false => kind,
    };
    let reason = reason_of(error);
    Failure { reason, kind }
}
