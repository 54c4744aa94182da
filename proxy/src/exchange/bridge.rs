//! Moves a body from one stream to another, whatever versions of HTTP they speak: payload as the
//! other side takes it, then trailers.

mod encoder;
mod replay;
mod source;

use std::task::{Context, Poll, ready};

use http::HeaderMap;

use super::transfer::Wire;
use crate::{
    http::codec::h2::{Reason, SendStream},
    info::GrpcStatus,
    net::transport_socket::Connection,
};

pub(super) use encoder::{Encoder, Framed};
use replay::Replay;
pub(super) use source::{Frame, Source};

/// A body on its way.
pub(super) struct Bridge {
    sink: Sink,
    /// Taken from the source, not yet by the sink.
    held: Option<Frame>,
    /// The source has got the window of what is held back.
    held_is_released: bool,
    /// Bytes the sink has taken and not written: the source gets their window back then.
    owed: usize,
    /// The sink has been given everything.
    given: bool,
    /// Why there is nothing more to give, to be told once the sink has what came before.
    stopped: Option<Stop>,
    done: bool,
    /// Bytes of payload that were taken.
    pub(super) moved: u64,
    /// `grpc-status` of the trailers that were given.
    pub(super) grpc_status: Option<GrpcStatus>,
    replay: Replay,
    /// What filters want of it. On the heap, since there are seldom any.
    filtered: Option<Box<Filtered>>,
}

/// What filters want of a body.
#[derive(Default)]
struct Filtered {
    /// Trailers are shown to them before they are given.
    shows_trailers: bool,
    /// Bytes of payload that may be given now; none: any number.
    allowance: Option<u64>,
    /// Read already, and not allowed yet.
    waiting: Option<Frame>,
}

/// Where a body goes.
pub(super) enum Sink {
    Http2(SendStream),
    Http1(Encoder),
    /// There is no body; the stream, if it is one of HTTP/2, can still be reset.
    None(Option<SendStream>),
}

/// Why a body stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The source was reset, with this code, or ended in the middle.
    Source(Option<Reason>),
    /// The other side takes no more.
    Sink(Option<Reason>),
    /// The body is not framed as it says, or cannot be said in the other version.
    Malformed,
    /// It has not: there are trailers, which filters are to see.
    Trailers,
}

// === impl Bridge ===

impl Default for Bridge {
    /// One that goes nowhere yet.
    fn default() -> Self {
        Self::new(Sink::None(None))
    }
}

