//! `weir-agent wait`: returns when the sidecar beside it is ready. For the postStart hook of the
//! sidecar, so that the application starts with a network. Ready does not mean that the control plane
//! was reached; for that it waits a little longer, so that the first calls are the mesh's already.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use weir_api::{
    ports,
    sidecar::{READY_PATH, env},
};

use crate::failure::Failure;

/// Between attempts. The pod's start waits for this, so it is much less than starting a container is.
const PAUSE: Duration = Duration::from_millis(10);
/// Of one attempt.
const ATTEMPT: Duration = Duration::from_millis(500);
/// For the control plane, once the sidecar is ready: many times what a connection takes. While there
/// is no control plane each pod starts later by this.
const CONNECTED: Duration = Duration::from_secs(1);
/// Bytes of an answer with one statistic.
const ANSWER: u64 = 16 << 10;
/// More of the answer than its status line is not needed.
const STATUS_LINE: usize = "HTTP/1.1 200".len();

/// Waits until the sidecar is ready.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Port of the readiness listener on this machine.
    #[arg(long, value_name = "PORT", default_value_t = ports::READINESS)]
    port: u16,
    /// `host:port` of the control plane; empty: there is none to wait for.
    #[arg(long, value_name = "HOST:PORT", env = env::CONTROL_PLANE, default_value = "")]
    control_plane: String,
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    loop {
        let reason = match ask(address) {
            Ok(line) if line.ends_with(" 200") => break,
            Ok(line) => format!("it answers {line:?}"),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            let seconds = args.timeout;
            return Err(anyhow!("{address} is not ready after {seconds} s: {reason}").into());
        }
        thread::sleep(PAUSE);
    }
    if !args.control_plane.is_empty() {
        let deadline = Instant::now() + CONNECTED;
        // What cannot be asked is not waited for.
        while is_unconnected().unwrap_or(false) && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Whether the sidecar says that it has not reached a control plane yet.
fn is_unconnected() -> io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::STATUS));
    let stream = get(address, "/stats/prometheus?filter=ever_connected")?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer)?;
    let mut lines = answer.lines().filter(|line| !line.starts_with('#'));
    let line = lines.find(|line| line.contains("control_plane_ever_connected"));
    Ok(line.is_some_and(|line| line.trim_end().ends_with(" 0")))
}

/// Sends a request.
fn get(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// The beginning of the status line.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = get(address, READY_PATH)?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
