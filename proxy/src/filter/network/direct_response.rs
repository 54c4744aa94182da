//! `envoy.filters.network.direct_response`: one answer, whatever the client says.

use std::{future::poll_fn, io, time::Duration};

use crate::{buffer::Buffer, info::ConnectionInfo, net::transport_socket::Connection};

/// How long the client may take to end its own side. To close before that, with bytes of its still
/// unread, would reset the connection and could take the answer with it.
const LINGER: Duration = Duration::from_secs(1);

/// Sends the answer, and closes.
pub(crate) async fn serve(
    connection: &mut ConnectionInfo,
    mut stream: Connection,
    response: &[u8],
) {
    if answer(connection, &mut stream, response).await.is_err() {
        return;
    }
    let mut buffer = Buffer::default();
    let until_it_ends = async {
        while poll_fn(|cx| stream.poll_read(cx, &mut buffer))
            .await
            .is_ok_and(|read| read > 0)
        {
            buffer.consume(buffer.len());
        }
    };
    // It has had its time.
    let _ = tokio::time::timeout(LINGER, until_it_ends).await;
}

async fn answer(
    connection: &mut ConnectionInfo,
    stream: &mut Connection,
    mut rest: &[u8],
) -> io::Result<()> {
    while !rest.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, rest)).await?;
        connection.bytes_sent += written as u64;
        rest = &rest[written..];
    }
    poll_fn(|cx| stream.poll_shutdown(cx)).await
}
