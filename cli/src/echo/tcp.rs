//! TCP: what comes in goes out; the line `who` is answered instead.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

use super::identity::{Connection, Identity};

/// The line that is answered with who is asked and who asks.
const WHO: &[u8] = b"who\n";

/// Echoes until the client has said all.
pub(super) async fn serve<S>(
    stream: S,
    connection: &Connection,
    identity: &Identity,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    loop {
        let bytes = reader.fill_buf().await?;
        if bytes.is_empty() {
            return writer.shutdown().await;
        }
        let length = bytes.len();
        if bytes == WHO {
            let answer = format!("{}\n", identity.describe(connection, "TCP"));
            writer.write_all(answer.as_bytes()).await?;
        } else {
            writer.write_all(bytes).await?;
        }
        reader.consume(length);
    }
}

/// Says who answers before the client has said anything, then echoes.
pub(super) async fn greet_and_serve<S>(
    mut stream: S,
    connection: &Connection,
    identity: &Identity,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeting = format!("{}\n", identity.describe(connection, "server-first TCP"));
    stream.write_all(greeting.as_bytes()).await?;
    serve(stream, connection, identity).await
}
