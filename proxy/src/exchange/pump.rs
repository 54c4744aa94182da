//! Moves one message from a connection to another: a head that is ready, then a body as it comes.

use std::{
    cell::OnceCell,
    io,
    task::{Context, Poll, ready},
};

use super::bridge::Stop;
use crate::{
    buffer::Buffer,
    http::codec::h1::body::Body,
    net::relay::{Broken, Pipe},
    net::transport_socket::Connection,
};

/// A body of which this much is still to come is spliced.
const SPLICE_FROM: u64 = 64 * 1024;

/// A message on its way.
pub(super) struct Pump {
    /// The head, and behind it what was kept of the body from an earlier attempt.
    head: Vec<u8>,
    head_length: usize,
    head_written: usize,
    body: Body,
    /// Bytes at the front of the source's buffer that belong to the body.
    ready: usize,
    /// Bytes of head and body that were written.
    pub(super) moved: u64,
    /// What has left of the body, if it may be asked for again.
    kept: Option<Vec<u8>>,
    /// Bytes of it that may be kept.
    keeps: u32,
    /// Something of the body has left and was not kept.
    lost: bool,
    /// What follows of the body is malformed.
    broken: bool,
    /// What becomes of the rest no longer matters.
    abandoned: bool,
    /// What came before that leaves first: a response is cut short, a request is refused.
    leaves_in_part: bool,
    /// Moves what need not be seen within the kernel. Asked for once.
    pipe: OnceCell<Option<Pipe>>,
}

// === impl Pump ===

impl Pump {
    /// A request on its way to the endpoint.
    pub(super) fn request(head: Vec<u8>, body: Body) -> Self {
        Self::new(head, body, false)
    }

    /// A response on its way to the client.
    pub(super) fn response(head: Vec<u8>, body: Body) -> Self {
        Self::new(head, body, true)
    }

    fn new(head: Vec<u8>, body: Body, leaves_in_part: bool) -> Self {
        Self {
            head_length: head.len(),
            head,
            head_written: 0,
            body,
            ready: 0,
            moved: 0,
            kept: None,
            keeps: 0,
            lost: false,
            broken: false,
            abandoned: false,
            leaves_in_part,
            pipe: OnceCell::new(),
        }
    }

    /// Keeps so many bytes of the body at most, for [`Self::rewind`].
    pub(super) fn keep_body(&mut self, most: u32) {
        self.kept = Some(Vec::new());
        self.keeps = most;
    }

    /// Whether the body has become larger than what is kept.
    pub(super) fn has_outgrown(&self) -> bool {
        self.keeps > 0 && self.kept.is_none()
    }

    /// Whether the message can be sent from its beginning again.
    pub(super) fn can_rewind(&self) -> bool {
        !self.lost
    }

    /// Starts over, with a head of its own. The memory of the last one is in `take_head`.
    pub(super) fn rewind(&mut self, head: Vec<u8>) {
        self.head = head;
        self.head_length = self.head.len();
        self.head
            .extend_from_slice(self.kept.as_deref().unwrap_or_default());
        self.head_written = 0;
        self.moved = 0;
        self.abandoned = false;
    }

