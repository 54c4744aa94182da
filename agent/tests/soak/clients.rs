//! Clients that ask, and now and then break off.

use std::{
    future::poll_fn,
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::{Dice, endpoints::reset, sidecar::Sidecar};

/// Clients of each kind at a time.
const CLIENTS: u64 = 8;
/// Once in so many exchanges a client breaks off.
const BREAKS: u64 = 20;
/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Exchanges that came to their end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Done {
    http1: u64,
    http2: u64,
    grpc: u64,
    tcp: u64,
    /// Broken off, by whichever side.
    broken: u64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Http1,
    Http2,
    Grpc,
    Tcp,
}

/// Puts load on the proxy for a while; all connections have ended afterwards.
pub(crate) fn run(sidecar: &Sidecar, during: Duration, round: u64) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let until = Instant::now() + during;
    let (http, tcp) = (sidecar.http, sidecar.tcp);
    runtime.expect("a runtime").block_on(async {
        let mut clients = JoinSet::new();
        for index in 0..CLIENTS {
            for kind in [Kind::Http1, Kind::Http2, Kind::Grpc, Kind::Tcp] {
                let port = if matches!(kind, Kind::Tcp) { tcp } else { http };
                let dice = Dice::new(round * 1000 + index * 10 + kind as u64 + 1);
                clients.spawn(client(kind, port, dice, until));
            }
        }
        let mut all = Done::default();
        while let Some(done) = clients.join_next().await {
            all.add(&done.expect("a client"));
        }
        all
    })
}

async fn client(kind: Kind, port: u16, mut dice: Dice, until: Instant) -> Done {
    let mut done = Done::default();
    while Instant::now() < until {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let stream = stream.expect("the proxy listens");
        let (count, exchanges) = match kind {
            Kind::Http1 => (
                &mut done.http1,
                timeout(PATIENCE, http1(stream, &mut dice)).await,
            ),
            Kind::Tcp => (
                &mut done.tcp,
                timeout(PATIENCE, tcp(stream, &mut dice)).await,
            ),
            Kind::Http2 => (
                &mut done.http2,
                timeout(PATIENCE, http2(stream, &mut dice, false)).await,
            ),
            Kind::Grpc => (
                &mut done.grpc,
                timeout(PATIENCE, http2(stream, &mut dice, true)).await,
            ),
        };
        let (whole, broken) = exchanges.unwrap_or_else(|_| panic!("{kind:?} hangs"));
        *count += whole;
        done.broken += broken;
    }
    done
}

/// Exchanges on one connection: how many came to their end, and how many did not.
async fn http1(mut stream: TcpStream, dice: &mut Dice) -> (u64, u64) {
    let requests = dice.below(20) + 1;
    for number in 0..requests {
        let body = "b".repeat(usize::try_from(dice.below(3) * 9000).unwrap_or(0));
        let version = if dice.once_in(2) { "/2" } else { "/1" };
        let request = format!(
            "POST {version} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(request.as_bytes()).await.is_err() {
            return (number, 1);
        }
        if dice.once_in(BREAKS) {
            reset(stream);
            return (number, 1);
        }
        if read_response(&mut stream).await.is_err() {
            return (number, 1);
        }
    }
    (requests, 0)
}

async fn read_response(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = Vec::new();
    let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
    loop {
        let head = buffer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head.map(|at| at + 4) {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            if head.contains("transfer-encoding: chunked") {
                if buffer.ends_with(b"0\r\n\r\n") {
                    return Ok(());
                }
            } else {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length = length.and_then(|text| text.trim().parse::<usize>().ok());
                if buffer.len() >= end + length.ok_or_else(broken)? {
                    return Ok(());
                }
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(broken());
        }
    }
}

async fn http2(stream: TcpStream, dice: &mut Dice, is_grpc: bool) -> (u64, u64) {
    let Ok((mut sender, connection)) = h2::client::handshake(stream).await else {
        return (0, 1);
    };
    let driver = tokio::spawn(connection);
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..=dice.below(20) {
        let version = if is_grpc || dice.once_in(2) {
            "/2"
        } else {
            "/1"
        };
        let mut request = Request::post(format!("http://a{version}"));
        if is_grpc {
            request = request
                .header("content-type", "application/grpc")
                .header("te", "trailers");
        }
        let request = request.body(()).expect("a request");
        if poll_fn(|cx| sender.poll_ready(cx)).await.is_err() {
            broken += 1;
            break;
        }
        let Ok((response, mut body)) = sender.send_request(request, false) else {
            broken += 1;
            break;
        };
        let _ = body.send_data(Bytes::from_static(&[b'b'; 5000]), true);
        if dice.once_in(BREAKS) {
            body.send_reset(h2::Reason::CANCEL);
            broken += 1;
            continue;
        }
        match read_body(response).await {
            Ok(()) => whole += 1,
            Err(_) => broken += 1,
        }
    }
    if dice.once_in(BREAKS) {
        driver.abort();
    }
    drop(sender);
    let _ = driver.await;
    (whole, broken)
}

async fn read_body(response: h2::client::ResponseFuture) -> Result<(), h2::Error> {
    let mut body = response.await?.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    body.trailers().await.map(drop)
}

async fn tcp(mut stream: TcpStream, dice: &mut Dice) -> (u64, u64) {
    let rounds = dice.below(20) + 1;
    for number in 0..rounds {
        let sent = vec![b't'; usize::try_from(dice.below(40_000) + 1).unwrap_or(1)];
        let mut back = vec![0; sent.len()];
        let (mut reader, mut writer) = stream.split();
        let both =
            async { tokio::try_join!(writer.write_all(&sent), reader.read_exact(&mut back)) };
        if both.await.is_err() {
            return (number, 1);
        }
        if dice.once_in(BREAKS) {
            reset(stream);
            return (number, 1);
        }
    }
    (rounds, 0)
}

// === impl Done ===

impl Done {
    pub(crate) fn add(&mut self, more: &Self) {
        self.http1 += more.http1;
        self.http2 += more.http2;
        self.grpc += more.grpc;
        self.tcp += more.tcp;
        self.broken += more.broken;
    }

    /// Whether there was some of everything.
    pub(crate) fn is_mixed(&self) -> bool {
        let Self {
            http1,
            http2,
            grpc,
            tcp,
            broken,
        } = self;
        [http1, http2, grpc, tcp, broken]
            .iter()
            .all(|count| **count > 0)
    }
}
