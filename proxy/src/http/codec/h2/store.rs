//! The streams of a connection, and what is remembered of those that are over.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use super::stream::Stream;

/// Streams that are over and remembered. A frame that was under way when its stream ended comes
/// within a round trip; few streams end within one.
const REMEMBERED: usize = 256;
/// Empty places that are kept for streams to come: as many as commonly come together.
const KEPT: usize = 32;

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(usize);

/// The streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Store {
    places: Vec<Stream>,
    free: Vec<usize>,
    open: HashMap<u32, usize, BuildHasherDefault<Spread>>,
    over: VecDeque<(u32, Over)>,
    /// Open streams of the peer's, and of ours.
    pub(super) by_peer: usize,
    pub(super) by_us: usize,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Both sides have said everything, or the peer has reset it.
    ByPeer,
    /// We have reset it: the peer may not know yet.
    ByUs,
}

/// Hashes a stream's number. Peers number streams one after the other; one that does not has few
/// that are open.
#[derive(Debug, Default)]
struct Spread(u64);

// === impl Store ===

impl Store {
    /// Opens a stream.
    pub(super) fn open(&mut self, id: u32, is_by_peer: bool, windows: (i64, i64)) -> Key {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Stream::default());
            self.places.len() - 1
        });
        let stream = &mut self.places[at];
        stream.renew(id, windows.0, windows.1);
        stream.is_by_peer = is_by_peer;
        match is_by_peer {
            true => self.by_peer += 1,
            false => self.by_us += 1,
        }
        self.open.insert(id, at);
        Key(at)
    }

    /// The open stream of this number.
    pub(super) fn find(&self, id: u32) -> Option<Key> {
        self.open.get(&id).copied().map(Key)
    }

    /// How a stream that is not open ended, if that is remembered.
    pub(super) fn how_over(&self, id: u32) -> Option<Over> {
        let mut over = self.over.iter().rev();
        over.find(|(of, _)| *of == id).map(|(_, how)| *how)
    }

    /// The stream is over. It keeps its place until nobody holds it.
    pub(super) fn close(&mut self, key: Key, how: Over) {
        let stream = &mut self.places[key.0];
        stream.is_closed = true;
        self.open.remove(&stream.id);
        match stream.is_by_peer {
            true => self.by_peer -= 1,
            false => self.by_us -= 1,
        }
        let id = stream.id;
        self.push_over(id, how);
    }

    /// A stream was refused before it was one.
    pub(super) fn remember(&mut self, id: u32) {
        self.push_over(id, Over::ByUs);
    }

    fn push_over(&mut self, id: u32, how: Over) {
        if self.over.len() == REMEMBERED {
            self.over.pop_front();
        }
        self.over.push_back((id, how));
    }

    /// Nobody holds the stream, which is over.
    pub(super) fn free(&mut self, key: Key) {
        // What it holds is dropped when the place is used again; only what holds others goes now.
        let stream = &mut self.places[key.0];
        stream.received.waker = None;
        stream.sending.waker = None;
        self.free.push(key.0);
    }

    /// Streams that have a place: those that are open, and those that are over and still held.
    pub(super) fn held(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Gives back what a connection without streams does not need.
    pub(super) fn shrink(&mut self) {
        if self.held() == 0 && self.places.len() > KEPT {
            *self = Self {
                over: std::mem::take(&mut self.over),
                ..Self::default()
            };
        }
    }

    /// All open streams.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.open.values().copied().map(Key).collect()
    }

    pub(super) fn open_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        let open = self.places.iter_mut();
        open.filter(|stream| !stream.is_closed)
    }
}

impl std::ops::Index<Key> for Store {
    type Output = Stream;

    fn index(&self, key: Key) -> &Stream {
        &self.places[key.0]
    }
}

impl std::ops::IndexMut<Key> for Store {
    fn index_mut(&mut self, key: Key) -> &mut Stream {
        &mut self.places[key.0]
    }
}

// === impl Spread ===

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u32(u32::from(*octet));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
