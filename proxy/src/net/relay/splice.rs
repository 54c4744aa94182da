//! Moving bytes within the kernel: socket -> pipe -> socket, by `splice(2)`.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use nix::{
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use tokio::{io::Interest, net::TcpStream};

/// Capacity asked for, bytes: more per system call than the default of 64 KiB. The kernel grants
/// it to unprivileged users while they hold less than fs.pipe-user-pages-soft; else the default stays.
const CAPACITY: i32 = 256 * 1024;
/// Capacity of a pipe that is of use, bytes: what one has by default. A user who holds as much as
/// fs.pipe-user-pages-soft allows gets pipes of two pages, and all sidecars of a node are one user.
const LEAST: usize = 64 * 1024;
/// Empty pipes a worker keeps.
const KEPT: usize = 16;

thread_local! {
    static STOCK: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

/// A pipe between two sockets.
pub(crate) struct Pipe {
    ends: Option<Ends>,
    filled: usize,
    /// What it was last filled with.
    taken: usize,
}

/// Which side of a pipe failed.
#[derive(Debug)]
pub(crate) enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

// === impl Pipe ===

impl Pipe {
    /// None if there are no descriptors or no pipes of use left; bytes are then copied.
    pub(crate) fn new() -> Option<Self> {
        let stocked = STOCK.with_borrow_mut(Vec::pop);
        let ends = stocked.or_else(Ends::open)?;
        Some(Self {
            ends: Some(ends),
            filled: 0,
            taken: 0,
        })
    }

    /// Whether everything it took has been given.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Moves once, `most` bytes at most: fills the pipe if it is empty, then empties it. 0 is the
    /// end of the source.
    pub(crate) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&TcpStream, &TcpStream),
        most: u64,
        moved: &mut u64,
    ) -> Poll<Result<usize, Broken>> {
        if self.filled == 0 {
            self.filled = ready!(self.poll_fill(cx, from, most)).map_err(Broken::Source)?;
            self.taken = self.filled;
            if self.filled == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        ready!(self.poll_empty(cx, to, moved)).map_err(Broken::Sink)?;
        Poll::Ready(Ok(self.taken))
    }

    fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else {
            return Poll::Ready(Ok(0));
        };
        let most = usize::try_from(most).map_or(ends.capacity, |most| most.min(ends.capacity));
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || step(from, &ends.write, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                filled => return Poll::Ready(filled),
            }
        }
    }

    fn poll_empty(
        &mut self,
        cx: &mut Context<'_>,
        to: &TcpStream,
        moved: &mut u64,
    ) -> Poll<io::Result<()>> {
        while let Some(ends) = &self.ends
            && self.filled > 0
        {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || step(&ends.read, to, self.filled)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => {
                    let written = written?;
                    self.filled -= written;
                    *moved += written as u64;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

// === impl Broken ===

impl Broken {
    /// The error, whichever side it was.
    pub(super) fn into_inner(self) -> io::Error {
        match self {
            Self::Source(error) | Self::Sink(error) => error,
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.filled == 0
            && let Some(ends) = self.ends.take()
        {
            STOCK.with_borrow_mut(|stock| {
                if stock.len() < KEPT {
                    stock.push(ends);
                }
            });
        }
    }
}

impl Ends {
    fn open() -> Option<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
        let granted = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY)).or_else(|_| {
            fcntl(&write, FcntlArg::F_GETPIPE_SZ) // what it has
        });
        let capacity = granted
            .ok()
            .and_then(|size| usize::try_from(size).ok())
            .filter(|capacity| *capacity >= LEAST)?;
        Some(Self {
            read,
            write,
            capacity,
        })
    }
}

fn step(
    from: &impl std::os::fd::AsFd,
    to: &impl std::os::fd::AsFd,
    length: usize,
) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    splice(from, None, to, None, length, flags).map_err(io::Error::from)
}
