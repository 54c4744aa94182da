//! A stream: what came and was not taken, and what was given and could not be sent.

use std::{collections::VecDeque, task::Waker};

use bytes::Bytes;
use http::{HeaderMap, response};

use super::Error;

/// A stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Handles to it.
    pub(super) handles: u32,
    /// Neither side has anything to say any more.
    pub(super) is_closed: bool,
    pub(super) is_by_peer: bool,
    /// The answer to the request has no body, whatever its head says (RFC 9110 section 9.3.2).
    pub(super) is_head: bool,
    pub(super) received: Received,
    pub(super) sending: Sending,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Bytes that may still come; may be negative (RFC 9113 section 6.9.2).
    pub(super) window: i64,
    /// Bytes that were taken, and which the peer has not been told of.
    pub(super) released: u32,
    /// Bytes that came and have not been released.
    pub(super) held: u32,
    /// Bytes that heads and trailers of the request have of what the connection may hold.
    pub(super) of_head: usize,
    /// What 1xx responses came to: together they may have as much as a head, so that there are not any
    /// number of them.
    pub(super) informed: usize,
    pub(super) informational: VecDeque<response::Parts>,
    pub(super) head: Option<response::Parts>,
    /// The head of the message has come.
    pub(super) has_head: bool,
    pub(super) data: VecDeque<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// Bytes of the body that have to come, if its head says so.
    pub(super) length_left: Option<u64>,
    /// How it ended, which is told once all else has been taken.
    pub(super) end: Option<Result<(), Error>>,
    pub(super) waker: Option<Waker>,
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Bytes that the peer takes; may be negative (RFC 9113 section 6.9.2).
    pub(super) window: i64,
    /// Of the connection's window and of the output's room: what is kept for this stream.
    pub(super) assigned: usize,
    /// Bytes for which room is wanted.
    pub(super) wanted: usize,
    /// It is in the queue of those that want room.
    pub(super) is_waiting: bool,
    /// Was given, and has no room yet.
    pub(super) pending: VecDeque<Bytes>,
    pub(super) pending_bytes: usize,
    /// What comes behind `pending`.
    pub(super) end: Option<End>,
    /// The head has been sent.
    pub(super) has_head: bool,
    /// END_STREAM has been sent.
    pub(super) is_ended: bool,
    /// The peer takes no more, for this reason.
    pub(super) stopped: Option<Error>,
    pub(super) waker: Option<Waker>,
}

/// The end of a message.
#[derive(Debug)]
pub(super) enum End {
    Plain,
    Trailers(HeaderMap),
}

// === impl Stream ===

impl Stream {
    /// Makes a stream of what another has left, whose memory it uses.
    pub(super) fn renew(&mut self, id: u32, recv_window: i64, send_window: i64) {
        let (mut data, mut pending) = (
            std::mem::take(&mut self.received.data),
            std::mem::take(&mut self.sending.pending),
        );
        data.clear();
        pending.clear();
        *self = Self {
            id,
            received: Received {
                window: recv_window,
                data,
                ..Received::default()
            },
            sending: Sending {
                window: send_window,
                pending,
                ..Sending::default()
            },
            ..Self::default()
        };
    }

    /// Wakes whoever waits for something of the stream.
    pub(super) fn wake(&mut self) {
        self.received.wake();
        self.sending.wake();
    }
}

// === impl Received ===

impl Received {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether nothing is left, not even an end.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.end, Some(Ok(()))) && self.data.is_empty() && self.trailers.is_none()
    }

    /// Throws away what nobody will take. Says how many bytes.
    pub(super) fn clear(&mut self) -> u32 {
        self.data.clear();
        self.trailers = None;
        self.head = None;
        self.informational.clear();
        std::mem::take(&mut self.held)
    }
}

// === impl Sending ===

impl Sending {
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Bytes that can be sent at once.
    pub(super) fn room(&self) -> usize {
        let window = usize::try_from(self.window).unwrap_or_default();
        self.assigned.min(window)
    }

    /// Bytes that may be given now.
    pub(super) fn capacity(&self) -> usize {
        self.room().saturating_sub(self.pending_bytes)
    }

    /// Everything has been given.
    pub(super) fn is_complete(&self) -> bool {
        self.is_ended || self.end.is_some()
    }
}

/// Remembers who is to be woken, once.
pub(super) fn remember(place: &mut Option<Waker>, waker: &Waker) {
    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}
