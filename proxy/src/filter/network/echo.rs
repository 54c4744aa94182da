//! `envoy.filters.network.echo`: what comes goes back.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use crate::{buffer::Buffer, info::ConnectionInfo, net::transport_socket::Connection};

/// Serves a connection until the client ends it.
pub(crate) async fn serve(
    connection: &mut ConnectionInfo,
    mut stream: Connection,
    mut buffer: Buffer,
) {
    connection.bytes_received += buffer.len() as u64;
    let mut has_ended = false;
    // One that fails has no client any more.
    let _ = poll_fn(|cx| poll(cx, connection, &mut stream, &mut buffer, &mut has_ended)).await;
}

fn poll(
    cx: &mut Context<'_>,
    connection: &mut ConnectionInfo,
    stream: &mut Connection,
    buffer: &mut Buffer,
    has_ended: &mut bool,
) -> Poll<io::Result<()>> {
    loop {
        while !buffer.is_empty() {
            let written = ready!(stream.poll_write(cx, buffer.filled()))?;
            connection.bytes_sent += written as u64;
            buffer.consume(written);
        }
        if *has_ended {
            return stream.poll_shutdown(cx);
        }
        let read = stream.poll_read(cx, buffer);
        if read.is_pending() {
            // An idle connection holds no buffer.
            buffer.release();
        }
        let read = ready!(read)?;
        connection.bytes_received += read as u64;
        *has_ended = read == 0;
    }
}
