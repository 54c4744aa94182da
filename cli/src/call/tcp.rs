//! TCP: who is it, and does what is sent come back.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::Outcome;

/// Asks who answers, then whether bytes come back as they were sent.
pub(super) async fn ask<S>(stream: S, outcome: &mut Outcome) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    stream.write_all(b"who\n").await.context("cannot send")?;
    outcome.answer = read_line(&mut stream).await?;
    echo(&mut stream).await
}

/// Waits for the server to speak first, then asks whether bytes come back as they were sent.
pub(super) async fn listen_and_ask<S>(stream: S, outcome: &mut Outcome) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    outcome.answer = read_line(&mut stream).await.context("no greeting")?;
    echo(&mut stream).await
}

async fn read_line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> anyhow::Result<Value> {
    let mut line = String::new();
    let length = stream
        .read_line(&mut line)
        .await
        .context("the connection broke off")?;
    ensure!(length > 0, "the connection was closed without an answer");
    Ok(serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line.trim().to_owned())))
}

/// Sends bytes that are no protocol's, ends, and reads until the other side ends.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> anyhow::Result<()> {
    let sent: Vec<u8> = (0..=255).cycle().take(4096).collect();
    stream.write_all(&sent).await.context("cannot send")?;
    stream.shutdown().await.context("cannot end")?;
    let mut got = Vec::new();
    stream
        .read_to_end(&mut got)
        .await
        .context("the connection broke off")?;
    ensure!(
        got == sent,
        "{} bytes were sent and {} others came back",
        sent.len(),
        got.len()
    );
    Ok(())
}
