//! Bodies: where a message ends. RFC 9112 sections 6 and 7.

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes.
    Length(u64),
    /// Chunks, and trailers after them.
    Chunked,
    /// Until the connection ends. Responses only.
    UntilClose,
}

/// Follows a body through the bytes of a connection.
#[derive(Debug, Clone)]
pub struct Body {
    framing: Framing,
    /// Of `Length`: bytes still to come.
    left: u64,
    chunks: ChunkScanner,
    ended: bool,
}

/// A chunked body that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub struct BadChunk;

// === impl Body ===

impl Body {
    /// A body that is about to begin.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing {
            length
        } else {
            0
        };
        let ended = framing == Framing::Length(0);
        Self {
            framing,
            left,
            chunks: ChunkScanner::default(),
            ended,
        }
    }

    /// No body.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Framing::Length(0))
    }

    /// Whether its last byte has been seen.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How it is framed.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// How many of `bytes`, the next of the connection, belong to the body.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        match self.framing {
            _ if self.ended => Ok(0),
            Framing::UntilClose => Ok(bytes.len()),
            Framing::Length(_) => {
                let taken = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.left -= taken as u64;
                self.ended = self.left == 0;
                Ok(taken)
            }
            Framing::Chunked => {
                let taken = self.chunks.advance(bytes)?;
                self.ended = self.chunks.state == ChunkState::End;
                Ok(taken)
            }
        }
    }

    /// How many of the next bytes belong to the body whatever they are; 0 if they are to be looked
    /// at.
    #[must_use]
    pub fn opaque(&self) -> u64 {
        match self.framing {
            _ if self.ended => 0,
            Framing::Length(_) => self.left,
            Framing::UntilClose => u64::MAX,
            Framing::Chunked => 0,
        }
    }

    /// Counts bytes that passed unseen, no more than [`Body::opaque`] said.
    pub fn pass(&mut self, bytes: u64) {
        if let Framing::Length(_) = self.framing {
            self.left = self.left.saturating_sub(bytes);
            self.ended = self.left == 0;
        }
    }

    /// The connection has ended. False if that cuts the body short.
    pub fn end(&mut self) -> bool {
        if self.framing == Framing::UntilClose {
            self.ended = true;
        }
        self.ended
    }
}

/// Longest chunk size line and longest trailer section, bytes. Extensions and trailers have no
/// bound in HTTP, and no use beyond this one.
const MAX_LINE: u32 = 16 * 1024;

#[derive(Debug, Clone, Default)]
struct ChunkScanner {
    state: ChunkState,
    /// Of the chunk's data, bytes still to come.
    left: u64,
    /// Bytes of the line or the trailer section so far.
    line: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ChunkState {
    /// In the size, no digit yet.
    #[default]
    Size,
    /// In the size, after a digit.
    SizeDigits,
    /// After the size, before the line's end.
    Extension,
    /// After the CR of the size line.
    SizeLf,
    Data,
    /// After the data: its CR.
    DataCr,
    /// After the data: its LF.
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    /// Within a trailer line.
    Trailer,
    /// After the CR of the last, empty line.
    EndLf,
    End,
}

impl ChunkScanner {
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut at = 0;
        while at < bytes.len() && self.state != ChunkState::End {
            if self.state == ChunkState::Data {
                let available = (bytes.len() - at) as u64;
                let taken = self.left.min(available);
                self.left -= taken;
                at += usize::try_from(taken).unwrap_or(usize::MAX);
                if self.left == 0 {
                    self.state = ChunkState::DataCr;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<ChunkState, BadChunk> {
        use ChunkState::{
            Data, DataCr, DataLf, End, EndLf, Extension, Size, SizeDigits, SizeLf, Trailer,
            TrailerStart,
        };
        self.line += 1;
        if self.line > MAX_LINE {
            return Err(BadChunk);
        }
        Ok(match (self.state, byte) {
            (Size | SizeDigits, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).ok_or(BadChunk)?;
                self.left = self.left.checked_mul(16).ok_or(BadChunk)? + u64::from(digit);
                SizeDigits
            }
            (SizeDigits | Extension, b'\r') => SizeLf,
            (SizeDigits, b';' | b' ' | b'\t') => Extension,
            (Extension, byte) if byte != b'\n' => Extension,
            (SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { TrailerStart } else { Data }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => {
                self.line = 0;
                Size
            }
            (TrailerStart, b'\r') => EndLf,
            (TrailerStart | Trailer, b'\n') if self.state == Trailer => TrailerStart,
            (TrailerStart | Trailer, byte) if byte != b'\n' => Trailer,
            (EndLf, b'\n') => End,
            _ => return Err(BadChunk),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the body takes when they come `step` at a time, and whether it has ended.
    fn feed(framing: Framing, bytes: &[u8], step: usize) -> Result<(usize, bool), BadChunk> {
        let (mut body, mut taken) = (Body::new(framing), 0);
        for part in bytes.chunks(step) {
            let n = body.advance(part)?;
            taken += n;
            if n < part.len() {
                break;
            }
        }
        Ok((taken, body.has_ended()))
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        type Taken = Result<(usize, bool), BadChunk>;
        let cases: &[(Framing, &str, Taken)] = &[
            (Framing::Length(3), "abcGET", Ok((3, true))),
            (Framing::Length(0), "GET", Ok((0, true))),
            (Framing::Length(9), "abc", Ok((3, false))),
            (Framing::UntilClose, "abc", Ok((3, false))),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nGET", Ok((13, true))),
            (
                Framing::Chunked,
                "3;x=\"y\"\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\nGET",
                Ok((31, true)),
            ),
            (
                Framing::Chunked,
                "00003\r\nabc\r\n000\r\n\r\n",
                Ok((19, true)),
            ),
            (Framing::Chunked, "A\r\n0123456789\r\n", Ok((15, false))),
            (Framing::Chunked, "\r\nabc", Err(BadChunk)),
            (Framing::Chunked, "3\nabc", Err(BadChunk)),
            (Framing::Chunked, "3\r\nabcd", Err(BadChunk)),
            (Framing::Chunked, "-3\r\nabc", Err(BadChunk)),
            (Framing::Chunked, "fffffffffffffffff\r\n", Err(BadChunk)),
            (Framing::Chunked, "0x3\r\nabc", Err(BadChunk)),
        ];
        for (framing, bytes, expected) in cases {
            for step in 1..=bytes.len() {
                assert_eq!(
                    &feed(*framing, bytes.as_bytes(), step),
                    expected,
                    "{bytes:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn lines_without_end_are_refused() {
        let endless = format!("1;{}", "x".repeat(20_000));
        assert_eq!(
            feed(Framing::Chunked, endless.as_bytes(), 4096),
            Err(BadChunk)
        );
    }

    proptest::proptest! {
        #[test]
        fn the_end_does_not_depend_on_how_the_stream_is_cut(
            bytes in "[0-9a-f;\r\nx]{0,40}", cut in 1_usize..10,
        ) {
            let whole = feed(Framing::Chunked, bytes.as_bytes(), bytes.len().max(1));
            proptest::prop_assert_eq!(feed(Framing::Chunked, bytes.as_bytes(), cut), whole);
        }
    }
}
