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
pub(super) struct Pipe {
    ends: Option<Ends>,
    filled: usize,
}

// === impl Pipe ===

impl Pipe {
    /// None if the process has no descriptors left; bytes are then copied.
    pub(super) fn new() -> Option<Self> {
        let stocked = STOCK.with_borrow_mut(Vec::pop);
        let ends = stocked.or_else(Ends::open)?;
        Some(Self {
            ends: Some(ends),
            filled: 0,
        })
    }

    /// Moves once: fills the pipe if it is empty, then empties it. 0 is the end of the source.
    pub(super) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        moved: &mut u64,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else {
            return Poll::Ready(Ok(0));
        };
        if self.filled == 0 {
            self.filled = loop {
                ready!(from.poll_read_ready(cx))?;
                let fill = || step(from, &ends.write, ends.capacity);
                match from.try_io(Interest::READABLE, fill) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    filled => break filled?,
                }
            };
            if self.filled == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        let taken = self.filled;
        while self.filled > 0 {
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
        Poll::Ready(Ok(taken))
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
            .unwrap_or(65_536);
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
