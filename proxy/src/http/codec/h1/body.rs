//! Bodies: where a message ends. RFC 9112 sections 6 and 7.

use std::ops::Range;

pub use super::chunked::BadChunk;
use super::chunked::{Part, Scanner};

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
    chunks: Scanner,
    ended: bool,
    /// Bytes seen, without framing.
    payload: u64,
}

/// How far a body was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advanced {
    /// Of the bytes, so many are the body's.
    pub taken: usize,
    /// So many of them are sent on; they have been moved to the front.
    pub kept: usize,
    /// What follows is not framed as it says.
    pub malformed: bool,
}

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
            chunks: Scanner::default(),
            ended,
            payload: 0,
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

    /// Bytes that were seen of it, without its framing.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// How it is framed.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Trailers that `nominated` lists end at this hop, as such fields of the head do.
    #[must_use]
    pub fn without_trailers(mut self, nominated: &[Box<str>]) -> Self {
        if !nominated.is_empty() {
            self.chunks = Scanner::new(nominated);
        }
        self
    }

    /// Follows the body through `bytes`, the next of the connection, and brings what is sent on of
    /// them to their front.
    pub fn advance(&mut self, bytes: &mut [u8]) -> Advanced {
        if self.framing == Framing::Chunked && !self.ended {
            return self.advance_chunked(bytes);
        }
        let taken = usize::try_from(self.opaque())
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.pass(taken as u64);
        Advanced {
            taken,
            kept: taken,
            malformed: false,
        }
    }

    fn advance_chunked(&mut self, bytes: &mut [u8]) -> Advanced {
        let (mut taken, mut kept) = (0, 0);
        let mut malformed = false;
        // As a rule all is kept, and nothing has to be moved.
        let mut keep = |bytes: &mut [u8], part: Range<usize>| {
            let length = part.len();
            if part.start > kept {
                bytes.copy_within(part, kept);
            }
            kept += length;
        };
        loop {
            match self.chunks.next(&bytes[taken..]) {
                Ok(part @ (Part::Framing(length) | Part::Data(length))) => {
                    keep(bytes, taken..taken + length);
                    taken += length;
                    if matches!(part, Part::Data(_)) {
                        self.payload += length as u64;
                    }
                }
                Ok(Part::Surplus(length)) => taken += length,
                Ok(Part::Trailer { value, length, .. }) => {
                    keep(bytes, taken..taken + value.end);
                    taken += length;
                    // The end of the line.
                    keep(bytes, taken - 2..taken);
                }
                Ok(Part::Partial) => break,
                Err(BadChunk) => {
                    malformed = true;
                    break;
                }
            }
        }
        self.ended = self.chunks.has_ended();
        Advanced {
            taken,
            kept,
            malformed,
        }
    }

    /// The next part of a chunked body, for who takes it apart.
    pub(super) fn next_part(&mut self, bytes: &[u8]) -> Result<Part, BadChunk> {
        let part = self.chunks.next(bytes);
        self.ended = self.chunks.has_ended();
        part
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
        self.payload += bytes;
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

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        Self::new(framing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent on, what is left, and whether the body has ended, when the bytes come `step` at
    /// a time. None for what is malformed.
    fn feed(mut body: Body, bytes: &[u8], step: usize) -> Option<(String, String, bool)> {
        let (mut held, mut sent) = (Vec::new(), Vec::new());
        for part in bytes.chunks(step) {
            held.extend_from_slice(part);
            let advanced = body.advance(&mut held);
            sent.extend_from_slice(&held[..advanced.kept]);
            held.drain(..advanced.taken);
            if advanced.malformed {
                return None;
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(&sent), text(&held), body.has_ended()))
    }

    /// The same, however the bytes are cut.
    fn feed_all(body: &Body, bytes: &str) -> Option<(String, String, bool)> {
        let whole = feed(body.clone(), bytes.as_bytes(), bytes.len().max(1));
        for step in 1..bytes.len() {
            let found = feed(body.clone(), bytes.as_bytes(), step);
            assert_eq!(found, whole, "{bytes:?} by {step}");
        }
        whole
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        for (framing, bytes, sent, left, ended) in [
            (Framing::Length(3), "abcGET", "abc", "GET", true),
            (Framing::Length(0), "GET", "", "GET", true),
            (Framing::Length(9), "abc", "abc", "", false),
            (Framing::UntilClose, "abc", "abc", "", false),
        ] {
            let found = feed_all(&Body::new(framing), bytes);
            let expected = (sent.to_owned(), left.to_owned(), ended);
            assert_eq!(found, Some(expected), "{framing:?}");
        }
    }

    #[test]
    fn chunks_are_sent_on_as_they_were_understood() {
        let body = Body::new(Framing::Chunked).without_trailers(&["x-hop".into()]);
        for (bytes, sent) in [
            ("3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            ("aF\r\n", "aF\r\n"),
            // Extensions and blanks.
            ("1;x=\"y;z\"\r\na\r\n0;e\r\n\r\n", "1\r\na\r\n0\r\n\r\n"),
            ("1 \t;x\r\na\r\n", "1\r\na\r\n"),
            ("1  \r\na\r\n", "1\r\na\r\n"),
            // Zeros.
            ("00003\r\nabc\r\n000\r\n\r\n", "03\r\nabc\r\n0\r\n\r\n"),
            // Trailers.
            (
                "0\r\nA: b\r\nC:\r\nd:  e \t\r\n\r\n",
                "0\r\nA: b\r\nC:\r\nd:  e\r\n\r\n",
            ),
            (
                "0\r\nContent-Length: 9\r\nHost: evil\r\nX-T: 1\r\nTransfer-Encoding: chunked\r\n\
                 Connection: x-t\r\nTE: x\r\nUpgrade: x\r\nKeep-Alive: x\r\nX-Hop: 1\r\n\r\n",
                "0\r\nX-T: 1\r\n\r\n",
            ),
        ] {
            let behind = if sent.ends_with("0\r\n\r\n") {
                "GET"
            } else {
                ""
            };
            let (found, left, _) = feed_all(&body, &format!("{bytes}{behind}")).expect(bytes);
            assert_eq!((&*found, &*left), (sent, behind), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bytes in [
            "\r\nabc",
            "3\nabc",
            "3\r\nabcd",
            "-3\r\nabc",
            "+3\r\n",
            "0x3\r\nabc",
            " 3\r\n",
            "3\r\r\nabc",
            "3\r\nabc\n",
            "3\r\nabc\rX",
            "1 1\r\n",
            "2\t2\r\n",
            "1 \n",
            "1;a\n",
            "1;a\rb",
            "1;\0\r\n",
            ";x\r\n",
            "g\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nX T: 1\r\n",
            "0\r\nX: a\n\r\n",
            "0\r\n: a\r\n",
            "0\r\nX\r\n",
            "0\r\n X: a\r\n",
            "0\r\nX: a\r\n b\r\n",
            "0\r\nX : a\r\n",
            "0\r\nX: a\0b\r\n",
            "0\r\nX: a\rb\r\n",
            "0\r\nX: a\r\r\n",
            "0\r\n\n",
        ] {
            let found = feed_all(&Body::new(Framing::Chunked), bytes);
            assert_eq!(found, None, "{bytes:?}");
        }
    }

    #[test]
    fn lines_without_end_are_refused() {
        for start in ["1;", "0000", "0\r\nX: ", "0\r\n"] {
            let line = if start.ends_with('\n') {
                "a: b\r\n"
            } else {
                "0"
            };
            let endless = format!("{start}{}", line.repeat(20_000 / line.len()));
            let found = feed(Framing::Chunked.into(), endless.as_bytes(), 4096);
            assert_eq!(found, None, "{start}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_end_does_not_depend_on_how_the_stream_is_cut(bytes in "[0-2a;:\r\nx ]{0,40}") {
            feed_all(&Framing::Chunked.into(), &bytes);
        }

        /// What was sent on is read in the same way, and nothing is left out of it again.
        #[test]
        fn what_is_sent_on_is_sent_on_as_it_is(bytes in "([0-2] ?(;x)?\r\n[ab]{0,2}\r\n){0,5}0\r\n(a: b \r\n)?\r\n") {
            if let Some((sent, _, true)) = feed_all(&Framing::Chunked.into(), &bytes) {
                let again = feed_all(&Framing::Chunked.into(), &sent);
                proptest::prop_assert_eq!(again, Some((sent, String::new(), true)));
            }
        }
    }
}
