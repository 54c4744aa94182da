//! Frames that come.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Error, Reason, Side,
    core::{Core, Role, calm},
    floods::Idle,
    frame::{self, FrameHead, number},
    settings::MAX_WINDOW,
    store::{Key, Over},
};

pub(super) use super::header_block::HeaderBlock;

/// Payloads below this size are copied: what waits for long must not hold much more than itself.
const SMALL: usize = 4096;

impl Core {
    /// Takes in all frames that are whole, and leaves the rest.
    pub(super) fn receive(&mut self, input: &mut BytesMut) {
        if !self.preface.is_empty() {
            let length = self.preface.len().min(input.len());
            let (come, to_come) = self.preface.split_at(length);
            if input[..length] != *come {
                return self.fail(Reason::PROTOCOL_ERROR);
            }
            self.preface = to_come;
            input.advance(length);
        }
        while self.end.is_none()
            && let Some(head) = FrameHead::read(input)
        {
            if head.length > frame::MAX_PAYLOAD {
                return self.fail(Reason::FRAME_SIZE_ERROR);
            }
            if input.len() < frame::HEAD + head.length {
                return;
            }
            let taken = if head.kind == frame::DATA && self.block.is_none() {
                input.advance(frame::HEAD);
                self.data(head, input)
            } else {
                let payload = &input[frame::HEAD..frame::HEAD + head.length];
                let taken = self.frame(head, payload);
                input.advance(frame::HEAD + head.length);
                taken
            };
            if let Err(reason) = taken {
                return self.fail(reason);
            }
        }
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        let is_continued = head.kind == frame::CONTINUATION;
        match &self.block {
            Some(block) if !is_continued || block.stream != head.stream => {
                return Err(Reason::PROTOCOL_ERROR);
            }
            None if is_continued => return Err(Reason::PROTOCOL_ERROR),
            _ => {}
        }
        // RFC 9113 section 3.4: settings come first.
        if !self.peer.are_known && head.kind != frame::SETTINGS {
            return Err(Reason::PROTOCOL_ERROR);
        }
        match head.kind {
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::PRIORITY => self.priority(head, payload),
            frame::RST_STREAM => self.rst_stream(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            // Nobody has been allowed to push.
            frame::PUSH_PROMISE => Err(Reason::PROTOCOL_ERROR),
            frame::PING => self.ping(head, payload),
            frame::GOAWAY => self.goaway(head, payload),
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            _ => self.spend(Idle::Ignored),
        }
    }

    /// Whether nobody has opened the stream yet.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        let is_ours = (id % 2 == 1) == (self.role == Role::Client);
        match is_ours {
            true => id >= self.next,
            false => id > self.last_by_peer,
        }
    }

