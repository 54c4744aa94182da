//! `weir-agent wait`: returns when the sidecar beside it is ready. For the postStart hook of the
//! sidecar, so that the application starts with a network.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use weir_api::{ports, sidecar::READY_PATH};

use crate::failure::Failure;

/// Between attempts. The pod's start waits for this, so it is much less than starting a container is.
const PAUSE: Duration = Duration::from_millis(10);
/// Of one attempt.
const ATTEMPT: Duration = Duration::from_millis(500);
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
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    loop {
        let reason = match ask(address) {
            Ok(line) if line.ends_with(" 200") => return Ok(()),
            Ok(line) => format!("it answers {line:?}"),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            let seconds = args.timeout;
            return Err(anyhow!("{address} is not ready after {seconds} s: {reason}").into());
        }
        thread::sleep(PAUSE);
    }
}

/// The beginning of the status line.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    let head = format!("GET {READY_PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
