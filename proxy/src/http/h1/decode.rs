//! Bodies without their framing, for peers that frame them in another way.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status};

use super::body::{BadChunk, Framing};
use crate::buffer::Buffer;

/// Longest chunk size line and longest trailer section, bytes, as in [`super::body`].
const MAX_LINE: usize = 16 * 1024;
/// Trailers a message may have.
const MAX_TRAILERS: usize = 64;

/// Takes the framing off a body.
#[derive(Debug)]
pub(crate) struct Decoder(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are still to come.
    Length(u64),
    UntilClose,
    /// Before a chunk's size.
    Size,
    /// In a chunk, of which so many bytes are still to come.
    Chunk(u64),
    /// Before the line end behind a chunk.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    Ended,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Payload.
    Data(Bytes),
    /// The end, with what came behind the payload.
    End(Option<HeaderMap>),
}

// === impl Decoder ===

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        })
    }

    /// Whether the last byte has been taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.0 == State::Ended
    }

    /// Takes the next piece from `buffer`; none if more bytes are needed.
    pub(crate) fn decode(&mut self, buffer: &mut Buffer) -> Result<Option<Piece>, BadChunk> {
        loop {
            match self.0 {
                State::Ended => return Ok(Some(Piece::End(None))),
                _ if buffer.is_empty() => return Ok(None),
                State::UntilClose => return Ok(Some(take(buffer, u64::MAX).0)),
                State::Length(left) => {
                    let (piece, taken) = take(buffer, left);
                    self.0 = match left - taken {
                        0 => State::Ended,
                        left => State::Length(left),
                    };
                    return Ok(Some(piece));
                }
                State::Chunk(left) => {
                    let (piece, taken) = take(buffer, left);
                    self.0 = match left - taken {
                        0 => State::ChunkEnd,
                        left => State::Chunk(left),
                    };
                    return Ok(Some(piece));
                }
                State::ChunkEnd => match buffer.filled() {
                    [b'\r'] => return Ok(None),
                    [b'\r', b'\n', ..] => {
                        buffer.consume(2);
                        self.0 = State::Size;
                    }
                    _ => return Err(BadChunk),
                },
                State::Size => {
                    let Some((size, length)) = read_size(buffer.filled())? else {
                        return Ok(None);
                    };
                    buffer.consume(length);
                    self.0 = if size == 0 {
                        State::Trailers
                    } else {
                        State::Chunk(size)
                    };
                }
                State::Trailers => {
                    let Some((trailers, length)) = read_trailers(buffer.filled())? else {
                        return Ok(None);
                    };
                    buffer.consume(length);
                    self.0 = State::Ended;
                    return Ok(Some(Piece::End((!trailers.is_empty()).then_some(trailers))));
                }
            }
        }
    }

    /// The connection has ended. False if that cuts the body short.
    pub(crate) fn end(&mut self) -> bool {
        if self.0 == State::UntilClose {
            self.0 = State::Ended;
        }
        self.has_ended()
    }
}

fn take(buffer: &mut Buffer, at_most: u64) -> (Piece, u64) {
    let n = usize::try_from(at_most)
        .unwrap_or(usize::MAX)
        .min(buffer.len());
    let data = Bytes::copy_from_slice(&buffer.filled()[..n]);
    buffer.consume(n);
    (Piece::Data(data), n as u64)
}

/// The size of a chunk and the length of its line.
fn read_size(bytes: &[u8]) -> Result<Option<(u64, usize)>, BadChunk> {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        let line_so_far = bytes.len() <= MAX_LINE && (digits > 0 || bytes.is_empty());
        return if line_so_far { Ok(None) } else { Err(BadChunk) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(BadChunk)?;
    let ends_well = matches!(line.get(digits), None | Some(b';' | b' ' | b'\t'));
    if !ends_well || line.len() > MAX_LINE || line.contains(&b'\r') {
        return Err(BadChunk);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| BadChunk)?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| BadChunk)?;
    Ok(Some((size, end + 1)))
}

/// The trailers and the length of their section.
fn read_trailers(bytes: &[u8]) -> Result<Option<(HeaderMap, usize)>, BadChunk> {
    let mut fields = [EMPTY_HEADER; MAX_TRAILERS];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(Status::Partial) if bytes.len() > MAX_LINE => Err(BadChunk),
        Ok(Status::Partial) => Ok(None),
        Ok(Status::Complete((length, fields))) => {
            let mut trailers = HeaderMap::new();
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadChunk)?;
                let value = HeaderValue::from_bytes(field.value).map_err(|_| BadChunk)?;
                trailers.append(name, value);
            }
            Ok(Some((trailers, length)))
        }
        Err(_) => Err(BadChunk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payload, trailers and what is left, when the bytes come `step` at a time.
    fn decode(
        framing: Framing,
        bytes: &str,
        step: usize,
    ) -> Result<(String, usize, String), BadChunk> {
        let (mut decoder, mut buffer) = (Decoder::new(framing), Buffer::default());
        let (mut payload, mut parts) = (Vec::new(), bytes.as_bytes().chunks(step));
        loop {
            match decoder.decode(&mut buffer)? {
                Some(Piece::Data(data)) => payload.extend_from_slice(&data),
                Some(Piece::End(trailers)) => {
                    let mut left = buffer.filled().to_vec();
                    parts.for_each(|part| left.extend_from_slice(part));
                    let text = |bytes| String::from_utf8(bytes).expect("text");
                    let trailers = trailers.map_or(0, |trailers| trailers.len());
                    return Ok((text(payload), trailers, text(left)));
                }
                None => match parts.next() {
                    Some(part) => buffer.room().extend_from_slice(part),
                    None if decoder.end() => {}
                    None => return Err(BadChunk),
                },
            }
        }
    }

    #[test]
    fn payload_and_trailers_come_out_however_the_stream_is_cut() {
        for (framing, bytes, expected) in [
            (Framing::Length(3), "abcGET", Some(("abc", 0, "GET"))),
            (Framing::Length(9), "abc", None),
            (Framing::UntilClose, "abc", Some(("abc", 0, ""))),
            (
                Framing::Chunked,
                "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\nGET",
                Some(("abcd", 0, "GET")),
            ),
            (
                Framing::Chunked,
                "3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\nGET",
                Some(("abc", 2, "GET")),
            ),
            (Framing::Chunked, "\r\nabc", None),
            (Framing::Chunked, "3\nabc", None),
            (Framing::Chunked, "3\r\nabcd", None),
            (Framing::Chunked, "-3\r\nabc", None),
            (Framing::Chunked, "0x3\r\nabc", None),
            (Framing::Chunked, "fffffffffffffffff\r\n", None),
            (Framing::Chunked, "3\r\r\nabc", None),
        ] {
            let expected = expected.map(|(a, n, b)| (a.to_owned(), n, b.to_owned()));
            for step in 1..=bytes.len() {
                let found = decode(framing, bytes, step).ok();
                assert_eq!(found, expected, "{bytes:?} by {step}");
            }
        }
    }
}
