//! Bodies of answers: one piece, or written while they are sent, so that a long page is held in part only and keeps
//! nobody waiting who shares its thread; and as gzip, for whoever takes it.

use std::{
    convert::Infallible,
    fmt,
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header};
use http_body::Frame;

/// Bytes after which a piece is sent.
const PIECE: usize = 32 * 1024;

/// Appends a little of a page, a few lines; false when that was its end.
pub(super) type Rest = Box<dyn FnMut(&mut String) -> bool + Send>;

/// The body of an answer.
pub(super) struct Body {
    piece: String,
    rest: Option<Rest>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Another one on the thread had its turn since the last piece.
    has_yielded: bool,
    is_done: bool,
}

/// Whether a client takes gzip (RFC 9110 section 12.5.3): it names it, and not with a weight of zero.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut codings = accepted.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(Ok(0.0))
    })
}

// === impl Body ===

impl Body {
    /// A text, and what follows it.
    pub(super) fn new(text: String, rest: Option<Rest>, is_gzip: bool) -> Self {
        Self {
            piece: text,
            rest,
            // Pages of metrics repeat themselves so much that the quickest way is nearly the smallest.
            gzip: is_gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            has_yielded: true,
            is_done: false,
        }
    }

    /// Writes until there is enough to send, or no more.
    fn fill(&mut self) {
        while self.piece.len() < PIECE {
            let Some(rest) = &mut self.rest else { return };
            if !rest(&mut self.piece) {
                self.rest = None;
            }
        }
    }

    /// What there is to send; nothing at the end.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_done {
                return None;
            }
            self.fill();
            self.is_done = self.rest.is_none();
            let Some(gzip) = &mut self.gzip else {
                let piece = Bytes::from(std::mem::take(&mut self.piece));
                return (!piece.is_empty()).then_some(piece);
            };
            // Writing to memory cannot fail.
            let _ = gzip.write_all(self.piece.as_bytes());
            self.piece.clear();
            if self.is_done {
                let _ = gzip.try_finish();
            }
            let packed = std::mem::take(gzip.get_mut());
            if !packed.is_empty() {
                return Some(packed.into());
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.has_yielded && self.rest.is_some() {
            self.has_yielded = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_yielded = false;
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_done || self.rest.is_none() && self.gzip.is_none() && self.piece.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match (&self.rest, &self.gzip) {
            (None, None) => http_body::SizeHint::with_exact(self.piece.len() as u64),
            _ => http_body::SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;

    use super::*;

    /// Lines up to that many, each with its number.
    fn lines(count: usize) -> (String, Rest) {
        let mut next = 1;
        let rest = move |text: &mut String| {
            text.push_str(&format!("line {next} of many\n"));
            next += 1;
            next < count
        };
        ("line 0 of many\n".to_owned(), Box::new(rest))
    }

    fn whole(count: usize) -> String {
        (0..count)
            .map(|line| format!("line {line} of many\n"))
            .collect()
    }

    #[tokio::test]
    async fn a_long_page_is_sent_in_pieces_and_whole() {
        let (text, rest) = lines(50_000);
        let mut body = Body::new(text, Some(rest), false);
        let (mut all, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let piece = frame.expect("a frame").into_data().expect("data");
            assert!(piece.len() < PIECE + 100, "{}", piece.len());
            all.extend_from_slice(&piece);
            pieces += 1;
        }
        assert_eq!(String::from_utf8(all).expect("text"), whole(50_000));
        assert!(pieces > 10, "{pieces}");
    }

    #[tokio::test]
    async fn as_gzip_it_is_the_same_and_far_smaller() {
        for count in [1, 50_000] {
            let (text, rest) = lines(count);
            let rest = (count > 1).then_some(rest);
            let packed = Body::new(text, rest, true).collect().await;
            let packed = packed.expect("a body").to_bytes();
            let mut text = String::new();
            let unpacked = GzDecoder::new(&*packed).read_to_string(&mut text);
            unpacked.expect("gzip");
            assert_eq!(text, whole(count));
            assert!(
                count == 1 || packed.len() * 4 < text.len(),
                "{}",
                packed.len()
            );
        }
    }

    #[test]
    fn gzip_is_for_those_who_name_it() {
        for (accepted, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, gzip; q=1.0", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("x-gzip-like", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accepted.parse().expect("a value"));
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
