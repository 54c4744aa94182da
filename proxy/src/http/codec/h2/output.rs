//! What is to be written: frames of all streams gather here and leave together, once a turn.

use std::cell::RefCell;

use crate::buffer::Stock;

/// Payload is taken while less than this waits to be written. Four frames of the usual size: more
/// saves no system calls worth the memory.
pub(super) const ROOM: usize = 64 * 1024;
/// Nothing is read while as much as this waits: what is read has answers, which gather as well.
pub(super) const FULL: usize = 2 * ROOM;
/// Empty buffers a worker keeps. Connections take turns, so that few are in use at a time, and the
/// one used last is still in the processor's cache.
const KEPT: usize = 8;
/// A buffer that has grown beyond this is not kept.
const LARGEST_KEPT: usize = 4 * ROOM;

thread_local! {
    static STOCK: RefCell<Stock<Vec<u8>>> = const { RefCell::new(Stock::new(KEPT)) };
}

/// Gives up the buffers that this worker has not needed since it last called this.
pub(super) fn age_stock() {
    STOCK.with_borrow_mut(Stock::age);
}

/// Bytes that gather. Holds memory only while there are some.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    sent: usize,
}

// === impl Output ===

impl Output {
    /// What has not been written.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// What frames are appended to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = STOCK.with_borrow_mut(Stock::take).unwrap_or_default();
        }
        &mut self.bytes
    }

    /// So many bytes have been written.
    pub(super) fn advance(&mut self, written: usize) {
        self.sent += written;
        if self.sent >= self.bytes.len() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.sent = 0;
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        if (1..=LARGEST_KEPT).contains(&bytes.capacity()) {
            STOCK.with_borrow_mut(|stock| stock.keep(bytes));
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.clear();
    }
}
