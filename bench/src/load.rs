//! Loads: what is sent through a proxy, and what came of it.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{pods, scenario::Load};

mod h2load;
pub(crate) mod http;
pub(crate) mod tcp;
mod wrk;

/// How long anything may take to listen.
const READY: Duration = Duration::from_secs(10);

/// Connections of the idle scenario, where the descriptors suffice.
const IDLE: u64 = 10_000;
/// Those of the one in TCP, each of which may cost two sidecars a handshake.
const TCP_IDLE: u64 = 2_000;
/// Connections a proxy has open beside them.
const SPARE: u64 = 50;

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

/// Puts `load` on `address`, from the calling thread's namespace and core. Connections that are to
/// stay open are returned.
pub(crate) fn run(
    load: Load,
    address: SocketAddr,
    duration: Duration,
) -> Result<(Work, Vec<TcpStream>)> {
    let work = match load {
        Load::Http1 {
            connections,
            path,
            keep,
        } => {
            let url = format!("http://{address}{path}");
            wrk::run(connections, &url, keep, duration)
        }
        Load::Http2 {
            connections,
            streams,
            path,
            grpc,
        } => {
            let url = format!("http://{address}{path}");
            h2load::run((connections, streams), &url, grpc, duration)
        }
        Load::TcpBulk => tcp::bulk(address, duration),
        Load::TcpConnect => tcp::connect(address, duration),
        Load::OpenLoop { rate } => http::open_loop(address, rate, duration),
        Load::Idle => return http::idle(address, at_most(IDLE)?),
        Load::TcpIdle => return tcp::idle(address, at_most(TCP_IDLE)?),
        Load::Start => bail!("a start has no load"),
    };
    work.map(|work| (work, Vec::new()))
}

/// So many connections, or as many as the descriptors suffice for.
fn at_most(connections: u64) -> Result<u64> {
    Ok(connections.min(pods::connections()?.saturating_sub(SPARE)))
}

/// Runs `client` on threads of the caller's namespace and core; all that they return.
fn on_threads<T: Send>(
    count: u32,
    client: impl Fn(u32) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    let client = &client;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| scope.spawn(move || client(index)))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            let done = thread.join();
            all.append(&mut done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
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

/// Waits until an admin interface answers `GET /ready` with 200, as long as it can still begin to.
pub(crate) fn until_ready(admin: (&str, u16), mut is_alive: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !http::is_ready(admin) {
        ensure!(
            start.elapsed() < READY && is_alive(),
            "not ready within {READY:?}"
        );
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
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
