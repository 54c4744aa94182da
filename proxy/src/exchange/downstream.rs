//! The client's side of an exchange, an HTTP/1 connection or an HTTP/2 stream: whether it is still
//! there, and what it is told ahead of the response.

use std::task::{Context, Poll};

use http::{header, response};

use super::transfer::Wire;
use crate::{
    buffer::Buffer,
    http::{
        codec::{
            h1,
            h2::{self, SendResponse},
        },
        message::{response_from_http1, write_http1_response},
        write,
    },
    net::transport_socket::Connection,
};

/// Bytes of further requests that are read from an HTTP/1 client while one is being answered.
const MAX_PIPELINED: usize = 16 * 1024;

/// Who asked.
pub(crate) enum Downstream<'e> {
    /// A connection that carries one request at a time.
    Http1(Http1Downstream<'e>),
    /// A stream of a connection.
    Http2(SendResponse),
}

/// An HTTP/1 client.
pub(crate) struct Http1Downstream<'e> {
    pub(crate) connection: &'e mut Connection,
    /// What it has sent and nobody has taken yet.
    pub(crate) buffer: &'e mut Buffer,
    /// 1xx heads that have not been written yet.
    pub(crate) informational: Vec<u8>,
    /// Minor version of the request.
    pub(crate) minor_version: u8,
}

// === impl Downstream ===

impl Downstream<'_> {
    /// The HTTP/1 connection to read from.
    pub(super) fn wire(&mut self) -> Option<Wire<'_>> {
        match self {
            Self::Http2(_) => None,
            Self::Http1(client) => Some((&mut *client.connection, &mut *client.buffer)),
        }
    }

    /// The HTTP/1 connection.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Http2(_) => None,
            Self::Http1(client) => Some(&mut *client.connection),
        }
    }

    /// Ready when the client does not want the response any more, with its code. `has_sent_all`: it
    /// has nothing to say but that or, on an HTTP/1 connection, the next request.
    pub(super) fn poll_gone(
        &mut self,
        cx: &mut Context<'_>,
        has_sent_all: bool,
    ) -> Poll<Option<h2::Reason>> {
        match self {
            Self::Http2(respond) => respond.poll_reset(cx).map(Result::ok),
            Self::Http1(client) if has_sent_all => client.poll_gone(cx).map(|()| None),
            Self::Http1(_) => Poll::Pending,
        }
    }

    /// Passes an informational response of an HTTP/1 endpoint on; `bytes` is what it was parsed
    /// from.
    pub(super) fn inform_raw(&mut self, bytes: &[u8], response: &h1::response::Response) {
        match self {
            Self::Http1(client) if client.minor_version == 0 => {}
            Self::Http1(client) => {
                write::informational(&mut client.informational, bytes, response);
            }
            Self::Http2(_) => {
                self.inform(response_from_http1(bytes, response));
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
            Self::Http1(client) if client.minor_version == 0 => {}
            Self::Http1(client) => {
                write_http1_response(&mut client.informational, false, &head);
                client.informational.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Ready when what the client is to be informed of has left, or cannot leave.
    pub(super) fn poll_informed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Http1(client) = self {
            while !client.informational.is_empty() {
                match client.connection.poll_write(cx, &client.informational) {
                    Poll::Ready(Ok(n)) if n > 0 => drop(client.informational.drain(..n)),
                    Poll::Ready(_) => client.informational.clear(),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        Poll::Ready(())
    }
}

// === impl Http1Downstream ===

impl Http1Downstream<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.buffer.len() < MAX_PIPELINED {
            match self.connection.poll_read(cx, self.buffer) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.buffer.release();
                    break;
                }
            }
        }
        Poll::Pending
    }
}
