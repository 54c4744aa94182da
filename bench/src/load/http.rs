//! HTTP/1.1 of our own: what wrk has no mode for.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{Latency, Work, on_threads, tcp};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: backend\r\n\r\n";
/// Connections of the open loop. Each may be late without making the others late.
const CONNECTIONS: u32 = 16;

/// `rate` requests a second whatever becomes of them. Latency counts from when a request was due, so
/// that a proxy that stalls is charged for those that had to wait.
pub(super) fn open_loop(address: SocketAddr, rate: u32, duration: Duration) -> Result<Work> {
    let start = Instant::now() + Duration::from_millis(20);
    let step = Duration::from_secs(1) * CONNECTIONS / rate;
    let client = |index: u32| -> Result<Vec<Duration>> {
        let mut connection = tcp::open(address)?;
        let mut buffer = vec![0; 4096];
        let mut all = Vec::new();
        let mut due = start + step * index / CONNECTIONS;
        while due < start + duration {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            exchange(&mut connection, &mut buffer)?;
            all.push(due.elapsed());
            due += step;
        }
        Ok(all)
    };
    let all = on_threads(CONNECTIONS, client)?;
    Ok(Work {
        units: all.len() as f64,
        elapsed: start.elapsed(),
        latency: Latency::of(all),
    })
}

/// Opens connections and uses each once. The unit is a connection.
pub(super) fn idle(address: SocketAddr, count: u64) -> Result<(Work, Vec<TcpStream>)> {
    let start = Instant::now();
    let mut buffer = vec![0; 4096];
    let mut connect = |_| {
        let mut connection = tcp::open(address)?;
        exchange(&mut connection, &mut buffer)?;
        Ok(connection)
    };
    let open: Vec<_> = (0..count).map(&mut connect).collect::<Result<_>>()?;
    let work = Work {
        units: count as f64,
        elapsed: start.elapsed(),
        latency: None,
    };
    Ok((work, open))
}

/// Whether an admin interface says that the proxy is ready.
pub(super) fn is_ready(admin: (&str, u16)) -> bool {
    let ask = || -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    // Nobody listens yet, or it says no.
    ask().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
}

/// One request and all of its response.
fn exchange(connection: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    connection.write_all(REQUEST).context("request")?;
    let mut filled = 0;
    loop {
        let read = connection.read(&mut buffer[filled..]).context("response")?;
        ensure!(read > 0, "closed amid a response");
        filled += read;
        if let Some(length) = length(&buffer[..filled])? {
            ensure!(filled <= length, "more than one response");
            if filled == length {
                return Ok(());
            }
        }
    }
}

/// Length of the whole response, once its head is there.
fn length(response: &[u8]) -> Result<Option<usize>> {
    let text = String::from_utf8_lossy(response);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    ensure!(head.starts_with("HTTP/1.1 200 "), "answered {head:?}");
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let body = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, body) = body.with_context(|| format!("no content-length in {head:?}"))?;
    let body: usize = body.trim().parse().context("content-length")?;
    Ok(Some(head.len() + 4 + body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_response_is_known_with_its_head() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        assert_eq!(length(response).expect("sound"), Some(43));
        assert_eq!(length(&response[..30]).expect("sound"), None);
        length(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").expect_err("503");
    }
}
