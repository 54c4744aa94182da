//! Where a body comes from, whatever version of HTTP brings it, and its parts.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;

use super::Stop;
use crate::{
    exchange::transfer::Wire,
    http::{
        codec::{
            h1::{
                body::Body,
                decode::{Decoder, Piece},
            },
            h2::RecvStream,
        },
        message::end_to_end,
    },
};

/// Where a body comes from.
pub(in crate::exchange) enum Source {
    Http2(RecvStream),
    Http1(Decoder),
    /// Somebody else reads it.
    Taken,
    /// It has been read, and has so many bytes.
    Collected(VecDeque<Frame>, u64),
    /// Some of it has been read.
    Begun(Box<Begun>),
}

/// A body of which the beginning has been read.
pub(in crate::exchange) struct Begun {
    pub(in crate::exchange) frames: VecDeque<Frame>,
    /// Bytes of those for which the peer has its window back already.
    released: u64,
    rest: Source,
}

/// A part of a body.
#[derive(Debug, Clone)]
pub(in crate::exchange) enum Frame {
    /// Payload, and whether it is the last.
    Data(Bytes, bool),
    Trailers(Box<HeaderMap>),
}

// === impl Source ===

impl Source {
    /// A body in an HTTP/1 connection.
    pub(in crate::exchange) fn http1(body: Body) -> Self {
        Self::Http1(Decoder::new(body))
    }

    /// A body of which these frames, of so many bytes, have been read.
    pub(in crate::exchange) fn begun(frames: VecDeque<Frame>, length: u64, rest: Self) -> Self {
        Self::Begun(Box::new(Begun {
            frames,
            released: length,
            rest,
        }))
    }

    /// Whether there is nothing to come, not even an end.
    pub(in crate::exchange) fn has_ended(&self) -> bool {
        match self {
            Self::Http2(stream) => stream.is_end_stream(),
            Self::Http1(decoder) => decoder.has_ended(),
            Self::Taken => false,
            Self::Collected(frames, _) => frames.is_empty(),
            Self::Begun(begun) => begun.frames.is_empty() && begun.rest.has_ended(),
        }
    }

    /// Whether all of it has been read.
    pub(in crate::exchange) fn is_read(&self) -> bool {
        match self {
            Self::Collected(..) => true,
            Self::Begun(begun) => begun.rest.has_ended(),
            Self::Http1(_) | Self::Http2(_) | Self::Taken => self.has_ended(),
        }
    }

    /// How many bytes a body has that was collected.
    pub(in crate::exchange) fn collected_length(&self) -> Option<u64> {
        match self {
            Self::Collected(_, length) => Some(*length),
            Self::Http1(_) | Self::Http2(_) | Self::Taken | Self::Begun(_) => None,
        }
    }

    /// Reads all of it into `frames`, until they hold more than `limit` bytes. Says how many they hold.
    pub(in crate::exchange) fn poll_collect(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Option<Wire<'_>>,
        frames: &mut VecDeque<Frame>,
        length: &mut u64,
        limit: u64,
    ) -> Poll<Result<(), Stop>> {
        while *length <= limit {
            let frame = ready!(self.poll_frame(cx, &mut from))?;
            let is_last = match &frame {
                Frame::Data(data, is_last) => {
                    *length += data.len() as u64;
                    self.release(data.len());
                    *is_last
                }
                Frame::Trailers(_) => true,
            };
            frames.push_back(frame);
            if is_last {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Option<Wire<'_>>,
    ) -> Poll<Result<Frame, Stop>> {
        match (self, from) {
            (Self::Http2(stream), _) => match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    let end = stream.is_end_stream();
                    Poll::Ready(Ok(Frame::Data(data, end)))
                }
                Some(Err(error)) => Poll::Ready(Err(Stop::Source(error.reason()))),
                None => match ready!(stream.poll_trailers(cx)) {
                    Ok(Some(trailers)) => Poll::Ready(Ok(Frame::last(Box::new(trailers)))),
                    Ok(None) => Poll::Ready(Ok(Frame::Data(Bytes::new(), true))),
                    Err(error) => Poll::Ready(Err(Stop::Source(error.reason()))),
                },
            },
            (Self::Http1(decoder), Some((connection, buffer))) => loop {
                match decoder.decode(buffer).map_err(|_| Stop::Malformed)? {
                    Some(Piece::Data(data)) => {
                        let end = decoder.has_ended();
                        return Poll::Ready(Ok(Frame::Data(data, end)));
                    }
                    Some(Piece::End(Some(trailers))) => {
                        return Poll::Ready(Ok(Frame::last(trailers)));
                    }
                    Some(Piece::End(None)) => {
                        return Poll::Ready(Ok(Frame::Data(Bytes::new(), true)));
                    }
                    None => match ready!(connection.poll_read(cx, buffer)) {
                        Ok(0) if decoder.end() => {}
                        Ok(0) | Err(_) => return Poll::Ready(Err(Stop::Source(None))),
                        Ok(_) => {}
                    },
                }
            },
            (Self::Collected(frames, _), _) => Poll::Ready(Ok(frames
                .pop_front()
                .unwrap_or(Frame::Data(Bytes::new(), true)))),
            (Self::Begun(begun), from) => match begun.frames.pop_front() {
                Some(frame) => Poll::Ready(Ok(frame)),
                None => begun.rest.poll_frame(cx, from),
            },
            (Self::Http1(_), None) | (Self::Taken, _) => Poll::Ready(Err(Stop::Source(None))),
        }
    }

    /// So many bytes have found their place: the peer may send as many more.
    pub(super) fn release(&mut self, bytes: usize) {
        match self {
            Self::Http2(stream) if bytes > 0 => stream.release_capacity(bytes),
            Self::Begun(begun) => {
                let before = usize::try_from(begun.released)
                    .unwrap_or(usize::MAX)
                    .min(bytes);
                begun.released -= before as u64;
                begun.rest.release(bytes - before);
            }
            Self::Http1(_) | Self::Http2(_) | Self::Taken | Self::Collected(..) => {}
        }
    }
}

// === impl Frame ===

impl Frame {
    /// The end of a body, with what may be sent on of its trailers.
    fn last(mut trailers: Box<HeaderMap>) -> Self {
        end_to_end(&mut trailers);
        match trailers.is_empty() {
            true => Self::Data(Bytes::new(), true),
            false => Self::Trailers(trailers),
        }
    }
}
