//! The endpoint's side of an exchange: the head of its response.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
};

use http::response;

use super::{
    super::{
        super::retry::{Failure, FailureKind},
        bridge::{Source, Wire},
        message::response_from_http1,
    },
    Client,
};
use crate::{
    buffer::Buffer,
    cluster::{Http2Lease, Upstream},
    http::codec::h1::{
        body::Framing, decode::Decoder, request::Parsed, response::Response as Http1Response,
    },
    http::codec::h2::{self, ResponseFuture},
    net::transport_socket::Connection,
    reason::Reason,
};

/// Largest head of an HTTP/1 response.
const MAX_RESPONSE_HEAD: usize = 1 << 20;

/// Who is asked.
pub(super) enum UpstreamStream {
    Http2 {
        response: ResponseFuture,
        _lease: Http2Lease,
    },
    Http1(Box<Http1Stream>),
}

/// A request on an HTTP/1 connection.
pub(super) struct Http1Stream {
    pub(super) upstream: Upstream,
    pub(super) received: Buffer,
    pub(super) response: Http1Response,
    /// The end of the connection ends the response.
    pub(super) until_close: bool,
    pub(super) reused: bool,
}

// === impl UpstreamStream ===

impl UpstreamStream {
    /// The HTTP/1 connection.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Http2 { .. } => None,
            Self::Http1(stream) => Some(&mut stream.upstream.connection),
        }
    }

    /// The HTTP/1 connection to read from.
    pub(super) fn wire(&mut self) -> Option<Wire<'_>> {
        match self {
            Self::Http2 { .. } => None,
            Self::Http1(stream) => Some((&mut stream.upstream.connection, &mut stream.received)),
        }
    }

    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<'_>,
        is_head: bool,
        sink_failed: bool,
    ) -> Poll<Result<(response::Parts, Source), Failure>> {
        match self {
            Self::Http2 { response, .. } => {
                while let Poll::Ready(Some(Ok(informational))) = response.poll_informational(cx) {
                    client.inform(informational.into_parts().0);
                }
                if client.poll_informed(cx).is_pending() {
                    return Poll::Pending;
                }
                pin!(response).poll(cx).map(|answer| match answer {
                    Ok(response) => {
                        let (head, body) = response.into_parts();
                        Ok((head, Source::Http2(body)))
                    }
                    Err(error) => Err(failure(&error, false)),
                })
            }
            Self::Http1(stream) => stream.poll_head(cx, client, is_head, sink_failed),
        }
    }
}

// === impl Http1Stream ===

impl Http1Stream {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client<'_>,
        is_head: bool,
        sink_failed: bool,
    ) -> Poll<Result<(response::Parts, Source), Failure>> {
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
            if !self.received.is_empty() {
                let bytes = self.received.filled();
                match self.response.parse(bytes) {
                    Ok(Parsed::Complete(length)) if self.response.is_informational() => {
                        client.inform(response_from_http1(bytes, &self.response));
                        self.received.consume(length);
                        continue;
                    }
                    // Nobody asked for another protocol.
                    Ok(Parsed::Complete(_)) if self.response.status == 101 => {
                        return failed(Reason::UpstreamProtocolError);
                    }
                    Ok(Parsed::Complete(length)) => {
                        let head = response_from_http1(bytes, &self.response);
                        let body = self.response.body(is_head);
                        self.received.consume(length);
                        self.until_close = body.framing() == Framing::UntilClose;
                        let decoder = Decoder::new(body);
                        return Poll::Ready(Ok((head, Source::Http1(decoder))));
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
    let of_peer = error.is_remote();
    let (reason, kind) = if error.is_go_away() && of_peer {
        (Reason::UpstreamReset, FailureKind::GoneAway)
    } else if error.is_reset() && of_peer {
        let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let kind = match refused {
            true => FailureKind::Refused,
            false => FailureKind::Lost,
        };
        (Reason::UpstreamReset, kind)
    } else if error.is_io() {
        (Reason::UpstreamClosed, FailureKind::Lost)
    } else {
        (Reason::UpstreamProtocolError, FailureKind::Lost)
    };
    let kind = match unsent {
        true => FailureKind::GoneAway,
        false => kind,
    };
    Failure { reason, kind }
}