    /// The memory of the head, empty.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        head
    }

    /// Drops what has been read of the body. True if that is all of it, so that the next message
    /// stands at the front of the source's buffer.
    pub(super) fn drop_body(&mut self, buffer: &mut Buffer) -> bool {
        if self.body.has_ended() {
            buffer.consume(std::mem::take(&mut self.ready));
        }
        self.body.has_ended()
    }

    /// What becomes of the rest no longer matters.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Whether there is nothing more to be done.
    pub(super) fn is_done(&self) -> bool {
        self.abandoned || self.is_sent()
    }

    /// Bytes of the body, without its framing.
    pub(super) fn payload(&self) -> u64 {
        self.body.payload()
    }

    /// Whether everything has been written.
    pub(super) fn is_sent(&self) -> bool {
        self.head_written == self.head.len() && self.ready == 0 && self.body.has_ended()
    }

    /// Whether the source has been read to the message's end.
    pub(super) fn has_read_all(&self) -> bool {
        self.body.has_ended()
    }

    /// The head, as it is written.
    pub(super) fn head(&self) -> &[u8] {
        &self.head[..self.head_length]
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        buffer: &mut Buffer,
        to: &mut Connection,
    ) -> Poll<Result<(), Stop>> {
        loop {
            if buffer.len() > self.ready && !self.body.has_ended() && !self.broken {
                let part = self.body.advance(&mut buffer.filled_mut()[self.ready..]);
                buffer.cut(self.ready + part.kept, part.taken - part.kept);
                self.ready += part.kept;
                self.broken = part.malformed;
                if self.broken && !self.leaves_in_part {
                    return Poll::Ready(Err(Stop::Malformed));
                }
            }
            if self.head_written < self.head.len() || self.ready > 0 {
                let written = ready!(self.poll_write(cx, buffer, to));
                self.account(written.map_err(|_| Stop::Sink(None))?, buffer);
                continue;
            }
            if self.broken {
                return Poll::Ready(Err(Stop::Malformed));
            }
            if self.body.has_ended() {
                return Poll::Ready(Ok(()));
            }
            if self.can_splice(from, buffer, to) {
                buffer.release();
                match ready!(self.poll_splice(cx, from, to))? {
                    0 if self.body.end() => {}
                    0 => return Poll::Ready(Err(Stop::Source(None))),
                    taken => self.body.pass(taken as u64),
                }
                continue;
            }
            match ready!(from.poll_read(cx, buffer)) {
                Ok(0) if self.body.end() => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Stop::Source(None))),
                Ok(_) => {}
            }
        }
    }

    /// Writes head and body together where both are there: one segment, one system call.
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        buffer: &Buffer,
        to: &mut Connection,
    ) -> Poll<io::Result<usize>> {
        let (head, body) = (
            &self.head[self.head_written..],
            &buffer.filled()[..self.ready],
        );
        match (head.is_empty(), body.is_empty()) {
            (true, _) => to.poll_write(cx, body),
            (false, true) => to.poll_write(cx, head),
            (false, false) => to.poll_write_two(cx, head, body),
        }
    }

    /// Whether enough is to come of a body that need not be seen for it to be worth a pipe. It
    /// stays with the pipe then, which may hold a part.
    fn can_splice(&mut self, from: &Connection, buffer: &Buffer, to: &Connection) -> bool {
        if self.pipe.get().is_none() {
            let worth = self.kept.is_none() && self.body.opaque() >= SPLICE_FROM;
            let worth = worth && !buffer.is_tight();
            if worth && from.as_raw().is_some() && to.as_raw().is_some() {
                self.pipe.get_or_init(Pipe::new);
            }
        }
        matches!(self.pipe.get(), Some(Some(_)))
    }

    /// Moves a part of the body within the kernel. 0 is the end of the source.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
    ) -> Poll<Result<usize, Stop>> {
        let sockets = (from.as_raw(), to.as_raw());
        let (Some(Some(pipe)), (Some(source), Some(sink))) = (self.pipe.get_mut(), sockets) else {
            return Poll::Ready(Err(Stop::Sink(None)));
        };
        let (most, before) = (self.body.opaque(), self.moved);
        let moved = pipe.poll_move(cx, (source, sink), most, &mut self.moved);
        to.note_sent(usize::try_from(self.moved - before).unwrap_or(usize::MAX));
        if let Poll::Ready(Ok(taken)) = moved {
            from.note_received(taken);
        }
        self.lost |= self.moved > before || !pipe.is_empty();
        moved.map_err(|broken| match broken {
            Broken::Source(_) => Stop::Source(None),
            Broken::Sink(_) => Stop::Sink(None),
        })
    }

    fn account(&mut self, written: usize, buffer: &mut Buffer) {
        let of_head = written.min(self.head.len() - self.head_written);
        self.head_written += of_head;
        let of_body = written - of_head;
        if of_body > 0 {
            self.keep(&buffer.filled()[..of_body]);
        }
        self.ready -= of_body;
        buffer.consume(of_body);
        self.moved += written as u64;
    }

    fn keep(&mut self, part: &[u8]) {
        match &mut self.kept {
            Some(kept) if kept.len() + part.len() <= self.keeps as usize => {
                kept.extend_from_slice(part);
            }
            _ => {
                self.kept = None;
                self.lost = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::codec::h1::body::Framing;

    #[test]
    fn a_message_that_begins_again_is_not_abandoned_any_more() {
        let mut pump = Pump::request(b"head".to_vec(), Body::new(Framing::Length(5)));
        pump.keep_body(5);
        assert!(!pump.is_done());
        // The endpoint took no more, and another is to have all of it.
        pump.abandon();
        assert!(pump.is_done() && pump.can_rewind());
        pump.rewind(b"head".to_vec());
        assert!(!pump.is_done() && !pump.is_sent());
    }
}
