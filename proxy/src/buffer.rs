//! Read buffers, and the worker's stock of them.

mod stock;

use std::cell::RefCell;

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
}

// === impl Buffer ===

impl Buffer {
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
            let mut data = std::mem::take(&mut self.data);
            (self.start, self.was_full) = (0, false);
            data.clear();
            // One that grew for a large head is not worth keeping.
            let stock = match data.capacity() {
                LARGE => &LARGE_STOCK,
                capacity if capacity <= 2 * SIZE => &STOCK,
                _ => return,
            };
            stock.with_borrow_mut(|stock| stock.keep(data));
        }
    }

    /// Makes room to read into, and returns what to append to. Grows beyond the usual size when
    /// the last read has filled it, or when it is full of bytes that are still needed.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.was_full && self.is_empty() && self.data.capacity() < LARGE {
            self.release();
            let stocked = LARGE_STOCK.with_borrow_mut(Stock::take);
            self.data = stocked.unwrap_or_else(|| Vec::with_capacity(LARGE));
        }
        if self.data.capacity() == 0 {
            let stocked = STOCK.with_borrow_mut(Stock::take);
            self.data = stocked.unwrap_or_else(|| Vec::with_capacity(SIZE));
        }
        if self.start > 0 && self.data.capacity() - self.data.len() < SIZE / 2 {
            self.data.drain(..self.start);
            self.start = 0;
        }
        if self.data.capacity() == self.data.len() {
            self.data.reserve(SIZE);
        }
        &mut self.data
    }
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
}
