//! A peer that speaks HTTP/1: bytes as its script has them, and what it reads in return.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    case::{Script, Step},
    seen::Seen,
};

/// A connection of HTTP/1.
pub(crate) struct Http1 {
    stream: TcpStream,
    side: Side,
    received: Vec<u8>,
    closed: bool,
}

/// Which messages it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Requests.
    Endpoint,
    /// Responses; `HEAD` has been asked.
    Client { head: bool },
}

// === impl Http1 ===

impl Http1 {
    pub(crate) fn new(stream: TcpStream, side: Side) -> Self {
        Self {
            stream,
            side,
            received: Vec::new(),
            closed: false,
        }
    }

    /// Reads once. False at the end.
    pub(crate) async fn read(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.received).await;
        self.closed |= !matches!(read, Ok(n) if n > 0);
        !self.closed
    }

    pub(crate) async fn play(&mut self, script: Script) {
        let mut out = Vec::new();
        for step in script {
            match step {
                Step::Bytes(text) => out.extend_from_slice(text.as_bytes()),
                Step::Heads(count) => {
                    self.write(&mut out).await;
                    while self.seen().len() < *count && self.read().await {}
                }
                Step::Close => {
                    self.write(&mut out).await;
                    let _ = self.stream.shutdown().await;
                    self.closed = true;
                }
                Step::AtHead => {}
                step => panic!("{step:?} is none of HTTP/1"),
            }
        }
        self.write(&mut out).await;
    }

    async fn write(&mut self, out: &mut Vec<u8>) {
        // A proxy that has had enough may be gone.
        let _ = self.stream.write_all(out).await;
        out.clear();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// The messages so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let (mut all, mut rest) = (Vec::new(), &self.received[..]);
        while !rest.is_empty() {
            let (seen, length) = self.message(rest);
            let over = seen.end.as_deref() != Some("whole");
            all.push(seen);
            if over {
                break;
            }
            rest = &rest[length..];
        }
        all
    }

    /// The message that `bytes` begin with, and its length if it is whole.
    fn message(&self, bytes: &[u8]) -> (Seen, usize) {
        let mut seen = Seen::default();
        let unfinished = self.closed.then(|| "cut".to_owned());
        let Some(length) = find(bytes, b"\r\n\r\n") else {
            let text = String::from_utf8_lossy(bytes);
            (seen.start, seen.end) = (format!("part of a head: {text}"), unfinished);
            return (seen, 0);
        };
        let head = String::from_utf8_lossy(&bytes[..length]);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let (one, two) = first.split_once(' ').unwrap_or((first, ""));
        seen.start = match self.side {
            Side::Endpoint => {
                let target = two.rsplit_once(' ').map_or(two, |(target, _)| target);
                format!("{one} {target}")
            }
            Side::Client { .. } => two.split(' ').next().unwrap_or_default().to_owned(),
        };
        seen.fields = fields(lines);
        let body = &bytes[length + 4..];
        let (taken, ended) = self.body(&mut seen, body);
        seen.end = if ended {
            Some("whole".to_owned())
        } else {
            unfinished
        };
        (seen, length + 4 + taken)
    }

    /// Reads a body. How many bytes it has, and whether that is all.
    fn body(&self, seen: &mut Seen, bytes: &[u8]) -> (usize, bool) {
        let bodiless = match self.side {
            Side::Endpoint => false,
            Side::Client { head } => {
                head || seen.is_informational() || matches!(seen.start.as_str(), "204" | "304")
            }
        };
        if bodiless {
            return (0, true);
        }
        if seen.field("transfer-encoding").is_some() {
            return chunks(seen, bytes);
        }
        if let Some(length) = seen.field("content-length") {
            let length: usize = length.parse().unwrap_or(usize::MAX);
            let taken = length.min(bytes.len());
            seen.body = bytes[..taken].to_vec();
            return (taken, taken == length);
        }
        if self.side == Side::Endpoint {
            return (0, true);
        }
        seen.body = bytes.to_vec();
        (bytes.len(), self.closed)
    }
}

/// Reads a chunked body.
fn chunks(seen: &mut Seen, bytes: &[u8]) -> (usize, bool) {
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return (at, false);
        };
        let text = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let digits = text.split(';').next().unwrap_or_default();
        let Ok(size) = usize::from_str_radix(digits, 16) else {
            seen.start = format!("{}, with the chunk line {text:?}", seen.start);
            return (at, false);
        };
        at += line + 2;
        if size == 0 {
            break;
        }
        let end = (at + size).min(bytes.len());
        seen.body.extend_from_slice(&bytes[at..end]);
        at = end + 2;
        if at > bytes.len() {
            return (end, false);
        }
    }
    // Of an empty section the first line is the end.
    let section = &bytes[at..];
    if section.starts_with(b"\r\n") {
        return (at + 2, true);
    }
    let Some(length) = find(section, b"\r\n\r\n") else {
        return (at, false);
    };
    let text = String::from_utf8_lossy(&section[..length]);
    seen.trailers = fields(text.split("\r\n"));
    (at + length + 4, true)
}

fn fields<'t>(lines: impl Iterator<Item = &'t str>) -> Vec<(String, String)> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, "no colon"));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    lines.map(field).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
