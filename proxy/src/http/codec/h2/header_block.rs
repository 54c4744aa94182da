//! Field sections as they come: in HEADERS and any number of CONTINUATION frames. What is bounded
//! are their bytes, and frames that bring none.

use super::{
    Reason,
    core::{Core, Leaving, Role, calm},
    floods::Idle,
    frame::{self, FrameHead, number},
    heads::SMALL,
    message::Section,
    store::{Key, Over},
};

/// Octets that a section may have beyond twice the size that is taken: it is read to its end as
/// long as it has one, since the sections behind it depend on it.
const BEYOND: usize = 256 * 1024;

/// A field section on its way.
#[derive(Debug)]
pub(super) struct HeaderBlock {
    pub(super) stream: u32,
    whose: Whose,
    ends_stream: bool,
    section: Section,
    /// The beginning of a field.
    rest: Vec<u8>,
    octets: usize,
    /// Its part of what the connection may hold, while more is to come.
    held: usize,
}

/// What a field section belongs to.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Request,
    Response(Key),
    Trailers(Key),
    /// Nobody, and this is said of it.
    Nobody(Option<Reason>),
}

impl Core {
    pub(super) fn headers(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        if head.stream == 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        calm(self.floods.content(false))?;
        let mut fragment = payload;
        if head.has(frame::PADDED) {
            let (padding, rest) = fragment.split_first().ok_or(Reason::FRAME_SIZE_ERROR)?;
            let length = rest.len().checked_sub(usize::from(*padding));
            fragment = &rest[..length.ok_or(Reason::PROTOCOL_ERROR)?];
        }
        let mut whose = self.whose(head.stream)?;
        if head.has(frame::WITH_PRIORITY) {
            let rest = fragment.get(5..).ok_or(Reason::FRAME_SIZE_ERROR)?;
            if number(fragment) & (u32::MAX >> 1) == head.stream {
                whose = Whose::Nobody(Some(Reason::PROTOCOL_ERROR));
            }
            fragment = rest;
        }
        let block = HeaderBlock {
            stream: head.stream,
            whose,
            ends_stream: head.has(frame::END_STREAM),
            section: Section::new(self.most_of_section()),
            rest: Vec::new(),
            octets: 0,
            held: 0,
        };
        self.fragment(block, fragment, head.has(frame::END_HEADERS))
    }