impl Bridge {
    /// A body that goes to `sink`.
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            done: matches!(sink, Sink::None(_)),
            sink,
            held: None,
            held_is_released: false,
            owed: 0,
            given: false,
            stopped: None,
            moved: 0,
            grpc_status: None,
            replay: Replay::default(),
            filtered: None,
        }
    }

    /// Keeps what is sent, so many bytes of payload at most, so that it can be sent again.
    pub(super) fn keep_for_replay(&mut self, most: u32) {
        self.replay.kept.get_or_insert_default();
        self.replay.most = most;
    }

    /// Whether the body has become larger than what is kept.
    pub(super) fn has_outgrown(&self) -> bool {
        self.replay.most > 0 && self.replay.kept.is_none()
    }

    /// Begins again, towards another sink. Only if [`Bridge::can_rewind`].
    pub(super) fn rewind(&mut self, sink: Sink) {
        let mut replay = std::mem::take(&mut self.replay);
        replay.next = 0;
        *self = Self {
            replay,
            filtered: self.filtered.take(),
            ..Self::new(sink)
        };
    }

    /// Whether it can begin again.
    pub(super) fn can_rewind(&self) -> bool {
        self.replay.kept.is_some() || (self.moved == 0 && self.held.is_none())
    }

    /// All of the body, if it was kept and the sink has been given it.
    pub(super) fn kept(&self) -> Option<Vec<Frame>> {
        let kept = self.replay.kept.clone();
        kept.filter(|_| self.is_sent())
    }

    /// Whether the sink has been given the whole body.
    pub(super) fn is_sent(&self) -> bool {
        self.given || matches!(self.sink, Sink::None(_))
    }

    /// Whether nothing of a body was ever read.
    pub(super) fn is_untouched(&self) -> bool {
        let is_end = |frame: &Frame| matches!(frame, Frame::Data(data, _) if data.is_empty());
        let kept = self.replay.kept.iter().flatten();
        self.moved == 0 && kept.chain(&self.held).all(is_end)
    }

    /// Whether some of it, be it the head, may have reached the other side.
    pub(super) fn has_left(&self) -> bool {
        match &self.sink {
            Sink::Http1(encoder) => encoder.has_left(),
            Sink::Http2(_) | Sink::None(_) => true,
        }
    }

    /// Whether the sink has everything, or takes no more.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// What becomes of the rest no longer matters.
    pub(super) fn abandon(&mut self) {
        self.done = true;
    }

    /// Lets go of the sink: a stream that has not ended is reset.
    pub(super) fn let_go(&mut self) {
        self.sink = Sink::None(None);
    }

    /// The sink's HTTP/2 stream.
    pub(super) fn http2_sink(&mut self) -> Option<&mut SendStream> {
        match &mut self.sink {
            Sink::Http2(stream) | Sink::None(Some(stream)) => Some(stream),
            Sink::Http1(_) | Sink::None(None) => None,
        }
    }

    /// Ready when the sink has everything.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source,
        mut from: Option<Wire<'_>>,
        mut to: Option<&mut Connection>,
    ) -> Poll<Result<(), Stop>> {
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            if self.given {
                ready!(self.poll_flush(cx, source, &mut to))?;
                self.done = true;
                if let Sink::Http1(encoder) = &mut self.sink {
                    encoder.release();
                }
                continue;
            }
            if let Some(stop) = self.stopped {
                ready!(self.poll_flush(cx, source, &mut to))?;
                return Poll::Ready(Err(stop));
            }
            let Some(frame) = self.held.take() else {
                match self.poll_next(cx, source, &mut from) {
                    Poll::Ready(Ok(frame)) => self.held = Some(frame),
                    Poll::Ready(Err(stop)) => self.stopped = Some(stop),
                    Poll::Pending => {
                        ready!(self.poll_flush(cx, source, &mut to))?;
                        return Poll::Pending;
                    }
                }
                continue;
            };
            if matches!(&frame, Frame::Trailers(_))
                && let Some(filtered) = &mut self.filtered
                && std::mem::take(&mut filtered.shows_trailers)
            {
                self.held = Some(frame);
                return Poll::Ready(Err(Stop::Trailers));
            }
            if let Frame::Trailers(trailers) = &frame {
                let status = trailers.get("grpc-status");
                self.grpc_status = status.and_then(|status| GrpcStatus::parse(status.as_bytes()));
            }
            match &mut self.sink {
                Sink::None(_) => {}
                Sink::Http2(_) => ready!(self.poll_give_http2(cx, source, frame))?,
                Sink::Http1(encoder) if encoder.is_full() => {
                    self.held = Some(frame);
                    ready!(self.poll_flush(cx, source, &mut to))?;
                }
                Sink::Http1(_) => self.give_http1(frame),
            }
        }
    }

    /// Has trailers shown before they are given: [`Stop::Trailers`].
    pub(super) fn show_trailers(&mut self) {
        self.filtered.get_or_insert_default().shows_trailers = true;
    }

    /// The trailers that are about to be given.
    pub(super) fn trailers(&mut self) -> Option<&mut HeaderMap> {
        match &mut self.held {
            Some(Frame::Trailers(trailers)) => Some(trailers),
            _ => None,
        }
    }

    /// So many bytes of payload may be given from now on.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.filtered.get_or_insert_default().allowance = Some(bytes);
    }

    /// As much of a frame as may be given now; the rest waits.
    fn allowed(&mut self, frame: Frame) -> Frame {
        let (Some(filtered), Frame::Data(data, end)) = (&mut self.filtered, &frame) else {
            return frame;
        };
        let Some(most) = filtered.allowance else {
            return frame;
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let length = data.len().min(most);
        filtered.allowance = Some((most - length) as u64);
        if length == data.len() {
            return frame;
        }
        filtered.waiting = Some(Frame::Data(data.slice(length..), *end));
        Frame::Data(data.slice(..length), false)
    }

    /// The next frame: one of an earlier attempt, else a new one.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source,
        from: &mut Option<Wire<'_>>,
    ) -> Poll<Result<Frame, Stop>> {
        if let Some(filtered) = &mut self.filtered {
            if filtered.allowance == Some(0) {
                return Poll::Pending;
            }
            if let Some(frame) = filtered.waiting.take() {
                return Poll::Ready(Ok(self.allowed(frame)));
            }
        }
        if let Some(frame) = self.replay.next() {
            self.held_is_released = true;
            return Poll::Ready(Ok(frame));
        }
        let frame = ready!(source.poll_frame(cx, from))?;
        // What is kept has found its place; it is bounded.
        self.held_is_released = self.replay.keep(&frame);
        if let Frame::Data(data, _) = &frame
            && self.held_is_released
        {
            source.release(data.len());
        }
        Poll::Ready(Ok(self.allowed(frame)))
    }

    /// Gives as much of a frame to the stream as it takes, and holds the rest.
    fn poll_give_http2(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source,
        frame: Frame,
    ) -> Poll<Result<(), Stop>> {
        let Sink::Http2(stream) = &mut self.sink else {
            return Poll::Ready(Ok(()));
        };
        let (mut data, end) = match frame {
            Frame::Data(data, end) => (data, end),
            Frame::Trailers(trailers) => {
                self.given = true;
                let sent = stream.send_trailers(*trailers);
                return Poll::Ready(sent.map_err(|error| {
                    match error.is_io() || error.is_remote() {
                        true => Stop::Sink(None),
                        false => Stop::Malformed,
                    }
                }));
            }
        };
        if !data.is_empty() {
            match poll_room(cx, stream, data.len()) {
                Poll::Ready(room) => {
                    let rest = data.split_off(room?.min(data.len()));
                    self.held = (!rest.is_empty()).then_some(Frame::Data(rest, end));
                }
                Poll::Pending => {
                    self.held = Some(Frame::Data(data, end));
                    return Poll::Pending;
                }
            }
        }
        let taken = data.len();
        self.given = end && self.held.is_none();
        if taken > 0 || self.given {
            let sent = stream.send_data(data, self.given);
            sent.map_err(|_| Stop::Sink(None))?;
        }
        self.moved += taken as u64;
        if !self.held_is_released {
            source.release(taken);
        }
        Poll::Ready(Ok(()))
    }

    fn give_http1(&mut self, frame: Frame) {
        let Sink::Http1(encoder) = &mut self.sink else {
            return;
        };
        match frame {
            Frame::Data(data, end) => {
                self.moved += data.len() as u64;
                if !self.held_is_released {
                    self.owed += data.len();
                }
                encoder.data(&data);
                self.given = end;
                if end {
                    encoder.end(None);
                }
            }
            Frame::Trailers(trailers) => {
                encoder.end(Some(&trailers));
                self.given = true;
            }
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Source,
        to: &mut Option<&mut Connection>,
    ) -> Poll<Result<(), Stop>> {
        if let (Sink::Http1(encoder), Some(to)) = (&mut self.sink, to) {
            let written = ready!(encoder.poll_write(cx, to));
            written.map_err(|_| Stop::Sink(None))?;
            source.release(std::mem::take(&mut self.owed));
        }
        Poll::Ready(Ok(()))
    }
}

/// How much of `length` bytes the stream takes now.
fn poll_room(
    cx: &mut Context<'_>,
    stream: &mut SendStream,
    length: usize,
) -> Poll<Result<usize, Stop>> {
    stream.reserve_capacity(length);
    let room = stream.capacity();
    if room > 0 {
        return Poll::Ready(Ok(room));
    }
    match ready!(stream.poll_capacity(cx)) {
        Some(Ok(room)) => Poll::Ready(Ok(room)),
        Some(Err(error)) => Poll::Ready(Err(Stop::Sink(error.reason()))),
        None => Poll::Ready(Err(Stop::Sink(None))),
    }
}
