//! Transport sockets: how bytes travel on a connection.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use socket2::SockRef;
use tokio::{io::AsyncWrite, net::TcpStream};
use tokio_util::io::poll_read_buf;

use super::{
    read_filter::{EndOfStream, Gate, ReadFilter},
    tls::TlsStream,
};
use crate::buffer::Buffer;

/// A connection to a client or to an endpoint.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TransportSocket,
    traffic: Traffic,
    gate: Gate,
}

/// How bytes travel.
#[derive(Debug)]
enum TransportSocket {
    /// `envoy.transport_sockets.raw_buffer`
    Raw(TcpStream),
    /// `envoy.transport_sockets.tls`. On the heap: most connections are raw.
    Tls(Box<TlsStream>),
}

/// Bytes that have travelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

// === impl Connection ===

impl AsMut<Self> for Connection {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

impl Connection {
    /// Without encryption.
    pub(crate) fn raw(stream: TcpStream) -> Self {
        Self {
            socket: TransportSocket::Raw(stream),
            traffic: Traffic::default(),
            gate: Gate::default(),
        }
    }

    /// Has filters look at what is read from now on, and at `buffer`, which was read already.
    pub(crate) fn filter_reads(
        &mut self,
        filters: Vec<Box<dyn ReadFilter>>,
        end: EndOfStream,
        buffer: &mut Buffer,
    ) {
        self.gate = Gate::new(filters, end);
        if !buffer.is_empty() && !self.gate.lets_pass(buffer.len()) {
            buffer.consume(buffer.len());
        }
    }

    /// With TLS.
    pub(crate) fn tls(stream: TlsStream) -> Self {
        Self::boxed_tls(Box::new(stream))
    }

    /// With TLS, whose state has its place already.
    pub(crate) fn boxed_tls(stream: Box<TlsStream>) -> Self {
        Self {
            socket: TransportSocket::Tls(stream),
            traffic: Traffic::default(),
            gate: Gate::default(),
        }
    }

    /// The plain socket, of a connection without encryption.
    pub(crate) fn into_raw(self) -> Option<TcpStream> {
        match self.socket {
            TransportSocket::Raw(stream) => Some(stream),
            TransportSocket::Tls(_) => None,
        }
    }

    /// What has travelled since this was asked last.
    pub(crate) fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// So many bytes were read from the plain socket.
    pub(crate) fn note_received(&mut self, bytes: usize) {
        self.traffic.received += bytes as u64;
    }

    /// So many bytes were written to the plain socket.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.traffic.sent += bytes as u64;
    }

    /// Reads once. 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        ready!(self.gate.poll_open(cx))?;
        let read = match &mut self.socket {
            TransportSocket::Raw(stream) => poll_read_buf(Pin::new(stream), cx, buffer.room()),
            TransportSocket::Tls(stream) => stream.poll_read(cx, buffer),
        };
        if let Poll::Ready(Ok(bytes)) = read {
            self.note_received(bytes);
            if !self.gate.lets_pass(bytes) {
                buffer.take_back(bytes);
                ready!(self.gate.poll_open(cx))?;
            }
        }
        read
    }

    /// Reads once, into memory whose parts are passed on.
    pub(crate) fn poll_read_bytes(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        ready!(self.gate.poll_open(cx))?;
        let before = into.len();
        let read = match &mut self.socket {
            TransportSocket::Raw(stream) => poll_read_buf(Pin::new(stream), cx, into),
            TransportSocket::Tls(stream) => stream.poll_read(cx, into),
        };
        if let Poll::Ready(Ok(bytes)) = read
            && !self.gate.lets_pass(bytes)
        {
            into.truncate(before);
            ready!(self.gate.poll_open(cx))?;
        }
        read
    }

    /// Writes once.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.socket {
            TransportSocket::Raw(stream) => Pin::new(stream).poll_write(cx, bytes),
            TransportSocket::Tls(stream) => stream.poll_write(cx, [bytes, &[]]),
        };
        if let Poll::Ready(Ok(bytes)) = written {
            self.note_sent(bytes);
        }
        written
    }

    /// Writes once, from two places.
    pub(crate) fn poll_write_two(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [io::IoSlice::new(first), io::IoSlice::new(second)];
        let written = match &mut self.socket {
            TransportSocket::Raw(stream) => Pin::new(stream).poll_write_vectored(cx, &slices),
            TransportSocket::Tls(stream) => stream.poll_write(cx, [first, second]),
        };
        if let Poll::Ready(Ok(bytes)) = written {
            self.note_sent(bytes);
        }
        written
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            TransportSocket::Raw(stream) => Pin::new(stream).poll_shutdown(cx),
            TransportSocket::Tls(stream) => stream.poll_shutdown(cx),
        }
    }

    /// Ready when there is something to read, be it the end. Of a plain socket it costs no system
    /// call, and may be wrong towards ready.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            TransportSocket::Raw(stream) => stream.poll_read_ready(cx),
            // What TLS itself has to say, such as a ticket, is nothing to read.
            TransportSocket::Tls(stream) => stream.poll_readable(cx),
        }
    }

    /// Whether an idle connection has something to read: nobody asked, so it is the end or
    /// garbage, and the connection is of no use any more. Costs a system call only where it is not
    /// known that nothing is left, which is so after a splice.
    pub(crate) fn is_spent(&mut self) -> bool {
        let ready = self.poll_readable(&mut Context::from_waker(Waker::noop()));
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match &self.socket {
            TransportSocket::Raw(stream) => {
                ready.is_ready() && !stream.try_read(&mut [0]).is_err_and(would_block)
            }
            TransportSocket::Tls(_) => ready.is_ready(),
        }
    }

    /// The peer's reset is passed on: dropping the connection will send RST instead of FIN.
    pub(crate) fn reset_on_drop(&mut self) {
        let stream = match &mut self.socket {
            TransportSocket::Raw(stream) => &*stream,
            TransportSocket::Tls(stream) => {
                stream.abort();
                stream.socket()
            }
        };
        // If it fails the peer sees FIN, as it would from any other proxy.
        let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
    }

    /// The plain socket, where bytes can be moved within the kernel.
    pub(crate) fn as_raw(&self) -> Option<&TcpStream> {
        match &self.socket {
            TransportSocket::Raw(stream) => self.gate.is_open().then_some(stream),
            TransportSocket::Tls(_) => None,
        }
    }

    /// Our address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            TransportSocket::Raw(stream) => stream.local_addr(),
            TransportSocket::Tls(stream) => stream.socket().local_addr(),
        }
    }
}
