//! Read buffers, and the worker's stock of them.

mod limit;
mod stock;

use std::cell::RefCell;

pub(crate) use limit::BufferLimit;
pub(crate) use stock::Stock;

/// Size of a fresh buffer: what Envoy reads at a time, and enough for almost every request head.
const SIZE: usize = 16 * 1024;
/// Empty buffers a worker keeps, 1 MiB. Idle connections hold none.
const KEPT: usize = 64;
/// Size once a read has filled a buffer: there is much to move, and each system call costs.
const LARGE: usize = 128 * 1024;
/// Empty large buffers a worker keeps, 1 MiB.
const LARGE_KEPT: usize = 8;

thread_local! {
    static STOCK: RefCell<Stock<Vec<u8>>> = const { RefCell::new(Stock::new(KEPT)) };
    static LARGE_STOCK: RefCell<Stock<Vec<u8>>> = const { RefCell::new(Stock::new(LARGE_KEPT)) };
}

/// Gives up the buffers that this worker has not needed since it last called this.
pub(crate) fn age_stock() {
    STOCK.with_borrow_mut(Stock::age);
    LARGE_STOCK.with_borrow_mut(Stock::age);
}

/// Bytes that were read and not yet used up. Holds memory only while there are such bytes or a
/// read is under way.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    /// What was used up last had filled the buffer.
    was_full: bool,
    /// It does not become large because much moves.
    is_tight: bool,
}

// === impl Buffer ===

impl Buffer {
    /// An empty one, of a connection with this limit.
    pub(crate) fn of(limit: BufferLimit) -> Self {
        Self::empty(limit.is_tight())
    }

    /// An empty one, of the same connection.
    pub(crate) fn sibling(&self) -> Self {
        Self::empty(self.is_tight)
    }

    fn empty(is_tight: bool) -> Self {
        Self {
            data: Vec::new(),
            start: 0,
            was_full: false,
            is_tight,
        }
    }

    /// Takes what it holds, and leaves an empty one of the same connection.
    pub(crate) fn take(&mut self) -> Self {
        let empty = self.sibling();
        std::mem::replace(self, empty)
    }

