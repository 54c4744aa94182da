//! The connection of a check.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::{io::AsyncWrite, net::TcpStream};
use tokio_util::io::poll_read_buf;

use super::{super::transport_socket::Secured, probe::Context as CheckContext};
use crate::{
    cluster::{connect, health::CheckTarget},
    net::tls::{Destination, HandshakeError, TlsStream},
};

/// Read at a time: answers to checks are short.
const READ: usize = 4096;

/// A connection to a host that is checked.
pub(super) struct Io {
    socket: Socket,
    /// What was read and nobody has taken yet.
    unread: BytesMut,
}

enum Socket {
    Raw(TcpStream),
    Tls(Box<TlsStream>),
}

// === impl Io ===

impl Io {
    /// Connects to where checks of a host go, as the cluster's connections do.
    pub(super) async fn connect(
        context: &CheckContext,
        target: &CheckTarget,
    ) -> Result<Self, HandshakeError> {
        let config = context.health.config();
        let socket = connect::open(config, target.address, None).await?;
        let check = config.health_check.as_ref();
        let destination = Destination {
            ip: target.address.ip(),
            hostname: &target.hostname,
            client: None,
            server_name: None,
            default_protocols: &[],
            only_protocols: check.and_then(|check| check.alpn_protocols.as_deref()),
            buffer_limit: config.buffer_limit,
        };
        let said = context.said(target);
        let secured = context.sockets.secure(socket, said, &destination).await?;
        Ok(Self {
            socket: match secured {
                Secured::Raw(socket) => Socket::Raw(socket),
                Secured::Tls(stream, _) => Socket::Tls(stream),
            },
            unread: BytesMut::new(),
        })
    }

    /// What comes next; nothing at the end.
    pub(super) async fn read(&mut self) -> io::Result<BytesMut> {
        poll_fn(|cx| self.poll_fill(cx)).await?;
        Ok(self.unread.split())
    }

    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Ready when there is something unread, or the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.unread.reserve(READ);
        let read = match &mut self.socket {
            Socket::Raw(stream) => poll_read_buf(Pin::new(stream), cx, &mut self.unread),
            Socket::Tls(stream) => stream.poll_read(cx, &mut self.unread),
        };
        if read.is_pending() {
            // Most of the time between checks there is nothing to be read.
            self.unread = BytesMut::new();
        }
        read.map_ok(drop)
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_fill(cx))?;
        let length = this.unread.len().min(cursor.remaining());
        cursor.put_slice(&this.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Raw(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => stream.poll_write(cx, [bytes, &[]]),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Raw(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}
