//! A message on its way from one connection to another, whatever versions of HTTP they speak.

use std::task::{Context, Poll};

use http::HeaderMap;

use super::{
    bridge::{Bridge, Frame, Sink, Source, Stop},
    pump::Pump,
};
use crate::{
    buffer::Buffer, http::codec::h2::SendStream, info::GrpcStatus,
    net::transport_socket::Connection,
};

/// The HTTP/1 connection a body is read from.
pub(crate) type Wire<'w> = (&'w mut Connection, &'w mut Buffer);

/// Moves a message.
pub(super) enum Transfer {
    /// Between two HTTP/1 connections that frame it alike: bytes as they come, spliced where they
    /// are many.
    Raw(Pump),
    /// Payload and trailers, framed as each side wants them.
    Framed(Bridge, Source),
}

// === impl Transfer ===

impl Transfer {
    /// Keeps so many bytes of the body at most, so that it can be sent again.
    pub(super) fn keep_body(&mut self, most: u32) {
        match self {
            Self::Raw(pump) => pump.keep_body(most),
            Self::Framed(bridge, _) => bridge.keep_for_replay(most),
        }
    }

    /// Whether the body has become larger than what is kept of it.
    pub(super) fn has_outgrown(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.has_outgrown(),
            Self::Framed(bridge, _) => bridge.has_outgrown(),
        }
    }

    /// Whether the message can be sent from its beginning again.
    pub(super) fn can_rewind(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.can_rewind(),
            Self::Framed(bridge, _) => bridge.can_rewind(),
        }
    }

    /// The whole body, where it was kept and all of it has come.
    pub(super) fn kept(&self) -> Option<Vec<Frame>> {
        match self {
            Self::Raw(_) => None,
            Self::Framed(bridge, _) => bridge.kept(),
        }
    }

    /// Begins, or begins again, with a head towards an HTTP/1 connection that frames bodies as the
    /// source does.
    pub(super) fn begin_raw(&mut self, head: Vec<u8>) {
        if let Self::Raw(pump) = self {
            pump.rewind(head);
        }
    }

    /// Begins, or begins again, towards a sink.
    pub(super) fn begin(&mut self, sink: Sink) {
        if let Self::Framed(bridge, _) = self {
            bridge.rewind(sink);
        }
    }

    /// The memory of the last head, empty.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        match self {
            Self::Raw(pump) => pump.take_head(),
            Self::Framed(..) => Vec::new(),
        }
    }

    /// Ready when the message has left. `from` and `to` are the connections that speak HTTP/1.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: Option<Wire<'_>>,
        to: Option<&mut Connection>,
    ) -> Poll<Result<(), Stop>> {
        match self {
            Self::Raw(pump) => match (from, to) {
                (Some((from, buffer)), Some(to)) => pump.poll(cx, from, buffer, to),
                _ => Poll::Ready(Err(Stop::Sink(None))),
            },
            Self::Framed(bridge, source) => bridge.poll(cx, source, from, to),
        }
    }

    /// Whether there is nothing more to be done for it.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.is_done(),
            Self::Framed(bridge, _) => bridge.is_done(),
        }
    }

    /// Whether the other side has been given all of it.
    pub(super) fn is_sent(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.is_sent(),
            Self::Framed(bridge, _) => bridge.is_sent(),
        }
    }

    /// Whether the source has been read to the message's end.
    pub(super) fn has_read_all(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.has_read_all(),
            Self::Framed(bridge, source) => bridge.is_sent() || source.is_read(),
        }
    }

    /// How many bytes the body has, where it was collected before it is sent.
    pub(super) fn collected_length(&self) -> Option<u64> {
        match self {
            Self::Raw(_) => None,
            Self::Framed(_, source) => source.collected_length(),
        }
    }

    /// Whether it is known to have no body.
    pub(super) fn is_bodiless(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.has_read_all() && pump.payload() == 0,
            Self::Framed(bridge, source) => source.has_ended() && bridge.is_untouched(),
        }
    }

    /// Whether some of it may have reached the other side.
    pub(super) fn has_left(&self) -> bool {
        match self {
            Self::Raw(pump) => pump.moved > 0,
            Self::Framed(bridge, _) => bridge.has_left(),
        }
    }

    /// Grows while something moves.
    pub(super) fn moved(&self) -> u64 {
        match self {
            Self::Raw(pump) => pump.moved,
            Self::Framed(bridge, _) => bridge.moved,
        }
    }

    /// Bytes of the body without its framing.
    pub(super) fn payload(&self) -> u64 {
        match self {
            Self::Raw(pump) => pump.payload(),
            Self::Framed(bridge, _) => bridge.moved,
        }
    }

    /// So many bytes of payload may be moved from now on.
    pub(super) fn allow(&mut self, bytes: u64) {
        if let Self::Framed(bridge, _) = self {
            bridge.allow(bytes);
        }
    }

    /// Has trailers shown before they are sent on: [`Stop::Trailers`].
    pub(super) fn show_trailers(&mut self) {
        if let Self::Framed(bridge, _) = self {
            bridge.show_trailers();
        }
    }

    /// The trailers that are about to be sent on.
    pub(super) fn trailers(&mut self) -> Option<&mut HeaderMap> {
        match self {
            Self::Raw(_) => None,
            Self::Framed(bridge, _) => bridge.trailers(),
        }
    }

    /// `grpc-status` of the trailers that were sent on, if they had one.
    pub(super) fn grpc_status(&self) -> Option<GrpcStatus> {
        match self {
            Self::Raw(_) => None,
            Self::Framed(bridge, _) => bridge.grpc_status,
        }
    }

    /// What becomes of the rest no longer matters.
    pub(super) fn abandon(&mut self) {
        match self {
            Self::Raw(pump) => pump.abandon(),
            Self::Framed(bridge, _) => bridge.abandon(),
        }
    }

    /// Lets go of where it went: an HTTP/2 stream that has not ended is reset.
    pub(super) fn let_go(&mut self) {
        if let Self::Framed(bridge, _) = self {
            bridge.let_go();
        }
    }

    /// The HTTP/2 stream it goes to.
    pub(super) fn http2_sink(&mut self) -> Option<&mut SendStream> {
        match self {
            Self::Raw(_) => None,
            Self::Framed(bridge, _) => bridge.http2_sink(),
        }
    }

    /// Drops what has been read of an HTTP/1 body. True if that is all of it, so that the next
    /// message stands at the front of the source's buffer.
    pub(super) fn drop_body(&mut self, from: Option<Wire<'_>>) -> bool {
        match (self, from) {
            (Self::Raw(pump), Some((_, buffer))) => pump.drop_body(buffer),
            (Self::Raw(pump), None) => pump.has_read_all(),
            (Self::Framed(_, source), _) => source.has_ended(),
        }
    }
}
