//! The socket of a connection: what is read goes to the state machine, what has gathered there is
//! written once a turn.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::BytesMut;

use super::{core::Core, output::Output};
use crate::{
    buffer::{BufferLimit, Stock},
    net::transport_socket::Connection,
};

/// Bytes that are read in one turn: what they belong to should be sent on while they are still in
/// the processor's cache, and other connections want their turn.
const READ_PER_TURN: usize = 128 * 1024;
/// Size of a fresh buffer: enough for the requests of most turns.
const SIZE: usize = 16 * 1024;
/// Size once a read has filled a buffer: there is much to move, and each system call costs.
const LARGE: usize = 64 * 1024;
/// Room that a read should have.
const LEAST: usize = 4 * 1024;
/// Empty buffers a worker keeps.
const KEPT: usize = 32;
/// Writes of one turn, so that others have theirs.
const WRITES_PER_TURN: usize = 8;

thread_local! {
    static STOCK: RefCell<Stock<BytesMut>> = const { RefCell::new(Stock::new(KEPT)) };
}

/// Gives up the buffers that this worker has not needed since it last called this.
pub(super) fn age_stock() {
    STOCK.with_borrow_mut(Stock::age);
}

/// What a connection is spoken over.
pub trait Socket {
    /// Reads once. 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes once.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
}

impl<T: AsMut<Connection>> Socket for T {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.as_mut().poll_read_bytes(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write(cx, bytes)
    }
}

/// A socket and what was read from it.
pub(super) struct Wire<S> {
    socket: S,
    received: BytesMut,
    /// What was read before the first turn has not been taken in.
    is_fresh: bool,
    was_full: bool,
    /// The connection may hold little.
    is_tight: bool,
    /// Bytes read in this turn.
    read: usize,
    /// The peer takes nothing more. What it has sent still counts.
    is_deaf: bool,
    traffic: Traffic,
}

/// Bytes that went through a socket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// From the peer.
    pub received: u64,
    /// To the peer.
    pub sent: u64,
}

/// What is left to do for whoever drives the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing.
    Quiet,
    /// There is room again, for which something has waited: it must be polled again.
    PollAgain,
}

// === impl Wire ===

impl<S: Socket> Wire<S> {
    /// `received` has been read from the socket already.
    pub(super) fn new(socket: S, received: &[u8], limit: BufferLimit) -> Self {
        Self {
            socket,
            received: BytesMut::from(received),
            is_fresh: true,
            was_full: false,
            is_tight: limit.is_tight(),
            read: 0,
            is_deaf: false,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Takes in what has come. Ready if something has.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, core: &mut Core) -> Poll<()> {
        core.begin_turn(Instant::now());
        if std::mem::take(&mut self.is_fresh) && !self.received.is_empty() {
            core.receive(&mut self.received);
            return Poll::Ready(());
        }
        let most = if self.is_tight { SIZE } else { READ_PER_TURN };
        if self.read >= most {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.make_room();
        let room = self.received.capacity() - self.received.len();
        let read = self.socket.poll_read(cx, &mut self.received);
        if read.is_pending() {
            self.release();
        }
        match ready!(read) {
            Ok(0) => core.lose(io::ErrorKind::UnexpectedEof),
            Ok(n) => {
                self.was_full = n >= room && !self.is_tight;
                self.read += n;
                self.traffic.received += n as u64;
                core.receive(&mut self.received);
            }
            Err(error) => core.lose(error.kind()),
        }
        Poll::Ready(())
    }

    /// Writes what has gathered, and ends the turn.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, core: &mut Core) -> Flushed {
        self.read = 0;
        let was_full = !core.takes_more();
        for turn in 0.. {
            if self.poll_write(cx, &mut core.output).is_pending() {
                break;
            }
            core.distribute();
            if core.output.len() == 0 {
                break;
            }
            if turn == WRITES_PER_TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        core.park(cx.waker());
        match was_full && core.takes_more() {
            true => Flushed::PollAgain,
            false => Flushed::Quiet,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<()> {
        while output.len() > 0 && !self.is_deaf {
            match ready!(self.socket.poll_write(cx, output.unsent())) {
                // It is read on: what the peer has said before it went away is not lost.
                Ok(0) | Err(_) => self.is_deaf = true,
                Ok(n) => {
                    self.traffic.sent += n as u64;
                    output.advance(n);
                }
            }
        }
        if self.is_deaf {
            output.clear();
        }
        Poll::Ready(())
    }

    fn make_room(&mut self) {
        let size = if self.was_full { LARGE } else { SIZE };
        if self.received.capacity() == 0 && !self.was_full {
            let stocked = STOCK.with_borrow_mut(Stock::take);
            self.received = stocked.unwrap_or_else(|| BytesMut::with_capacity(SIZE));
        }
        if self.received.capacity() - self.received.len() < LEAST {
            self.received.reserve(size);
        }
    }

    /// An idle connection holds no buffer.
    fn release(&mut self) {
        if !self.received.is_empty() || self.received.capacity() == 0 {
            return;
        }
        let mut received = std::mem::take(&mut self.received);
        self.was_full = false;
        // Not if some of it is still in use elsewhere.
        if received.try_reclaim(SIZE) && received.capacity() < LARGE {
            STOCK.with_borrow_mut(|stock| stock.keep(received));
        }
    }
}
