//! Chunked bodies, read in one place whatever becomes of them: RFC 9112 section 7.1.
//!
//! What two recipients could read differently is refused. What is sent on holds the sizes, the
//! data and the trailers that were read, and nothing besides: blanks, extensions and fields that
//! do not belong behind a body are left out, so that nobody further on has to understand them.

use std::ops::Range;

use super::head::FieldKind;

/// Longest chunk size line and longest trailer section, bytes. Extensions and trailers have no
/// bound in HTTP, and no use beyond this one.
const MAX_LINE: usize = 16 * 1024;

/// A chunked body that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub struct BadChunk;

/// What the next bytes of a chunked body are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// So many bytes of a size, or of the end of a line.
    Framing(usize),
    /// So many bytes of payload.
    Data(usize),
    /// So many bytes that end at this hop.
    Surplus(usize),
    /// A trailer: where its name and its value end, and the length of its line.
    Trailer {
        name: Range<usize>,
        value: Range<usize>,
        length: usize,
    },
    /// It takes more bytes to tell.
    Partial,
}

/// Follows a chunked body through the bytes of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    state: State,
    /// Of the chunk's data, bytes still to come.
    left: u64,
    /// Bytes of the line or of the trailer section so far.
    line: usize,
    /// Fields that the head's `Connection` lists, lower case.
    nominated: Box<[Box<str>]>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Before a size.
    #[default]
    Size,
    /// In a size, behind nothing but zeros.
    Zeros,
    /// In a size.
    Digits,
    /// Behind a size, in blanks.
    Blanks,
    /// In an extension.
    Extension,
    /// Behind the CR of a size line.
    SizeLf,
    Data,
    /// Behind a chunk's data.
    DataCr,
    /// Behind the CR there.
    DataLf,
    /// Before a trailer or the empty line that ends the body.
    Trailers,
    Ended,
}

// === impl Scanner ===

impl Scanner {
    /// Trailers that `nominated` lists end at this hop, as such fields of a head do.
    pub(super) fn new(nominated: &[Box<str>]) -> Self {
        Self {
            nominated: nominated.into(),
            ..Self::default()
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Says what `bytes`, the next of the connection, begin with. After an error it may be asked
    /// again, and says the same.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Part, BadChunk> {
        match self.state {
            _ if bytes.is_empty() => Ok(Part::Partial),
            State::Ended => Ok(Part::Partial),
            State::Data => {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let taken = left.min(bytes.len());
                self.left -= taken as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                Ok(Part::Data(taken))
            }
            State::Trailers => self.trailer(bytes),
            _ => self.framing(bytes),
        }
    }

    /// As many bytes between data as are of one kind.
    fn framing(&mut self, bytes: &[u8]) -> Result<Part, BadChunk> {
        let (mut taken, mut kind) = (0, None);
        while let Some(&byte) = bytes.get(taken)
            && !matches!(self.state, State::Data | State::Trailers)
        {
            let step = step(self.state, byte, self.left == 0);
            let Some((next, stays)) = step.filter(|_| self.line < MAX_LINE) else {
                // What came before it is sound.
                break;
            };
            if kind.is_some_and(|kind| kind != stays) {
                break;
            }
            if matches!(next, State::Zeros | State::Digits) {
                let digit = char::from(byte).to_digit(16).map(u64::from);
                let left = self.left.checked_mul(16).zip(digit);
                let Some((left, digit)) = left else { break };
                self.left = left + digit;
            }
            self.line = match next {
                State::Size | State::Data | State::Trailers => 0,
                _ => self.line + 1,
            };
            (self.state, kind) = (next, Some(stays));
            taken += 1;
        }
        match kind {
            None => Err(BadChunk),
            Some(true) => Ok(Part::Framing(taken)),
            Some(false) => Ok(Part::Surplus(taken)),
        }
    }

    /// The next line of the trailer section.
    fn trailer(&mut self, bytes: &[u8]) -> Result<Part, BadChunk> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return match self.line + bytes.len() {
                ..=MAX_LINE => Ok(Part::Partial),
                _ => Err(BadChunk),
            };
        };
        let length = end + 1;
        if self.line + length > MAX_LINE {
            return Err(BadChunk);
        }
        let line = bytes[..end].strip_suffix(b"\r").ok_or(BadChunk)?;
        if line.is_empty() {
            self.state = State::Ended;
            return Ok(Part::Framing(length));
        }
        let name = memchr::memchr(b':', line).ok_or(BadChunk)?;
        let value = trim_blanks(&line[name + 1..]);
        let is_value = |byte: &u8| is_text(*byte);
        if name == 0 || !line[..name].iter().all(is_token) || !value.iter().all(is_value) {
            return Err(BadChunk);
        }
        self.line += length;
        let named = &line[..name];
        let mut nominated = self.nominated.iter().map(|name| name.as_bytes());
        if !FieldKind::of(named).may_be_trailer()
            || nominated.any(|name| named.eq_ignore_ascii_case(name))
        {
            return Ok(Part::Surplus(length));
        }
        let start = match value.is_empty() {
            true => name + 1,
            false => super::head::range(line, value).start,
        };
        Ok(Part::Trailer {
            name: 0..name,
            value: start..start + value.len(),
            length,
        })
    }
}

/// What follows from a byte between data, and whether it is sent on. None if it may not stand
/// there. `last`: the size is zero.
fn step(state: State, byte: u8, last: bool) -> Option<(State, bool)> {
    use State::{Blanks, Data, DataCr, DataLf, Digits, Extension, Size, SizeLf, Trailers, Zeros};
    Some(match (state, byte) {
        (Size, b'0') => (Zeros, true),
        // One says as much as many.
        (Zeros, b'0') => (Zeros, false),
        (Size | Zeros | Digits, byte) if byte.is_ascii_hexdigit() => (Digits, true),
        (Zeros | Digits | Blanks, b' ' | b'\t') => (Blanks, false),
        (Zeros | Digits | Blanks, b';') => (Extension, false),
        (Zeros | Digits | Blanks | Extension, b'\r') => (SizeLf, true),
        (Extension, byte) if is_text(byte) => (Extension, false),
        (SizeLf, b'\n') if last => (Trailers, true),
        (SizeLf, b'\n') => (Data, true),
        (DataCr, b'\r') => (DataLf, true),
        (DataLf, b'\n') => (Size, true),
        _ => return None,
    })
}

fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// What a value may hold (RFC 9110 section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What a name may hold (RFC 9110 section 5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
