//! `envoy.filters.listener.http_inspector`: HTTP/1.x by its request line, HTTP/2 by its preface.

use super::Inspection;
use crate::info::Detected;

/// HTTP/2 connection preface, RFC 9113 section 3.4.
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request line longer than this is taken for something else. Envoy inspects 8 KiB, too.
const MAX_REQUEST_LINE: usize = 8 * 1024;
/// The longest registered method has 17 bytes (UPDATEREDIRECTREF).
const MAX_METHOD: usize = 24;

/// The version of HTTP a plaintext connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2 with prior knowledge.
    H2c,
}

// === impl HttpVersion ===

impl HttpVersion {
    /// What is known of the connection then.
    pub(crate) fn detected(self) -> Detected {
        match self {
            Self::Http10 => Detected::Http10,
            Self::Http11 => Detected::Http11,
            Self::H2c => Detected::H2c,
        }
    }
}

/// Looks at the first bytes of a plaintext connection.
#[must_use]
pub fn inspect(bytes: &[u8]) -> Inspection<HttpVersion> {
    let shared = bytes.len().min(H2_PREFACE.len());
    if bytes[..shared] == H2_PREFACE[..shared] {
        return match shared == H2_PREFACE.len() {
            true => Inspection::Yes(HttpVersion::H2c),
            false => Inspection::NeedMore,
        };
    }
    // Servers skip an empty line before the request line (RFC 9112 section 2.2).
    let line = match bytes {
        b"\r" => b"",
        _ => bytes
            .strip_prefix(b"\r\n")
            .or(bytes.strip_prefix(b"\n"))
            .unwrap_or(bytes),
    };
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => whole_line(line[..end].strip_suffix(b"\r").unwrap_or(&line[..end])),
        None if may_become_request_line(line) => Inspection::NeedMore,
        None => Inspection::No,
    }
}

fn whole_line(line: &[u8]) -> Inspection<HttpVersion> {
    let version = line
        .iter()
        .rposition(|byte| *byte == b' ')
        .map(|space| &line[space + 1..]);
    match (may_become_request_line(line), version) {
        (true, Some(b"HTTP/1.1")) => Inspection::Yes(HttpVersion::Http11),
        (true, Some(b"HTTP/1.0")) => Inspection::Yes(HttpVersion::Http10),
        _ => Inspection::No,
    }
}

/// `METHOD SP target SP version`, of which the end may be missing.
fn may_become_request_line(line: &[u8]) -> bool {
    if line.len() > MAX_REQUEST_LINE {
        return false;
    }
    let method = line.iter().position(|byte| *byte == b' ');
    let (method, rest) = match method {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, &[][..]),
    };
    // Methods are tokens, and by convention upper case; that tells them from text protocols.
    let token = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method_fits = method.len() <= MAX_METHOD && method.iter().all(token);
    let method_is_there = method.len() == line.len() || !method.is_empty();
    let target_fits = rest.first().is_none_or(u8::is_ascii_graphic);
    method_fits && method_is_there && target_fits && rest.iter().all(|b| *b >= b' ' || *b == b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_http_from_other_protocols() {
        use Inspection::{NeedMore, No, Yes};
        let cases: &[(&[u8], Inspection<HttpVersion>)] = &[
            (b"", NeedMore),
            (b"GET / HTTP/1.1\r\n", Yes(HttpVersion::Http11)),
            (b"\r\nGET / HTTP/1.1\r\n", Yes(HttpVersion::Http11)),
            (b"GET / HTTP/1.0\n", Yes(HttpVersion::Http10)),
            (b"M-SEARCH * HTTP/1.1\r\n", Yes(HttpVersion::Http11)),
            (
                b"CONNECT a.example:443 HTTP/1.1\r\n",
                Yes(HttpVersion::Http11),
            ),
            (b"GET / HTTP/1.1", NeedMore),
            (b"GET / HTTP/2.0\r\n", No),
            (b"GET /\r\n", No),
            (b"PRI * HTTP/2.0\r\n", NeedMore),
            (H2_PREFACE, Yes(HttpVersion::H2c)),
            (b"PRI * HTTP/2.0\r\n\r\nXX", No),
            (b"EHLO mail.example\r\n", No),
            (b"PING\r\n", No),
            (b"*1\r\n$4\r\nPING\r\n", No),
            (b"\x16\x03\x01", No),
            (b"hello", No),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", No),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&inspect(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn the_answer_does_not_depend_on_how_the_stream_is_cut(
            bytes in proptest::collection::vec(0_u8..=255, 0..64),
            head in proptest::sample::select(vec!["", "GET / HTTP/1.1\r\n", "PRI * HTTP/2", "PO", "\r\nGET "]),
        ) {
            let stream = [head.as_bytes(), &bytes].concat();
            let whole = inspect(&stream);
            for cut in 0..stream.len() {
                let part = inspect(&stream[..cut]);
                if part != Inspection::NeedMore {
                    proptest::prop_assert_eq!(&part, &whole);
                }
            }
        }
    }
}