    /// Whether its connection may hold little.
    pub(crate) fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// The bytes that are left.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// The bytes that are left, to be changed in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..]
    }

    /// Takes `length` bytes out of the middle, from `at` on.
    pub(crate) fn cut(&mut self, at: usize, length: usize) {
        if length > 0 {
            let from = self.start + at;
            self.data.drain(from..from + length);
        }
    }

    /// Number of bytes that are left.
    pub(crate) fn len(&self) -> usize {
        self.data.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Uses up `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.data.len());
        if self.is_empty() {
            self.was_full = self.data.len() == self.data.capacity();
            self.data.clear();
            self.start = 0;
        }
    }

    /// Forgets the `n` bytes that were read last.
    pub(crate) fn take_back(&mut self, n: usize) {
        let kept = self.data.len().saturating_sub(n).max(self.start);
        self.data.truncate(kept);
    }

    /// Gives the memory back if nothing is left.
    pub(crate) fn release(&mut self) {
        if self.is_empty() && self.data.capacity() > 0 {
            self.move_to(Vec::new());
        }
    }

    /// Makes room to read into, and returns what to append to. Grows beyond the usual size when
    /// the last read has filled it, or when it is full of bytes that are still needed.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.was_full && !self.is_tight && self.is_empty() && self.data.capacity() < LARGE {
            self.move_to(large());
        }
        if self.data.capacity() == 0 {
            let stocked = STOCK.with_borrow_mut(Stock::take);
            self.data = stocked.unwrap_or_else(|| Vec::with_capacity(SIZE));
        }
        if self.start > 0 && self.data.capacity() - self.data.len() < SIZE / 2 {
            // It was filled, and some of that was used up already.
            let much_moves = self.data.len() == self.data.capacity();
            if much_moves && !self.is_tight && self.data.capacity() < LARGE {
                self.move_to(large());
            } else {
                self.data.drain(..self.start);
                self.start = 0;
            }
        }
        if self.data.capacity() == self.data.len() {
            self.data.reserve(SIZE);
        }
        &mut self.data
    }

    /// Makes room for so many bytes.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        let free = self.data.capacity() - self.data.len();
        if free >= bytes {
            return;
        }
        match self.len() + bytes {
            0..=SIZE if self.data.capacity() == 0 => {
                self.room();
            }
            ..=LARGE if !self.is_tight => self.move_to(large()),
            _ => self.data.reserve(bytes),
        }
    }

    /// Cuts what is left, or fills it up with zeros, to so many bytes.
    pub(crate) fn resize(&mut self, bytes: usize) {
        self.data.resize(self.start + bytes, 0);
    }

    /// Goes on in other memory, and gives up its own.
    fn move_to(&mut self, mut memory: Vec<u8>) {
        memory.extend_from_slice(self.filled());
        let mut before = std::mem::replace(&mut self.data, memory);
        (self.start, self.was_full) = (0, false);
        before.clear();
        keep(before);
    }
}

/// Memory for much that moves.
fn large() -> Vec<u8> {
    let stocked = LARGE_STOCK.with_borrow_mut(Stock::take);
    stocked.unwrap_or_else(|| Vec::with_capacity(LARGE))
}

/// Keeps empty memory for others. What grew for a large head is not worth it.
fn keep(memory: Vec<u8>) {
    let stock = match memory.capacity() {
        0 => return,
        LARGE => &LARGE_STOCK,
        capacity if capacity <= 2 * SIZE => &STOCK,
        _ => return,
    };
    stock.with_borrow_mut(|stock| stock.keep(memory));
}

impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::default();
        buffer.room().extend_from_slice(bytes);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.consume(self.len());
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_buffer_holds_no_memory_once_released() {
        let mut buffer = Buffer::from(&b"abc"[..]);
        buffer.consume(1);
        buffer.release();
        assert_eq!(buffer.filled(), b"bc");
        buffer.consume(9);
        buffer.release();
        assert_eq!((buffer.len(), buffer.data.capacity()), (0, 0));
    }

    #[test]
    fn a_buffer_that_was_filled_becomes_large_until_it_is_released() {
        let mut buffer = Buffer::default();
        buffer.room().extend_from_slice(&[b'a'; SIZE]);
        buffer.consume(SIZE);
        assert_eq!(buffer.room().capacity(), LARGE);
        buffer.release();
        assert_eq!(buffer.room().capacity(), SIZE);
        buffer.room().push(b'a');
        buffer.consume(1);
        assert_eq!(buffer.room().capacity(), SIZE);
    }

    #[test]
    fn the_buffer_of_a_tight_connection_stays_small_however_much_moves() {
        let mut tight = Buffer::of(BufferLimit::new(Some(SIZE as u32)));
        for _ in 0..3 {
            tight.room().extend_from_slice(&[b'a'; SIZE]);
            tight.consume(SIZE);
        }
        assert_eq!(tight.room().capacity(), SIZE);
        tight.make_room(SIZE + 1);
        assert!(tight.take().data.capacity() < LARGE);
        assert!(tight.is_tight() && tight.sibling().is_tight());
        let ample = Buffer::of(BufferLimit::new(Some(1024 * 1024)));
        assert!(!ample.is_tight() && !Buffer::of(BufferLimit::new(Some(0))).is_tight());
    }

    #[test]
    fn what_is_cut_out_is_gone_and_the_rest_stays() {
        let mut buffer = Buffer::from(&b"0abcdef"[..]);
        buffer.consume(1);
        buffer.cut(2, 3);
        buffer.cut(0, 0);
        assert_eq!(buffer.filled(), b"abf");
    }

    #[test]
    fn making_room_keeps_what_is_left() {
        let mut buffer = Buffer::default();
        buffer.room().extend_from_slice(&[b'a'; SIZE]);
        buffer.consume(SIZE - 3);
        assert!(buffer.room().capacity() - buffer.data.len() >= SIZE / 2);
        assert_eq!(buffer.filled(), b"aaa");
    }

    #[test]
    fn a_filled_buffer_of_which_a_part_is_left_becomes_large() {
        let mut buffer = Buffer::default();
        let whole = buffer.room().capacity();
        buffer.room().extend_from_slice(&vec![b'a'; whole]);
        buffer.consume(whole / 2);
        assert_eq!(buffer.room().capacity(), LARGE);
        assert_eq!(buffer.filled(), vec![b'a'; whole - whole / 2]);
    }

    #[test]
    fn room_for_much_is_large_at_once_and_for_little_it_is_not() {
        for (bytes, capacity) in [(1, SIZE), (SIZE, SIZE), (SIZE + 1, LARGE), (LARGE, LARGE)] {
            let mut buffer = Buffer::default();
            buffer.make_room(bytes);
            assert_eq!(buffer.data.capacity(), capacity, "{bytes}");
        }
        let mut buffer = Buffer::from(&b"abc"[..]);
        buffer.make_room(LARGE);
        buffer.resize(LARGE + 3);
        assert_eq!(
            (buffer.len(), &buffer.filled()[..4]),
            (LARGE + 3, &b"abc\0"[..])
        );
    }
}
