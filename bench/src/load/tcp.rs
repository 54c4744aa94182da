//! Raw TCP: bytes in bulk, and connections.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Latency, Work, on_threads};
use crate::backend::tcp::{LENGTH, Request};

/// Bytes of a read: several times what a socket buffer hands over at once.
const CHUNK: usize = 256 * 1024;
/// Clients that connect one connection after another.
pub(crate) const CLIENTS: u32 = 4;
/// Nothing here takes that long.
const STUCK: Duration = Duration::from_secs(10);

/// Reads what the server sends for `duration`, on one connection. The unit is a MiB.
pub(super) fn bulk(address: SocketAddr, duration: Duration) -> Result<Work> {
    let mut stream = open(address)?;
    stream.write_all(&Request::Stream.message())?;
    let (mut chunk, mut bytes) = (vec![0; CHUNK], 0_u64);
    let start = Instant::now();
    while start.elapsed() < duration {
        let read = stream.read(&mut chunk).context("bulk")?;
        ensure!(read > 0, "the stream ended after {bytes} bytes");
        bytes += read as u64;
    }
    Ok(Work {
        units: bytes as f64 / f64::from(1 << 20),
        elapsed: start.elapsed(),
        latency: None,
    })
}

/// Connects, asks, is answered and sees the end, over and over. The unit is a connection.
pub(super) fn connect(address: SocketAddr, duration: Duration) -> Result<Work> {
    let start = Instant::now();
    let client = |_| -> Result<Vec<Duration>> {
        let mut all = Vec::new();
        while start.elapsed() < duration {
            let begin = Instant::now();
            let mut stream = open(address)?;
            let asked = Request::EchoAndClose.message();
            stream.write_all(&asked)?;
            let mut answer = Vec::with_capacity(LENGTH);
            stream.read_to_end(&mut answer).context("answer")?;
            ensure!(answer == asked, "answered {answer:?}");
            all.push(begin.elapsed());
        }
        Ok(all)
    };
    let all = on_threads(CLIENTS, client)?;
    Ok(Work {
        units: all.len() as f64,
        elapsed: start.elapsed(),
        latency: Latency::of(all),
    })
}

/// Opens connections and has each answered once. The unit is a connection.
pub(super) fn idle(address: SocketAddr, count: u64) -> Result<(Work, Vec<TcpStream>)> {
    let start = Instant::now();
    let connect = |_| {
        let mut stream = open(address)?;
        let asked = Request::EchoAndKeep.message();
        stream.write_all(&asked)?;
        let mut answer = [0; LENGTH];
        stream.read_exact(&mut answer).context("answer")?;
        ensure!(answer == asked, "answered {answer:?}");
        Ok(stream)
    };
    let open: Vec<_> = (0..count).map(connect).collect::<Result<_>>()?;
    let work = Work {
        units: count as f64,
        elapsed: start.elapsed(),
        latency: None,
    };
    Ok((work, open))
}

/// A connection on which nothing may hang.
pub(super) fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(STUCK))?;
    stream.set_write_timeout(Some(STUCK))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