    fn data(&mut self, head: FrameHead, input: &mut BytesMut) -> Result<(), Reason> {
        let length = head.length;
        if !self.peer.are_known || head.stream == 0 || self.is_idle(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let mut padding = 0;
        if head.has(frame::PADDED) {
            padding = 1 + usize::from(
                *input
                    .first()
                    .filter(|_| length > 0)
                    .ok_or(Reason::FRAME_SIZE_ERROR)?,
            );
            if padding > length {
                return Err(Reason::PROTOCOL_ERROR);
            }
        }
        self.recv_window -= length as i64;
        if self.recv_window < 0 {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let end = head.has(frame::END_STREAM);
        let open = self.store.find(head.stream);
        let Some(key) = open.filter(|key| self.store[*key].received.end.is_none()) else {
            input.advance(length);
            self.release_connection(length as u32);
            return self.late(head.stream);
        };
        let received = &mut self.store[key].received;
        received.window -= length as i64;
        let body = length - padding;
        let is_too_much = received.window < 0;
        let is_misplaced = !received.has_head;
        let left = received
            .length_left
            .map(|left| left.checked_sub(body as u64));
        let is_wrong_length = match left {
            Some(None) => true,
            Some(Some(left)) => end && left > 0,
            None => false,
        };
        if is_too_much || is_misplaced || is_wrong_length {
            input.advance(length);
            self.release_connection(length as u32);
            return self.blame(
                head.stream,
                match is_too_much {
                    true => Reason::FLOW_CONTROL_ERROR,
                    false => Reason::PROTOCOL_ERROR,
                },
            );
        }
        received.length_left = left.flatten();
        received.held += length as u32;
        input.advance(padding.min(1));
        let payload = take(input, body);
        input.advance(padding.saturating_sub(1));
        self.release(key, padding as u32);
        calm(self.floods.content(body == 0 && !end))?;
        if body == 0 && !end {
            return Ok(());
        }
        self.floods.work();
        let received = &mut self.store[key].received;
        if body > 0 {
            received.data.push_back(payload);
        }
        if end {
            received.end = Some(Ok(()));
        }
        received.wake();
        if end {
            self.close_if_over(key);
        }
        Ok(())
    }

    /// Something came for a stream that is over, or on which the peer has said all.
    pub(super) fn late(&mut self, id: u32) -> Result<(), Reason> {
        let is_known = self.store.find(id).is_some();
        match self.store.how_over(id) {
            // It was under way when we reset the stream.
            Some(Over::ByUs) if !is_known => self.spend(Idle::Blame),
            _ => {
                self.blame(id, Reason::STREAM_CLOSED)?;
                if !is_known {
                    self.store.remember(id);
                }
                Ok(())
            }
        }
    }

    fn priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        let is_itself = number(payload) & (u32::MAX >> 1) == head.stream;
        let wrong = match payload.len() {
            _ if head.stream == 0 => return Err(Reason::PROTOCOL_ERROR),
            5 if !is_itself => return calm(self.floods.priority()),
            5 => Reason::PROTOCOL_ERROR,
            _ => Reason::FRAME_SIZE_ERROR,
        };
        match self.store.find(head.stream) {
            Some(_) => self.blame(head.stream, wrong),
            None => Err(wrong),
        }
    }

    fn rst_stream(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if payload.len() != 4 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        self.counts.rx_reset += 1;
        let Some(key) = self.store.find(head.stream) else {
            return self.spend(Idle::Ignored);
        };
        let error = Error::Reset(number(payload).into(), Side::Theirs);
        self.stop(key, error, Over::ByPeer);
        match self.role {
            Role::Server => calm(self.floods.reset()),
            Role::Client => Ok(()),
        }
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if head.has(frame::ACK) {
            return match (payload.is_empty(), self.peer.are_known) {
                (true, true) => {
                    self.acknowledged();
                    self.spend(Idle::Settings)
                }
                (true, false) => Err(Reason::PROTOCOL_ERROR),
                (false, _) => Err(Reason::FRAME_SIZE_ERROR),
            };
        }
        let before = self.peer.initial_window_size;
        self.peer.read(payload, self.role == Role::Client)?;
        if let Some(size) = self.peer.header_table_size.take() {
            self.encoder.allow(size);
        }
        let grown = i64::from(self.peer.initial_window_size) - i64::from(before);
        if grown != 0 {
            for key in self.store.keys() {
                self.widen(key, grown)?;
            }
        }
        frame::write(self.output.bytes(), frame::SETTINGS, frame::ACK, 0, &[]);
        self.spend(Idle::Settings)
    }

    /// The peer goes by our settings from now on.
    fn acknowledged(&mut self) {
        if !self.is_acknowledged {
            let before = self.recv_window_of_stream();
            self.is_acknowledged = true;
            let shrunk = before - self.recv_window_of_stream();
            for stream in self.store.open_mut() {
                stream.received.window -= shrunk;
            }
        }
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if payload.len() != 8 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if head.has(frame::ACK) {
            self.answered(payload);
        } else {
            frame::write(self.output.bytes(), frame::PING, frame::ACK, 0, payload);
        }
        self.spend(Idle::Ping)
    }

    fn goaway(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if payload.len() < 8 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let last = number(payload) & (u32::MAX >> 1);
        let error = Error::GoAway(number(&payload[4..]).into(), Side::Theirs);
        self.is_left = true;
        if self.role == Role::Client {
            for key in self.store.keys() {
                if self.store[key].id > last {
                    self.stop(key, error, Over::ByPeer);
                }
            }
        }
        self.spend(Idle::Ignored)
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if payload.len() != 4 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        let increment = i64::from(number(payload) & MAX_WINDOW);
        if head.stream == 0 {
            self.send_window += increment;
            // What streams have been assigned is still the connection's.
            let whole = self.send_window + self.assigned as i64;
            if increment == 0 {
                return Err(Reason::PROTOCOL_ERROR);
            }
            if whole > i64::from(MAX_WINDOW) {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
            self.distribute();
            return calm(self.floods.window());
        }
        if self.is_idle(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if let Some(key) = self.store.find(head.stream) {
            if increment == 0 {
                return self.blame(head.stream, Reason::PROTOCOL_ERROR);
            }
            if self.widen(key, increment).is_err() {
                return self.blame(head.stream, Reason::FLOW_CONTROL_ERROR);
            }
        }
        calm(self.floods.window())
    }

    /// The peer takes more, or less, of a stream.
    fn widen(&mut self, key: Key, by: i64) -> Result<(), Reason> {
        let sending = &mut self.store[key].sending;
        sending.window += by;
        if sending.window > i64::from(MAX_WINDOW) {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        self.want_more(key);
        Ok(())
    }
}

/// Takes payload out of what was read, without a copy if it is large.
fn take(input: &mut BytesMut, length: usize) -> Bytes {
    if length < SMALL {
        let payload = Bytes::copy_from_slice(&input[..length]);
        input.advance(length);
        payload
    } else {
        input.split_to(length).freeze()
    }
}