    pub(super) fn continuation(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Reason> {
        let mut block = self.block.take().ok_or(Reason::PROTOCOL_ERROR)?;
        self.heads.give_back(std::mem::take(&mut block.held));
        block.section.tighten(self.most_of_section());
        let is_last = head.has(frame::END_HEADERS);
        calm(self.floods.content(payload.is_empty() && !is_last))?;
        self.fragment(*block, payload, is_last)
    }

    /// Bytes that a field section may come to.
    fn most_of_section(&self) -> usize {
        let most = usize::try_from(self.config.max_header_list_size).unwrap_or(usize::MAX);
        match self.role {
            Role::Client => most,
            Role::Server => most.min(self.heads.room()),
        }
    }

    /// What a section on this stream is.
    fn whose(&mut self, id: u32) -> Result<Whose, Reason> {
        if let Some(key) = self.store.find(id) {
            let received = &self.store[key].received;
            return Ok(match (&received.end, received.has_head) {
                (Some(_), _) => Whose::Nobody(Some(Reason::STREAM_CLOSED)),
                (None, true) => Whose::Trailers(key),
                (None, false) => Whose::Response(key),
            });
        }
        let is_new = self.role == Role::Server && id % 2 == 1 && id > self.last_by_peer;
        if !is_new {
            return match self.store.how_over(id) {
                // It was under way when we reset the stream.
                Some(Over::ByUs) => Ok(Whose::Nobody(None)),
                Some(Over::ByPeer) => Err(Reason::STREAM_CLOSED),
                None => Err(Reason::PROTOCOL_ERROR),
            };
        }
        self.last_by_peer = id;
        if matches!(self.leaving, Leaving::Last(last) if id > last) {
            return Ok(Whose::Nobody(None));
        }
        let most = usize::try_from(self.config.max_concurrent_streams).unwrap_or(usize::MAX);
        // Streams that are over and still held are no streams of the peer's any more, but a load.
        if self.store.by_peer >= most || self.store.held() >= most.saturating_mul(2) {
            return Ok(Whose::Nobody(Some(Reason::REFUSED_STREAM)));
        }
        Ok(Whose::Request)
    }

    fn fragment(
        &mut self,
        mut block: HeaderBlock,
        fragment: &[u8],
        is_last: bool,
    ) -> Result<(), Reason> {
        block.octets += fragment.len();
        let taken = usize::try_from(self.config.max_header_list_size).unwrap_or(usize::MAX);
        if block.octets > taken.saturating_mul(2).saturating_add(BEYOND) {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        let section = &mut block.section;
        let add = |field| section.add(field);
        let is_whole = if block.rest.is_empty() {
            let read = self.decoder.decode(fragment, add);
            let read = read.map_err(|_| Reason::COMPRESSION_ERROR)?;
            if read < fragment.len() {
                block.rest.extend_from_slice(&fragment[read..]);
            }
            read == fragment.len()
        } else {
            block.rest.extend_from_slice(fragment);
            let read = self.decoder.decode(&block.rest, add);
            let read = read.map_err(|_| Reason::COMPRESSION_ERROR)?;
            block.rest.drain(..read);
            block.rest.is_empty()
        };
        if !is_last {
            block.held = self.heads.hold(block.section.size() + block.rest.len());
            self.block = Some(Box::new(block));
            return Ok(());
        }
        if !is_whole {
            return Err(Reason::COMPRESSION_ERROR);
        }
        self.decoder.end();
        match block.whose {
            Whose::Request => self.request(block),
            Whose::Response(key) => self.response(key, block),
            Whose::Trailers(key) => self.trailers(key, block),
            Whose::Nobody(reason) => self.nobodys(block.stream, reason),
        }
    }

    fn nobodys(&mut self, id: u32, reason: Option<Reason>) -> Result<(), Reason> {
        if reason == Some(Reason::PROTOCOL_ERROR) {
            self.counts.rx_messaging_error += 1;
        }
        match reason {
            None => {
                self.store.remember(id);
                self.spend(Idle::Blame)
            }
            Some(reason) => {
                let is_open = self.store.find(id).is_some();
                self.blame(id, reason)?;
                if !is_open {
                    self.store.remember(id);
                }
                Ok(())
            }
        }
    }

    fn request(&mut self, block: HeaderBlock) -> Result<(), Reason> {
        let (id, end) = (block.stream, block.ends_stream);
        let size = block.section.size();
        self.counts.header_overflow += u32::from(block.section.is_too_large());
        let (head, length) = match block.section.request() {
            Ok((head, length)) if !end || length.unwrap_or_default() == 0 => (head, length),
            _ => return self.nobodys(id, Some(Reason::PROTOCOL_ERROR)),
        };
        let send_window = i64::from(self.peer.initial_window_size);
        let windows = (self.recv_window_of_stream(), send_window);
        let key = self.store.open(id, true, windows);
        self.floods.open();
        let stream = &mut self.store[key];
        // The queue's.
        stream.handles = 1;
        stream.received.of_head = self.heads.hold(size);
        stream.received.has_head = true;
        stream.received.length_left = length;
        stream.received.end = end.then_some(Ok(()));
        self.requests.push_back((key, head));
        Ok(())
    }

    fn response(&mut self, key: Key, block: HeaderBlock) -> Result<(), Reason> {
        let (id, end) = (block.stream, block.ends_stream);
        let (size, most) = (block.section.size(), self.most_of_section());
        let received = &mut self.store[key].received;
        match block.section.response() {
            Ok((head, _)) if head.status.is_informational() && !end => {
                // Each costs its size, and something by itself.
                received.informed += size.max(SMALL);
                if received.informed > most {
                    return self.blame(id, Reason::ENHANCE_YOUR_CALM);
                }
                received.informational.push_back(head);
                received.wake();
                Ok(())
            }
            Ok((head, length)) if !head.status.is_informational() => {
                let status = head.status.as_u16();
                let is_empty = self.store[key].is_head || matches!(status, 204 | 304);
                let length = length.filter(|_| !is_empty);
                if end && length.unwrap_or_default() > 0 {
                    return self.blame(id, Reason::PROTOCOL_ERROR);
                }
                let received = &mut self.store[key].received;
                received.has_head = true;
                received.head = Some(head);
                received.length_left = length;
                self.end_received(key, end);
                Ok(())
            }
            _ => self.blame(id, Reason::PROTOCOL_ERROR),
        }
    }

    fn trailers(&mut self, key: Key, block: HeaderBlock) -> Result<(), Reason> {
        let left = self.store[key].received.length_left.unwrap_or_default();
        let size = block.section.size();
        match block.section.trailers() {
            Ok(trailers) if block.ends_stream && left == 0 => {
                let received = &mut self.store[key].received;
                received.trailers = Some(trailers);
                if self.role == Role::Server {
                    received.of_head += self.heads.hold(size);
                }
                self.end_received(key, true);
                Ok(())
            }
            _ => self.blame(block.stream, Reason::PROTOCOL_ERROR),
        }
    }

    fn end_received(&mut self, key: Key, end: bool) {
        let received = &mut self.store[key].received;
        if end {
            received.end = Some(Ok(()));
        }
        received.wake();
        if end {
            self.close_if_over(key);
        }
    }
}
