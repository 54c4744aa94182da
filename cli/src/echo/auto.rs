//! Protocol by the first bytes: TLS, HTTP of either version, else TCP.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{Echo, http, identity::Connection, tcp};

/// What HTTP begins with; `PRI` is HTTP/2's.
const METHODS: [&str; 10] = [
    "GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI ",
];
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A stream some of whose bytes have been read already.
struct Rewound<S> {
    read: Vec<u8>,
    stream: S,
}

/// Serves whichever protocol the client speaks.
pub(super) async fn serve(
    stream: TcpStream,
    connection: Connection,
    echo: &Echo,
) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE {
        return serve_tls(stream, connection, echo).await;
    }
    serve_plain(stream, connection, echo).await
}

/// Serves HTTP or TCP within TLS.
pub(super) async fn serve_tls(
    stream: TcpStream,
    mut connection: Connection,
    echo: &Echo,
) -> io::Result<()> {
    let (stream, session) = echo.tls.accept(stream).await?;
    connection.tls = Some(session);
    serve_plain(stream, connection, echo).await
}

async fn serve_plain<S>(mut stream: S, connection: Connection, echo: &Echo) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut read = Vec::new();
    let is_http = loop {
        if METHODS
            .iter()
            .any(|method| read.starts_with(method.as_bytes()))
        {
            break true;
        }
        if !METHODS
            .iter()
            .any(|method| method.as_bytes().starts_with(&read))
        {
            break false;
        }
        if stream.read_buf(&mut read).await? == 0 {
            break false;
        }
    };
    let stream = Rewound { read, stream };
    if is_http {
        http::serve(stream, connection, &echo.identity).await
    } else {
        tcp::serve(stream, &connection, &echo.identity).await
    }
}

// === impl Rewound ===

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
