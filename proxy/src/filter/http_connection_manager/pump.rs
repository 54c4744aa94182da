//! Moves one message from a connection to another: a head that is ready, then a body as it comes.

use std::{
    io,
    task::{Context, Poll, ready},
};

use crate::{buffer::Buffer, http::h1::body::Body, transport_socket::Connection};

/// A message on its way.
pub(super) struct Pump {
    head: Vec<u8>,
    head_written: usize,
    body: Body,
    /// Bytes at the front of the source's buffer that belong to the body.
    ready: usize,
    /// Bytes of head and body that were written.
    pub(super) moved: u64,
}

/// Why a message stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PumpError {
    /// The source ended or failed in the middle of the body.
    Source,
    /// The other side takes no more.
    Sink,
    /// The body is not framed as it says.
    Malformed,
}

// === impl Pump ===

impl Pump {
    pub(super) fn new(head: Vec<u8>, body: Body) -> Self {
        Self {
            head,
            head_written: 0,
            body,
            ready: 0,
            moved: 0,
        }
    }

    /// Whether everything has been written.
    pub(super) fn is_done(&self) -> bool {
        self.head_written == self.head.len() && self.ready == 0 && self.body.has_ended()
    }

    /// Whether the source has been read to the message's end.
    pub(super) fn has_read_all(&self) -> bool {
        self.body.has_ended()
    }

    /// Whether nothing of the body has been taken from the source's buffer.
    pub(super) fn body_is_untouched(&self) -> bool {
        self.moved <= self.head.len() as u64
    }

    /// The head, as it is written.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Gives the head's memory back.
    pub(super) fn into_head(mut self) -> Vec<u8> {
        self.head.clear();
        self.head
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        buffer: &mut Buffer,
        to: &mut Connection,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            if buffer.len() > self.ready && !self.body.has_ended() {
                let more = self.body.advance(&buffer.filled()[self.ready..]);
                self.ready += more.map_err(|_| PumpError::Malformed)?;
            }
            if self.head_written < self.head.len() || self.ready > 0 {
                let written = ready!(self.poll_write(cx, buffer, to));
                self.account(written.map_err(|_| PumpError::Sink)?, buffer);
                continue;
            }
            if self.body.has_ended() {
                return Poll::Ready(Ok(()));
            }
            match ready!(from.poll_read(cx, buffer)) {
                Ok(0) if self.body.end() => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(PumpError::Source)),
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

    fn account(&mut self, written: usize, buffer: &mut Buffer) {
        let of_head = written.min(self.head.len() - self.head_written);
        self.head_written += of_head;
        self.ready -= written - of_head;
        buffer.consume(written - of_head);
        self.moved += written as u64;
    }
}
