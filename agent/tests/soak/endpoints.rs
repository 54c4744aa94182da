//! Endpoints that answer, and now and then break off.

use std::{net::Ipv4Addr, thread};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::Dice;

/// Once in so many messages an endpoint breaks off.
const BREAKS: u64 = 25;
/// A part of a body.
const PART: usize = 16 * 1024;

/// Ports of the endpoints.
#[derive(Clone, Copy)]
pub(crate) struct Endpoints {
    pub(crate) http1: u16,
    pub(crate) http2: u16,
    pub(crate) tcp: u16,
}

/// Starts them for the rest of the process, on a thread of their own.
pub(crate) fn start() -> Endpoints {
    let [http1, http2, tcp] = [(); 3].map(|()| {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("not blocking");
        listener
    });
    let port = |listener: &std::net::TcpListener| listener.local_addr().expect("bound").port();
    let endpoints = Endpoints {
        http1: port(&http1),
        http2: port(&http2),
        tcp: port(&tcp),
    };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            tokio::join!(
                accept(http1, |stream, dice| async {
                    drop(serve_http1(stream, dice).await);
                }),
                accept(http2, |stream, dice| async {
                    drop(serve_http2(stream, dice).await);
                }),
                accept(tcp, |stream, dice| async {
                    drop(serve_tcp(stream, dice).await);
                }),
            )
        });
    });
    endpoints
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: std::net::TcpListener,
    serve: impl Fn(TcpStream, Dice) -> F,
) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    for seed in 1.. {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Dice::new(seed)));
        }
    }
}

/// A reset instead of an orderly end.
pub(crate) fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// Answers with as many parts as the path's last letter says, and with the request's body.
async fn serve_http1(mut stream: TcpStream, mut dice: Dice) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |text| text.trim().parse().unwrap_or(0));
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..end + length);
        let parts = usize::try_from(dice.below(4)).unwrap_or(0);
        let breaks = dice.once_in(BREAKS);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            parts * PART
        );
        if !breaks || dice.once_in(2) {
            stream.write_all(head.as_bytes()).await?;
        }
        if breaks {
            stream.write_all(&vec![b'x'; parts * PART / 2]).await?;
            reset(stream);
            return Ok(());
        }
        stream.write_all(&vec![b'x'; parts * PART]).await?;
    }
}

async fn serve_http2(stream: TcpStream, mut dice: Dice) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        let (parts, breaks) = (dice.below(4), dice.once_in(BREAKS));
        let is_grpc = request.headers().contains_key("te");
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            if breaks && parts == 0 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
                return;
            }
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::OK;
            let Ok(mut answer) = respond.send_response(response, false) else {
                return;
            };
            for _ in 0..parts {
                let _ = answer.send_data(Bytes::from(vec![b'x'; PART]), false);
            }
            if breaks {
                answer.send_reset(h2::Reason::INTERNAL_ERROR);
            } else if is_grpc {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                let _ = answer.send_trailers(trailers);
            } else {
                let _ = answer.send_data(Bytes::new(), true);
            }
        });
        if dice.once_in(BREAKS * 4) {
            connection.graceful_shutdown();
        }
    }
    Ok(())
}

/// Sends back what comes.
async fn serve_tcp(mut stream: TcpStream, mut dice: Dice) -> std::io::Result<()> {
    let mut buffer = vec![0; PART];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if dice.once_in(BREAKS) {
            reset(stream);
            return Ok(());
        }
        stream.write_all(&buffer[..read]).await?;
    }
}
