//! What is sent. Frames are written in the order in which they are given; payload waits where the
//! peer's windows or the output have no room, and what comes behind it waits with it.

use bytes::Bytes;
use http::{HeaderMap, request, response};

use super::{
    Error, Reason, Side,
    core::Core,
    frame::{self, FrameHead},
    message::{write_request, write_response, write_trailers},
    output::ROOM,
    store::{Key, Over},
    stream::End,
};
use crate::http::codec::hpack::Encoder;

/// The last stream that can be opened.
const LAST: u32 = u32::MAX >> 1;

impl Core {
    // --- heads

    /// Why no stream can be opened, if so.
    pub(super) fn refusal(&self) -> Option<Error> {
        if let Some(error) = self.end {
            return Some(error);
        }
        if self.is_left || self.next > LAST {
            return Some(Error::GoAway(Reason::NO_ERROR, Side::Theirs));
        }
        (self.store.by_us >= self.max_by_us()).then_some(Error::NoRoom)
    }

    /// Opens a stream with a request. The key comes with one handle.
    pub(super) fn open(&mut self, head: &request::Parts, end: bool) -> Result<Key, Error> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let id = self.next;
        self.next += 2;
        let send_window = i64::from(self.peer.initial_window_size);
        let windows = (self.recv_window_of_stream(), send_window);
        let key = self.store.open(id, false, windows);
        self.floods.open();
        let stream = &mut self.store[key];
        stream.handles = 1;
        stream.is_head = head.method == http::Method::HEAD;
        stream.sending.has_head = true;
        stream.sending.is_ended = end;
        self.write_section(id, end, |encoder, out| write_request(encoder, out, head));
        Ok(key)
    }

    /// Sends the head of a response.
    pub(super) fn respond(
        &mut self,
        key: Key,
        head: &response::Parts,
        end: bool,
    ) -> Result<(), Error> {
        let stream = &mut self.store[key];
        if let Some(error) = stream.sending.stopped {
            return Err(error);
        }
        let is_informational = head.status.is_informational();
        if stream.is_closed || stream.sending.has_head || (is_informational && end) {
            return Err(Error::Unsendable);
        }
        if !is_informational {
            stream.sending.has_head = true;
            stream.sending.is_ended = end;
        }
        let id = stream.id;
        self.write_section(id, end, |encoder, out| write_response(encoder, out, head));
        if end {
            self.close_if_over(key);
        }
        Ok(())
    }

    fn write_section(
        &mut self,
        stream: u32,
        end: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let out = self.output.bytes();
        let at = out.len();
        out.extend_from_slice(&[0; frame::HEAD]);
        write(&mut self.encoder, out);
        let from = at + frame::HEAD;
        let most = self.peer.max_frame_size.min(frame::MAX_PAYLOAD);
        let rest = match out.len() - from > most {
            true => out.split_off(from + most),
            false => Vec::new(),
        };
        let end_stream = if end { frame::END_STREAM } else { 0 };
        let end_headers = |is_last| if is_last { frame::END_HEADERS } else { 0 };
        let head = FrameHead {
            length: out.len() - from,
            kind: frame::HEADERS,
            flags: end_stream | end_headers(rest.is_empty()),
            stream,
        };
        out[at..from].copy_from_slice(&head.octets());
        let mut parts = rest.chunks(most).peekable();
        while let Some(part) = parts.next() {
            let flags = end_headers(parts.peek().is_none());
            frame::write(out, frame::CONTINUATION, flags, stream, part);
        }
        self.kick();
    }

    // --- bodies

    /// Sends payload: as much as there is room for at once, the rest when there is.
    pub(super) fn send(&mut self, key: Key, data: Bytes, end: bool) -> Result<(), Error> {
        self.check(key)?;
        let sending = &mut self.store[key].sending;
        let length = data.len();
        sending.wanted = sending.wanted.saturating_sub(length);
        if end {
            sending.end = Some(End::Plain);
            sending.wanted = 0;
        }
        if length > 0 {
            sending.pending_bytes += length;
            sending.pending.push_back(data);
        }
        self.want_more(key);
        Ok(())
    }

    /// Sends trailers behind what was given.
    pub(super) fn send_trailers(&mut self, key: Key, trailers: HeaderMap) -> Result<(), Error> {
        self.check(key)?;
        let sending = &mut self.store[key].sending;
        sending.end = Some(End::Trailers(trailers));
        sending.wanted = 0;
        self.want_more(key);
        Ok(())
    }

    fn check(&self, key: Key) -> Result<(), Error> {
        let stream = &self.store[key];
        if let Some(error) = stream.sending.stopped {
            return Err(error);
        }
        let sending = &stream.sending;
        match stream.is_closed || !sending.has_head || sending.is_complete() {
            true => Err(Error::Unsendable),
            false => Ok(()),
        }
    }

    /// Says how many bytes will be given.
    pub(super) fn reserve(&mut self, key: Key, bytes: usize) {
        if self.check(key).is_ok() {
            let sending = &mut self.store[key].sending;
            sending.wanted = bytes;
            let needed = sending.pending_bytes + bytes;
            if sending.assigned > needed {
                self.give_back(key);
            }
            self.want_more(key);
        }
    }

    /// Assigns what there is room for, and sends what waits.
    pub(super) fn want_more(&mut self, key: Key) {
        if !self.store[key].is_closed && self.end.is_none() {
            self.assign(key);
            self.flush(key);
        }
    }

    /// Payload is taken while less than this waits to be written.
    fn room(&self) -> usize {
        match self.config.buffer_limit.is_tight() {
            true => frame::MAX_PAYLOAD,
            false => ROOM,
        }
    }

    /// Assigns room to a stream, or has it wait where others have it.
    fn assign(&mut self, key: Key) {
        let room = self
            .room()
            .saturating_sub(self.output.len() + self.assigned);
        let window = usize::try_from(self.send_window).unwrap_or_default();
        let is_alone = self.waiting.is_empty();
        let sending = &mut self.store[key].sending;
        let of_stream = usize::try_from(sending.window).unwrap_or_default();
        let wanted = of_stream.min(sending.pending_bytes + sending.wanted);
        let missing = wanted.saturating_sub(sending.assigned);
        // A frame at a time, where others want their turn.
        let turn = if is_alone {
            missing
        } else {
            frame::MAX_PAYLOAD
        };
        let given = missing.min(room).min(window).min(turn);
        sending.assigned += given;
        self.assigned += given;
        self.send_window -= given as i64;
        if given < missing && !sending.is_waiting {
            sending.is_waiting = true;
            self.waiting.push_back(key);
        }
        if given > 0 && sending.capacity() > 0 {
            sending.wake();
        }
    }

    /// Room has come: those who wait get it, each in its turn.
    pub(super) fn distribute(&mut self) {
        // Who ends on the way gives back what it has not used, which goes to the next here.
        if std::mem::replace(&mut self.is_distributing, true) {
            return;
        }
        while self.output.len() + self.assigned < self.room()
            && self.send_window > 0
            && let Some(key) = self.waiting.pop_front()
        {
            self.store[key].sending.is_waiting = false;
            self.want_more(key);
        }
        self.is_distributing = false;
    }

    /// A stream that is over gives back what it has not used.
    pub(super) fn give_back(&mut self, key: Key) {
        let unused = std::mem::take(&mut self.store[key].sending.assigned);
        self.assigned -= unused;
        self.send_window += unused as i64;
        if unused > 0 {
            self.distribute();
        }
    }

    /// Writes of what waits as much as has been assigned, and the end behind it.
    fn flush(&mut self, key: Key) {
        let mut has_ended = false;
        loop {
            let sending = &mut self.store[key].sending;
            let room = sending.room().min(frame::MAX_PAYLOAD);
            let Some(data) = sending.pending.front_mut() else {
                break;
            };
            if room == 0 {
                return;
            }
            let length = data.len().min(room);
            let part = data.split_to(length);
            if data.is_empty() {
                sending.pending.pop_front();
            }
            sending.pending_bytes -= length;
            sending.assigned -= length;
            sending.window -= length as i64;
            let is_last = sending.pending.is_empty() && matches!(sending.end, Some(End::Plain));
            if is_last {
                sending.end = None;
                sending.is_ended = true;
                has_ended = true;
            }
            self.assigned -= length;
            let id = self.store[key].id;
            let flags = if is_last { frame::END_STREAM } else { 0 };
            frame::write(self.output.bytes(), frame::DATA, flags, id, &part);
            self.floods.sent();
            self.kick();
        }
        let stream = &mut self.store[key];
        let id = stream.id;
        match stream.sending.end.take() {
            None if has_ended => {}
            None => return,
            Some(End::Plain) => {
                stream.sending.is_ended = true;
                frame::write(self.output.bytes(), frame::DATA, frame::END_STREAM, id, &[]);
                self.floods.sent();
                self.kick();
            }
            Some(End::Trailers(trailers)) => {
                stream.sending.is_ended = true;
                self.write_section(id, true, |encoder, out| {
                    write_trailers(encoder, out, &trailers);
                });
            }
        }
        self.give_back(key);
        self.close_if_over(key);
    }

    /// Resets a stream, behind what was given before as far as the peer takes it.
    pub(super) fn reset(&mut self, key: Key, reason: Reason) {
        if self.store[key].is_closed {
            return;
        }
        // The output's room is no reason to lose anything.
        let sending = &mut self.store[key].sending;
        let of_stream = usize::try_from(sending.window).unwrap_or_default();
        let of_connection = usize::try_from(self.send_window).unwrap_or_default();
        let wanted = of_stream.min(sending.pending_bytes);
        let missing = wanted.saturating_sub(sending.assigned).min(of_connection);
        sending.assigned += missing;
        self.assigned += missing;
        self.send_window -= missing as i64;
        self.flush(key);
        let stream = &self.store[key];
        if stream.is_closed {
            return;
        }
        frame::write_reset(self.output.bytes(), stream.id, reason);
        self.counts.tx_reset += 1;
        self.stop(key, Error::Reset(reason, Side::Ours), Over::ByUs);
        self.kick();
    }
}
