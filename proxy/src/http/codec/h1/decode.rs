//! Bodies without their framing, for peers that frame them in another way.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    body::{BadChunk, Body, Framing},
    chunked::Part,
};
use crate::buffer::Buffer;

/// Takes the framing off a body.
#[derive(Debug)]
pub(crate) struct Decoder {
    body: Body,
    /// On the heap, since there are seldom any.
    trailers: Option<Box<HeaderMap>>,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Payload.
    Data(Bytes),
    /// The end, with what came behind the payload.
    End(Option<Box<HeaderMap>>),
}

// === impl Decoder ===

impl Decoder {
    pub(crate) fn new(body: impl Into<Body>) -> Self {
        Self {
            body: body.into(),
            trailers: None,
        }
    }

    /// Whether the last byte has been taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.body.has_ended()
    }

    /// Takes the next piece from `buffer`; none if more bytes are needed.
    pub(crate) fn decode(&mut self, buffer: &mut Buffer) -> Result<Option<Piece>, BadChunk> {
        while !self.body.has_ended() {
            if self.body.framing() != Framing::Chunked {
                let most = usize::try_from(self.body.opaque()).unwrap_or(usize::MAX);
                let length = most.min(buffer.len());
                self.body.pass(length as u64);
                return Ok((length > 0).then(|| take(buffer, length)));
            }
            let bytes = buffer.filled();
            match self.body.next_part(bytes)? {
                Part::Partial => return Ok(None),
                Part::Framing(length) | Part::Surplus(length) => buffer.consume(length),
                Part::Data(length) => return Ok(Some(take(buffer, length))),
                Part::Trailer {
                    name,
                    value,
                    length,
                } => {
                    let name = HeaderName::from_bytes(&bytes[name]).map_err(|_| BadChunk)?;
                    let value = HeaderValue::from_bytes(&bytes[value]).map_err(|_| BadChunk)?;
                    let trailers = self.trailers.get_or_insert_default();
                    let added = trailers.try_append(name, value);
                    added.map_err(|_| BadChunk)?;
                    buffer.consume(length);
                }
            }
        }
        Ok(Some(Piece::End(self.trailers.take())))
    }

    /// The connection has ended. False if that cuts the body short.
    pub(crate) fn end(&mut self) -> bool {
        self.body.end()
    }
}

fn take(buffer: &mut Buffer, length: usize) -> Piece {
    let data = Bytes::copy_from_slice(&buffer.filled()[..length]);
    buffer.consume(length);
    Piece::Data(data)
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
            (Framing::Chunked, "0\r\nX T: 1\r\n\r\n", None),
            (
                Framing::Chunked,
                "0\r\nContent-Length: 9\r\nHost: evil\r\nX: 1\r\nConnection: x\r\n\r\n",
                Some(("", 1, "")),
            ),
        ] {
            let expected = expected.map(|(a, n, b)| (a.to_owned(), n, b.to_owned()));
            for step in 1..=bytes.len() {
                let found = decode(framing, bytes, step).ok();
                assert_eq!(found, expected, "{bytes:?} by {step}");
            }
        }
    }
}
