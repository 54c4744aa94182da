//! As much of HTTP/2 as shows what a proxy announces: frames as text, and one plain answer.

use std::io::Read;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// END_HEADERS and END_STREAM.
const ENDS: u8 = 5;
/// `:status: 200` in HPACK's static table.
const STATUS_200: u8 = 0x88;
/// Settings that a field sets: MAX_CONCURRENT_STREAMS and INITIAL_WINDOW_SIZE. Proxies announce others
/// or not, as they like.
const SHOWN: [u8; 2] = [3, 4];
/// No frame that a proxy sends first is longer.
const LONGEST: usize = 1 << 16;

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// Whether the bytes are what an HTTP/2 server sends first.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes.len() >= 9 && bytes[3] == SETTINGS && bytes[..2] == [0, 0]
}

/// Frames as lines; those that do not show a setting are named only.
pub(crate) fn lines(mut bytes: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(frame) = Frame::read(&mut bytes) {
        lines.extend(frame.lines());
    }
    lines
}

/// What a client announces before its first request.
pub(crate) fn read_until_headers(reader: &mut impl Read) -> Option<Vec<String>> {
    reader.read_exact(&mut vec![0; PREFACE.len()]).ok()?;
    let mut seen = Vec::new();
    loop {
        let frame = Frame::read(reader)?;
        if frame.kind == HEADERS {
            return Some(seen);
        }
        let lines = frame.lines().into_iter();
        // What a client says of the streams of a server means nothing.
        seen.extend(lines.filter(|line| !line.starts_with("setting 3 ")));
    }
}

/// Settings and an answer of headers only to the first request.
pub(crate) fn answer(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![STATUS_200];
    for (name, value) in headers {
        // A literal that is not indexed.
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "{text} is longer than one byte says");
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = head(0, SETTINGS, 0, 0);
    bytes.extend(head(block.len(), HEADERS, ENDS, 1));
    bytes.extend(block);
    bytes
}

fn head(length: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let length = u32::try_from(length).expect("short");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes
}

// === impl Frame ===

impl Frame {
    fn read(reader: &mut impl Read) -> Option<Self> {
        let mut head = [0; 9];
        reader.read_exact(&mut head).ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; (length <= LONGEST).then_some(length)?];
        reader.read_exact(&mut payload).ok()?;
        Some(Self {
            kind: head[3],
            flags: head[4],
            payload,
        })
    }

    fn lines(&self) -> Vec<String> {
        match self.kind {
            SETTINGS if self.flags & 1 == 0 => {
                let settings = self.payload.chunks_exact(6);
                let settings = settings.filter(|it| SHOWN.contains(&it[1]));
                let line = |it: &[u8]| format!("setting {} is {}", it[1], number(&it[2..]));
                settings.map(line).collect()
            }
            WINDOW_UPDATE => vec![format!("window grows by {}", number(&self.payload))],
            // The status is first; the rest may be compressed.
            HEADERS => vec![format!("headers {:?}", self.payload.first())],
            GOAWAY => vec!["goaway".to_owned()],
            _ => Vec::new(),
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}
