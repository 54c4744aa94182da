//! HTTP/1.1 as plain as tests want it: one request to a server, and a server that always answers the same.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Far longer than any answer takes; it only ends a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: String,
    /// All behind it.
    pub body: String,
}

/// Asks for a page on a connection of its own.
///
/// # Errors
/// Nobody answers, or what they say is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    get_over(stream, path)
}

/// Asks for a page on a connection from that address of this machine.
///
/// # Errors
/// Nobody answers, or what they say is not HTTP.
pub fn get_from(source: IpAddr, address: SocketAddr, path: &str) -> io::Result<Answer> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    get_over(TcpStream::from(socket), path)
}

/// Asks for a page on this connection, which is the server's to close.
///
/// # Errors
/// It breaks, or what comes is not HTTP.
pub fn get_over(mut stream: impl Read + Write, path: &str) -> io::Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Answer::of(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
}

/// Reads up to the end of a head, no further. Nothing where the stream ends before.
///
/// # Errors
/// The stream breaks.
pub fn read_head(stream: &mut impl Read) -> io::Result<Option<String>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// Reads a message of HTTP/1 with its body, as text. Nothing where the connection ends before.
pub async fn read_message(connection: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            let unfinished = head.contains("chunked") && !body.ends_with("0\r\n\r\n");
            if body.len() >= length.unwrap_or(0) && !unfinished {
                return Some(text);
            }
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers every request without a body by `body`, on threads that outlive the test. `headers` is more of
/// the head, each line ended.
pub fn serve(listener: TcpListener, headers: &str, body: &str) {
    serve_status(listener, "200 OK", headers, body);
}

/// The same with another status, such as `503 Unavailable`.
pub fn serve_status(listener: TcpListener, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                while let Ok(Some(_)) = read_head(&mut stream) {
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

// === impl Answer ===

impl Answer {
    /// An answer from its text.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }
}
