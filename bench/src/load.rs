//! Loads: what is sent through a proxy, and what came of it.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::scenario::Load;

mod h2load;
mod wrk;

/// How long anything may take to listen.
const READY: Duration = Duration::from_secs(10);

/// Work done without one error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) units: f64,
    pub(crate) elapsed: Duration,
    pub(crate) latency: Option<Latency>,
}

/// Time from asking to having all of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Puts `load` on `address`, from the calling thread's namespace and core.
pub(crate) fn run(load: Load, address: &str, duration: Duration) -> Result<Work> {
    match load {
        Load::Http1 {
            connections,
            path,
            keep,
        } => wrk::run(
            connections,
            &format!("http://{address}{path}"),
            keep,
            duration,
        ),
        Load::Http2 {
            connections,
            streams,
            path,
            grpc,
        } => {
            let url = format!("http://{address}{path}");
            h2load::run((connections, streams), &url, grpc, duration)
        }
    }
}

/// Waits until something listens, as long as it can still begin to.
pub(crate) fn until_connected(
    host: &str,
    port: u16,
    mut is_alive: impl FnMut() -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    loop {
        match TcpStream::connect((host, port)) {
            Ok(_) => return Ok(start.elapsed()),
            Err(error) if start.elapsed() > READY || !is_alive() => {
                return Err(error).with_context(|| format!("{host}:{port}"));
            }
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    }
}

// === impl Latency ===

impl Latency {
    /// None of nothing.
    pub(crate) fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort_unstable();
        let at = |part: usize| {
            all.get((all.len() * part / 100).min(all.len().checked_sub(1)?))
                .copied()
        };
        Some(Self {
            p50: at(50)?,
            p99: at(99)?,
        })
    }
}
