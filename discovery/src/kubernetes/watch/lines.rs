//! Lines of a response that never ends.

use std::fmt;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};

/// Longest line. The API server stores no object of more than a few MiB.
const LONGEST: usize = 32 << 20;

/// Splits a body into lines.
#[derive(Debug)]
pub(super) struct Lines<B> {
    body: B,
    buffer: Vec<u8>,
    /// Up to where the buffer was given out.
    start: usize,
    /// Up to where it holds no end of a line.
    scanned: usize,
}

/// Why there are no more lines.
#[derive(Debug)]
pub(super) enum LinesError {
    /// The connection broke.
    Body(String),
    /// A line has no end.
    TooLong,
}

// === impl Lines ===

impl<B> Lines<B>
where
    B: Body<Data = Bytes, Error: fmt::Display> + Unpin,
{
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
        }
    }

    /// Waits until there is a line in the buffer. `false` at the end; what follows the last end of a
    /// line was cut off on its way.
    pub(super) async fn wait(&mut self) -> Result<bool, LinesError> {
        while !self.has_line() {
            if self.buffer.len() > LONGEST {
                return Err(LinesError::TooLong);
            }
            match self.body.frame().await {
                None => return Ok(false),
                Some(Err(error)) => return Err(LinesError::Body(error.to_string())),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.drain(..self.start);
                        self.scanned -= self.start;
                        self.start = 0;
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The next line, if it is whole and here.
    pub(super) fn here(&mut self) -> Option<&[u8]> {
        if !self.has_line() {
            return None;
        }
        let (start, end) = (self.start, self.scanned);
        self.start = end + 1;
        self.scanned = end + 1;
        Some(&self.buffer[start..end])
    }

    /// Looks for the end of a line; `scanned` is there if it has one.
    fn has_line(&mut self) -> bool {
        let rest = &self.buffer[self.scanned..];
        let found = rest.iter().position(|byte| *byte == b'\n');
        self.scanned += found.unwrap_or(rest.len());
        found.is_some()
    }
}

impl fmt::Display for LinesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => write!(f, "the connection broke: {error}"),
            Self::TooLong => write!(f, "a line is longer than {LONGEST} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Frame;

    use super::*;

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut() {
        let text = "one\n\nthree\ncut of";
        for size in 1..=text.len() {
            let pieces = text
                .as_bytes()
                .chunks(size)
                .map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece.to_vec()))));
            let pieces = futures_util::stream::iter(pieces.collect::<Vec<_>>());
            let mut lines = Lines::new(http_body_util::StreamBody::new(pieces));
            let mut seen = Vec::new();
            while lines.wait().await.expect("body") {
                while let Some(line) = lines.here() {
                    seen.push(String::from_utf8_lossy(line).into_owned());
                }
            }
            assert_eq!(seen, ["one", "", "three"], "pieces of {size}");
        }
    }
}
