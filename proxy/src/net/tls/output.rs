//! Sealed records on their way to a socket, in memory of the worker.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
};

use tokio::net::TcpStream;

use crate::buffer::Stock;

/// Memory kept by a worker for sealed records: that of a few connections that write at a time.
const KEPT: usize = 16;

thread_local! {
    static STOCK: RefCell<Stock<Vec<u8>>> = const { RefCell::new(Stock::new(KEPT)) };
}

/// Gives up the memory that this worker has not needed since it last called this.
pub(crate) fn age_stock() {
    STOCK.with_borrow_mut(Stock::age);
}

/// Bytes that are to leave. Holds memory only while there are any.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// All of it is initialized; what is in use is between `written` and `filled`.
    memory: Vec<u8>,
    filled: usize,
    written: usize,
}

// === impl Output ===

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.filled == self.written
    }

    /// Room for `bytes` more. [`Self::fill`] says how many were put there.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.memory.is_empty() {
            let stocked = STOCK.with_borrow_mut(Stock::take);
            self.memory = stocked.unwrap_or_default();
        }
        if self.memory.len() < self.filled + bytes {
            self.memory.resize(self.filled + bytes, 0);
        }
        &mut self.memory[self.filled..]
    }

    /// So many bytes were put into the room.
    pub(super) fn fill(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(self.memory.len());
    }

    /// Writes until all has left.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_write(&self.memory[self.written..self.filled]) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Writes what the socket takes at once.
    pub(super) fn try_flush(&mut self, socket: &TcpStream) {
        while !self.is_empty()
            && let Ok(written @ 1..) = socket.try_write(&self.memory[self.written..self.filled])
        {
            self.written += written;
        }
    }

    /// Gives the memory back. What has not left never will.
    fn release(&mut self) {
        (self.filled, self.written) = (0, 0);
        let memory = std::mem::take(&mut self.memory);
        if !memory.is_empty() {
            STOCK.with_borrow_mut(|stock| stock.keep(memory));
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.release();
    }
}
