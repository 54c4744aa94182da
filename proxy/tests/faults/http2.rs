//! A peer that speaks HTTP/2, frame by frame: what its script says, and what it reads in return.

use std::collections::BTreeSet;

use loona_hpack::Decoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    case::{Fields, Script, Step},
    seen::Seen,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// More than any body here, so that no window closes.
const WINDOW: u32 = 1 << 20;

/// A connection of HTTP/2.
pub(crate) struct Http2 {
    stream: TcpStream,
    /// Bytes that are no whole frame yet.
    received: Vec<u8>,
    decoder: Decoder<'static>,
    /// A section of fields whose end has not come: its stream, the flags of its first frame.
    section: Option<(u32, u8, Vec<u8>)>,
    /// Messages in the order in which they began.
    seen: Vec<(u32, Seen)>,
    /// The stream that its script speaks on.
    on: u32,
    /// Streams that the script has opened, or has answered.
    used: BTreeSet<u32>,
    closed: bool,
}

// === impl Http2 ===

impl Http2 {
    /// A client, behind its preface.
    pub(crate) async fn client(stream: TcpStream) -> Self {
        let mut client = Self::new(stream);
        client.greet(PREFACE).await;
        client
    }

    /// An endpoint, which reads its client's preface.
    pub(crate) async fn endpoint(mut stream: TcpStream) -> Self {
        let _ = stream.read_exact(&mut [0; PREFACE.len()]).await;
        let mut endpoint = Self::new(stream);
        endpoint.greet(b"").await;
        endpoint
    }

    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            decoder: Decoder::new(),
            section: None,
            seen: Vec::new(),
            on: 1,
            used: BTreeSet::new(),
            closed: false,
        }
    }

    async fn greet(&mut self, first: &[u8]) {
        let mut window = vec![0, 4];
        window.extend_from_slice(&WINDOW.to_be_bytes());
        let mut out = first.to_vec();
        frame(&mut out, SETTINGS, 0, 0, &window);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        self.write(&mut out).await;
    }

    pub(crate) async fn play(&mut self, script: Script) {
        let mut out = Vec::new();
        for step in script {
            match *step {
                Step::On(stream) => self.on = stream,
                Step::Head(fields) => self.head(&mut out, fields, 0, 1),
                Step::Last(fields) => self.head(&mut out, fields, END_STREAM, 1),
                Step::Cut(fields, frames) => self.head(&mut out, fields, END_STREAM, frames),
                Step::Data(text) => frame(&mut out, DATA, 0, self.on, text.as_bytes()),
                Step::LastData(text) => {
                    frame(&mut out, DATA, END_STREAM, self.on, text.as_bytes());
                }
                Step::Reset(code) => {
                    self.used.remove(&self.on);
                    frame(&mut out, RST_STREAM, 0, self.on, &code.to_be_bytes());
                }
                Step::GoAway(code) => {
                    let payload = [0x7fff_ffff_u32, code].map(u32::to_be_bytes).concat();
                    frame(&mut out, GO_AWAY, 0, 0, &payload);
                }
                Step::Heads(count) => {
                    self.write(&mut out).await;
                    while self.seen.len() < count && self.read().await {}
                }
                Step::Close => {
                    self.write(&mut out).await;
                    let _ = self.stream.shutdown().await;
                    self.close();
                }
                Step::AtHead => {}
                Step::Bytes(_) => panic!("{step:?} is none of HTTP/2"),
            }
        }
        self.write(&mut out).await;
    }

    /// Plays the script for each request that has come. `at_head`: before its end.
    pub(crate) async fn answer(&mut self, script: Script, at_head: bool) {
        let ready = |(stream, seen): &(u32, Seen)| {
            let come = at_head || seen.end.as_deref() == Some("whole");
            (come && !self.used.contains(stream)).then_some(*stream)
        };
        let streams: Vec<u32> = self.seen.iter().filter_map(ready).collect();
        for stream in streams {
            self.used.insert(stream);
            self.on = stream;
            self.play(script).await;
        }
    }

    fn head(&mut self, out: &mut Vec<u8>, fields: Fields, flags: u8, frames: usize) {
        self.used.insert(self.on);
        let mut section = Vec::new();
        for (name, value) in fields {
            // A literal without indexing, both texts as they are (RFC 7541 section 6.2.2).
            section.push(0);
            for text in [name, value] {
                length(&mut section, text.len());
                section.extend_from_slice(text.as_bytes());
            }
        }
        let size = section.len().div_ceil(frames).max(1);
        let parts: Vec<&[u8]> = section.chunks(size).collect();
        let last = parts.len().saturating_sub(1);
        if parts.is_empty() {
            frame(out, HEADERS, flags | END_HEADERS, self.on, b"");
        }
        for (index, part) in parts.into_iter().enumerate() {
            let end = if index == last { END_HEADERS } else { 0 };
            match index {
                0 => frame(out, HEADERS, flags | end, self.on, part),
                _ => frame(out, CONTINUATION, end, self.on, part),
            }
        }
    }

    async fn write(&mut self, out: &mut Vec<u8>) {
        // A proxy that has had enough may be gone.
        let _ = self.stream.write_all(out).await;
        out.clear();
    }

    /// Reads once. False at the end.
    pub(crate) async fn read(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.received).await;
        if !matches!(read, Ok(n) if n > 0) {
            self.close();
            return false;
        }
        while let Some((head, length)) = frame_head(&self.received) {
            let whole: Vec<u8> = self.received.drain(..9 + length).collect();
            self.take(head, &whole[9..]).await;
        }
        true
    }

    fn close(&mut self) {
        self.closed = true;
        for (_, seen) in &mut self.seen {
            seen.end.get_or_insert_with(|| "cut".to_owned());
        }
    }

    async fn take(&mut self, (kind, flags, stream): (u8, u8, u32), payload: &[u8]) {
        match kind {
            HEADERS => self.section = Some((stream, flags, payload.to_vec())),
            CONTINUATION => {
                if let Some((_, _, section)) = &mut self.section {
                    section.extend_from_slice(payload);
                }
            }
            DATA => {
                let seen = self.message(stream);
                seen.body.extend_from_slice(payload);
                if flags & END_STREAM != 0 {
                    seen.end = Some("whole".to_owned());
                }
            }
            RST_STREAM => {
                let code = number(payload);
                let seen = self.message(stream);
                match &mut seen.end {
                    None => seen.end = Some(format!("reset {code}")),
                    // Nothing more is wanted of the request (RFC 9113 section 8.1).
                    Some(_) if code == 0 => {}
                    Some(end) => end.push_str(&format!(", then reset {code}")),
                }
            }
            GO_AWAY if number(&payload[4..]) != 0 => {
                let seen = self.message(0);
                seen.start = format!("goaway {}", number(&payload[4..]));
                seen.end = Some("whole".to_owned());
            }
            SETTINGS | PING if flags & ACK == 0 => {
                let mut out = Vec::new();
                let payload = if kind == PING { payload } else { b"" };
                frame(&mut out, kind, ACK, 0, payload);
                self.write(&mut out).await;
            }
            _ => {}
        }
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            self.end_section();
        }
    }

    fn end_section(&mut self) {
        let Some((stream, flags, section)) = self.section.take() else {
            return;
        };
        let fields = self.decoder.decode(&section).expect("HPACK");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all: Vec<_> = fields
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let pseudo = |name: &str| {
            let mut found = all.iter().filter(|(known, _)| known == name);
            found.next().map(|(_, value)| value.clone())
        };
        let start = match (pseudo(":status"), pseudo(":method"), pseudo(":path")) {
            (Some(status), ..) => Some(status),
            (_, Some(method), Some(path)) => Some(format!("{method} {path}")),
            (_, Some(method), None) => Some(method),
            _ => None,
        };
        let end = (flags & END_STREAM != 0).then(|| "whole".to_owned());
        let Some(start) = start else {
            let seen = self.message(stream);
            (seen.trailers, seen.end) = (all, end);
            return;
        };
        let mut seen = Seen {
            start,
            ..Seen::default()
        };
        let authority = pseudo(":authority").map(|value| ("host".to_owned(), value));
        let plain = all.into_iter().filter(|(name, _)| !name.starts_with(':'));
        seen.fields = authority.into_iter().chain(plain).collect();
        seen.end = match seen.is_informational() {
            true => Some("whole".to_owned()),
            false => end,
        };
        self.seen.push((stream, seen));
    }

    /// The last message of the stream.
    fn message(&mut self, stream: u32) -> &mut Seen {
        let of_stream = |(id, _): &(u32, Seen)| *id == stream;
        let at = self.seen.iter().rposition(of_stream);
        let at = at.unwrap_or_else(|| {
            let start = "no head".to_owned();
            let seen = Seen {
                start,
                ..Seen::default()
            };
            self.seen.push((stream, seen));
            self.seen.len() - 1
        });
        &mut self.seen[at].1
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether each stream that was opened has its answer.
    pub(crate) fn is_answered(&self) -> bool {
        self.used.iter().all(|stream| {
            let mut of_stream = self.seen.iter().filter(|(id, _)| id == stream);
            let last = of_stream.next_back();
            last.is_some_and(|(_, seen)| seen.end.is_some() && !seen.is_informational())
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        let all = self.seen.iter();
        all.map(|(_, seen)| seen.clone()).collect()
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a small frame");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Kind, flags and stream of the frame that `bytes` begin with, and the length of its payload;
/// none if it has not come whole.
fn frame_head(bytes: &[u8]) -> Option<((u8, u8, u32), usize)> {
    let head = bytes.first_chunk::<9>()?;
    let length = number(&[0, head[0], head[1], head[2]]) as usize;
    let stream = number(&head[5..]) & 0x7fff_ffff;
    (bytes.len() >= 9 + length).then_some(((head[3], head[4], stream), length))
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |four| u32::from_be_bytes(*four))
}

/// A length in HPACK, of a text without Huffman coding (RFC 7541 section 5.1).
fn length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return out.push(length as u8);
    }
    out.push(127);
    let mut left = length - 127;
    while left >= 128 {
        out.push(left as u8 | 128);
        left >>= 7;
    }
    out.push(left as u8);
}
