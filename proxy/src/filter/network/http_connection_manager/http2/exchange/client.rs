//! The client's side of an exchange: whether it is still there, and what it is told ahead of the
//! response.

use std::task::{Context, Poll};

use http::{header, response};

use super::{
    super::{bridge::Wire, message::write_http1_response},
    Client,
};
use crate::{http::codec::h2, net::transport_socket::Connection};

/// Bytes of further requests that are read from an HTTP/1 client while one is being answered.
const MAX_PIPELINED: usize = 16 * 1024;

// === impl Client ===

impl Client<'_> {
    /// The HTTP/1 connection to read from.
    pub(super) fn wire(&mut self) -> Option<Wire<'_>> {
        match self {
            Self::Http2(_) => None,
            Self::Http1 { wire, .. } => Some((&mut *wire.0, &mut *wire.1)),
        }
    }

    /// The HTTP/1 connection.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Http2(_) => None,
            Self::Http1 { wire, .. } => Some(&mut *wire.0),
        }
    }

    /// Ready when the client does not want the response any more, with its code.
    pub(super) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        has_sent_all: bool,
    ) -> Poll<Option<h2::Reason>> {
        match self {
            Self::Http2(respond) => respond.poll_reset(cx).map(Result::ok),
            Self::Http1 { wire, .. } => {
                let (connection, buffer) = wire;
                while has_sent_all && buffer.len() < MAX_PIPELINED {
                    match connection.poll_read(cx, buffer) {
                        Poll::Ready(Ok(n)) if n > 0 => {}
                        Poll::Ready(_) => return Poll::Ready(None),
                        Poll::Pending => {
                            buffer.release();
                            break;
                        }
                    }
                }
                Poll::Pending
            }
        }
    }

    /// Passes an informational response on.
    pub(super) fn inform(&mut self, mut head: response::Parts) {
        head.headers.remove(header::CONTENT_LENGTH);
        match self {
            Self::Http2(respond) => {
                // A client that is gone is noticed elsewhere.
                let _ = respond.send_informational(http::Response::from_parts(head, ()));
            }
            Self::Http1 {
                minor_version: 0, ..
            } => {}
            Self::Http1 { informational, .. } => {
                write_http1_response(informational, false, &head);
                informational.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Ready when what the client is to be informed of has left.
    pub(super) fn poll_informed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Http1 {
            wire,
            informational,
            ..
        } = self
        {
            while !informational.is_empty() {
                match wire.0.poll_write(cx, informational) {
                    Poll::Ready(Ok(n)) => drop(informational.drain(..n)),
                    Poll::Ready(Err(_)) => informational.clear(),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        Poll::Ready(())
    }
}
