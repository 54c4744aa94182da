//! What is to be seen of an exchange, in lines that can be compared between two proxies.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::frames;

/// How long an exchange may take: longer than any timeout of a case and than an endpoint sleeps.
const PATIENCE: Duration = Duration::from_secs(7);

/// Lines whose values are another one each time, or which only Envoy sends and which mean nothing.
const VARYING: [&str; 5] = [
    "date:",
    "x-envoy-upstream-service-time:",
    "> x-envoy-expected-rq-timeout-ms:",
    "x-weir-reason:",
    "content-length:",
];

/// Lines in order.
pub(crate) type Seen = Vec<String>;

/// What goes with a field, and what comes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    with: Seen,
    without: Seen,
}

/// `GET /` of host `h`, as HPACK has it.
const HPACK: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'h'];

/// The bytes of a request: as it stands if it says its version or is none, and otherwise
/// `GET /path` with header lines. `@HPACK@` are the headers of one in HTTP/2.
pub(crate) fn request(text: &str) -> Vec<u8> {
    if let Some(before) = text.strip_suffix("@HPACK@") {
        return [before.as_bytes(), HPACK].concat();
    }
    let text = expand(text);
    let methods = ["GET ", "POST ", "HEAD ", "PUT "];
    if text.contains("HTTP/") || !methods.iter().any(|method| text.starts_with(method)) {
        return text.into_bytes();
    }
    let (line, headers) = text.split_once('\n').unwrap_or((&text, ""));
    let headers = headers.trim_end().lines();
    let mut headers: Vec<String> = headers.map(|line| format!("{line}\r\n")).collect();
    for default in ["Host: h", "Connection: close"] {
        let name = default.split(':').next().unwrap_or_default();
        if !headers.iter().any(|header| header.starts_with(name)) {
            headers.push(format!("{default}\r\n"));
        }
    }
    format!("{line} HTTP/1.1\r\n{}\r\n", headers.concat()).into_bytes()
}

/// Replaces `@TEXT*N@` by TEXT N times.
fn expand(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('@').enumerate() {
        match part.rsplit_once('*').map(|(text, n)| (text, n.parse())) {
            Some((text, Ok(count))) if index % 2 == 1 => out.push_str(&text.repeat(count)),
            _ if index % 2 == 1 => panic!("@{part}@ is nothing"),
            _ => out.push_str(part),
        }
    }
    out
}

/// The endpoint that a client at 127.0.0.N comes to.
pub(crate) fn endpoint_of(client: u8, to: SocketAddr, bytes: &[u8]) -> Seen {
    let lines = exchange(Ipv4Addr::new(127, 0, 0, client), to, bytes).into_iter();
    let named = lines.filter(|line| line.starts_with("x-endpoint:"));
    named
        .map(|line| format!("client {client}, {line}"))
        .collect()
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Sends bytes and reads until the connection ends, or for as long as anybody waits.
pub(crate) fn exchange(from: Ipv4Addr, to: SocketAddr, bytes: &[u8]) -> Seen {
    let Ok(mut stream) = connect(from, to) else {
        return vec!["connection refused".to_owned()];
    };
    let deadline = Instant::now() + PATIENCE;
    let _ = stream.write_all(bytes);
    let (mut answer, mut part) = (Vec::new(), [0; 65536]);
    let closes = bytes.ends_with(b"\r\n\r\n") && has(bytes, b"Connection: close\r\n");
    let end = loop {
        // Envoy leaves it to such a client to end the connection, for a second.
        if closes && is_complete(&answer) {
            break "ended";
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break "open";
        }
        stream.set_read_timeout(Some(left)).expect("a timeout");
        match stream.read(&mut part) {
            Ok(0) => break "ended",
            Ok(n) => answer.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break "open",
            Err(_) => break "ended",
        }
    };
    let mut lines = match frames::begins(&answer) {
        true => frames::lines(&answer),
        false => lines(&String::from_utf8_lossy(&answer)),
    };
    lines.push(format!("then {end}"));
    lines
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Whether a whole response has come that says it is the last one of its connection.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let mut rest = &*text;
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse::<usize>().ok());
        let has_none = head.starts_with("http/1.1 204");
        let Some(next) = after.get(length.unwrap_or(0)..) else {
            return false;
        };
        if head.contains("\r\nconnection: close") {
            return has_none || length.is_some();
        }
        rest = next;
    }
    false
}

/// Lines but for those that cannot be equal, and with names in place of what is made up each time.
pub(crate) fn lines(text: &str) -> Seen {
    let kept = text.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !VARYING.iter().any(|varying| line.starts_with(varying))
    });
    let kept = kept.map(in_lower_case);
    kept.map(|line| without_ports(&without_ids(&line)))
        .collect()
}

/// The line with the name of its header in lower case. Here it may be as it came.
fn in_lower_case(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, value)) if !name.trim_start_matches("> ").contains(' ') => {
            format!("{}: {value}", name.to_ascii_lowercase())
        }
        _ => line.to_owned(),
    }
}

/// A request id in place of which any other may stand.
fn without_ids(line: &str) -> String {
    match line.split_once("x-request-id: ") {
        Some((before, id)) if id.len() == 36 => format!("{before}x-request-id: made here"),
        _ => line.to_owned(),
    }
}

/// Ports of clients that follow an address of loopback.
fn without_ports(line: &str) -> String {
    let mut parts = line.split("127.");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| !it.is_ascii_digit() && it != '.');
        let (address, rest) = part.split_at(end.unwrap_or(part.len()));
        let port = rest
            .strip_prefix(':')
            .map(|rest| rest.trim_start_matches(|it: char| it.is_ascii_digit()));
        match port {
            Some(rest) => out.push_str(&format!("127.{address}:PORT{rest}")),
            None => out.push_str(&format!("127.{address}{rest}")),
        }
    }
    out
}

// === impl Difference ===

impl Difference {
    pub(crate) fn between(with: &Seen, without: &Seen) -> Self {
        Self {
            with: beyond(with, without),
            without: beyond(without, with),
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.with.is_empty() && self.without.is_empty()
    }
}

/// Lines that `other` has not as often, sorted.
fn beyond(lines: &Seen, other: &Seen) -> Seen {
    let mut other = other.clone();
    let mut beyond = Vec::new();
    for line in lines {
        match other.iter().position(|it| it == line) {
            Some(at) => drop(other.swap_remove(at)),
            None => beyond.push(line.clone()),
        }
    }
    beyond.sort();
    beyond
}
