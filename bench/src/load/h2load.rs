//! HTTP/2 by h2load.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use weir_process::command::{LIMIT, execute};

use super::{Latency, Work};

/// A gRPC message: not compressed, 12 bytes.
const GRPC_MESSAGE: &[u8] = b"\0\0\0\0\x0ctwelve bytes";

pub(super) fn run(
    (connections, streams): (u32, u32),
    url: &str,
    grpc: bool,
    duration: Duration,
) -> Result<Work> {
    let directory = tempfile::tempdir().context("temporary directory")?;
    let (log, message) = (
        directory.path().join("log"),
        directory.path().join("message"),
    );
    let mut command = Command::new("h2load");
    command.args(["--threads", "1"]);
    command.args(["--clients", &connections.to_string()]);
    command.args(["--max-concurrent-streams", &streams.to_string()]);
    command.args(["--duration", &duration.as_secs().to_string()]);
    command.arg("--log-file").arg(&log);
    if grpc {
        fs::write(&message, GRPC_MESSAGE).context("message")?;
        command.arg("--data").arg(&message);
        command.args(["--header", "content-type: application/grpc"]);
        command.args(["--header", "te: trailers"]);
    }
    let text = execute(command.arg(url), "", duration + LIMIT)?;
    let units = parse(&text)?;
    let log = fs::read_to_string(&log).context("h2load: log")?;
    Ok(Work {
        units,
        elapsed: duration,
        latency: Latency::of(latencies(&log)?),
    })
}

/// Requests, none of which failed.
fn parse(text: &str) -> Result<f64> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let requests =
        line("requests: ").with_context(|| format!("h2load printed no total:\n{text}"))?;
    let codes = line("status codes: ").context("h2load: status codes")?;
    let count = |counts: &str, name: &str| -> Result<u64> {
        let part = counts.split(", ").find_map(|part| part.strip_suffix(name));
        let part = part.with_context(|| format!("h2load: no{name} in {counts}"))?;
        part.trim().parse().context("h2load: count")
    };
    let bad = count(requests, " failed")? + count(requests, " errored")?;
    ensure!(bad == 0, "h2load: {requests}");
    let done = count(requests, " succeeded")?;
    ensure!(
        count(codes, " 2xx")? >= done,
        "h2load: status codes: {codes}"
    );
    Ok(done as f64)
}

/// Lines of start time, status, and microseconds until the end of the response.
fn latencies(log: &str) -> Result<Vec<Duration>> {
    let micros = |line: &str| {
        Some(Duration::from_micros(
            line.split('\t').nth(2)?.parse().ok()?,
        ))
    };
    log.lines()
        .map(|line| micros(line).with_context(|| format!("h2load: log: {line}")))
        .collect()
}
