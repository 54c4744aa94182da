//! Moves bytes between two connections, each way on its own, until both ways have ended.
//!
//! Plain sockets are joined by a pipe and `splice(2)` once enough has moved to be worth the pipe:
//! the bytes then never come up to this process.

mod splice;

use std::{
    cell::OnceCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::{
    buffer::{Buffer, BufferLimit},
    net::{read_filter, transport_socket::Connection},
};
pub(crate) use splice::{Broken, Pipe};

/// Bytes of one direction after which it is spliced. Below it, a pipe costs more than it saves.
const SPLICE_AFTER: u64 = 32 * 1024;
/// The idle timer looks this often within its period, so that reads need not touch it.
const IDLE_CHECKS: u32 = 4;

/// What moved, and how it ended.
pub(crate) struct Relayed {
    pub(crate) to_upstream: u64,
    pub(crate) to_downstream: u64,
    pub(crate) end: End,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides said that they are done.
    Both,
    /// Nothing moved for too long.
    Idle,
    /// A filter has refused what the client said.
    Refused,
    /// One side is gone; the other is to be told by a reset.
    Reset,
    /// As `Reset`, of upstream, before a byte went either way: it may be tried elsewhere.
    Untouched,
}

/// Moves bytes between `downstream` and `upstream`. `buffer` holds what was read from downstream, and does
/// so again where nothing of it was sent. The end of one direction is passed on; the other goes on.
/// `progress` is told what has moved each way whenever something has.
pub(crate) async fn relay(
    (downstream, upstream): (&mut Connection, &mut Connection),
    (buffer, limit): (&mut Buffer, BufferLimit),
    idle_timeout: Option<Duration>,
    progress: impl Fn(u64, u64),
) -> Relayed {
    let mut to_upstream = Direction::new(buffer.take());
    let mut to_downstream = Direction::new(Buffer::of(limit));
    let mut idle = idle_timeout.map(Idle::new);
    let end = poll_fn(|cx| {
        let before = (to_upstream.moved, to_downstream.moved);
        let sent = to_upstream.poll(cx, downstream, upstream);
        let received = to_downstream.poll(cx, upstream, downstream);
        let moved = to_upstream.moved + to_downstream.moved;
        if moved > before.0 + before.1 {
            progress(to_upstream.moved - before.0, to_downstream.moved - before.1);
        }
        // Of the way there, what fails with something to send is upstream.
        let upstream_failed =
            matches!(received, Poll::Ready(Err(_))) || !to_upstream.buffer.is_empty();
        match (sent, received) {
            (Poll::Ready(Err(error)), _) if read_filter::is_refusal(&error) => {
                return Poll::Ready(End::Refused);
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Both),
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                let untouched = moved == 0 && upstream_failed && to_upstream.state == State::Open;
                return Poll::Ready(match untouched {
                    true => End::Untouched,
                    false => End::Reset,
                });
            }
            _ => {}
        }
        match &mut idle {
            Some(idle) => idle.poll(cx, moved).map(|()| End::Idle),
            None => Poll::Pending,
        }
    });
    let end = end.await;
    if end == End::Untouched {
        *buffer = to_upstream.buffer;
    }
    Relayed {
        to_upstream: to_upstream.moved,
        to_downstream: to_downstream.moved,
        end,
    }
}

/// One way of a relay.
struct Direction {
    buffer: Buffer,
    /// Asked for once.
    pipe: OnceCell<Option<Pipe>>,
    moved: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended, what is buffered has not gone out yet.
    Ending,
    Ended,
}

impl Direction {
    fn new(buffer: Buffer) -> Self {
        Self {
            buffer,
            pipe: OnceCell::new(),
            moved: 0,
            state: State::Open,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.buffer.is_empty() {
                let written = ready!(to.poll_write(cx, self.buffer.filled()))?;
                self.buffer.consume(written);
                self.moved += written as u64;
            }
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    // A peer that is gone already cannot be told, and need not be.
                    let _ = ready!(to.poll_shutdown(cx));
                    self.state = State::Ended;
                }
                State::Open => {
                    if ready!(self.poll_fill(cx, from, to))? == 0 {
                        self.state = State::Ending;
                    }
                }
            }
        }
    }

    /// Takes from the source. What is spliced is also written. 0 is the end.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Connection,
        to: &mut Connection,
    ) -> Poll<io::Result<usize>> {
        if self.moved >= SPLICE_AFTER
            && !self.buffer.is_tight()
            && let (Some(from), Some(to)) = (from.as_raw(), to.as_raw())
        {
            self.pipe.get_or_init(Pipe::new);
            if let Some(Some(pipe)) = self.pipe.get_mut() {
                let moved = pipe.poll_move(cx, (from, to), u64::MAX, &mut self.moved);
                return moved.map_err(Broken::into_inner);
            }
        }
        let read = from.poll_read(cx, &mut self.buffer);
        if read.is_pending() {
            // An idle connection holds no buffer.
            self.buffer.release();
        }
        read
    }
}

/// Fires when nothing has moved for a while.
struct Idle {
    timer: Pin<Box<Sleep>>,
    step: Duration,
    moved: u64,
    quiet: u32,
}

impl Idle {
    fn new(timeout: Duration) -> Self {
        let step = timeout / IDLE_CHECKS;
        Self {
            timer: Box::pin(sleep(step)),
            step,
            moved: 0,
            quiet: 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, moved: u64) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            self.quiet = if moved == self.moved {
                self.quiet + 1
            } else {
                0
            };
            self.moved = moved;
            if self.quiet >= IDLE_CHECKS {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(Instant::now() + self.step);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (connected.expect("a connection"), accepted.expect("one").0)
    }

    /// Whether so much goes through a pipe.
    async fn splices(limit: BufferLimit) -> bool {
        let ((mut client, from), (to, mut server)) = (pair().await, pair().await);
        let (mut from, mut to) = (Connection::raw(from), Connection::raw(to));
        let mut direction = Direction::new(Buffer::of(limit));
        let much = vec![b'a'; 4 * SPLICE_AFTER as usize];
        let sent = async {
            client.write_all(&much).await.expect("room");
            client.shutdown().await.expect("an end");
        };
        let relayed = poll_fn(|cx| direction.poll(cx, &mut from, &mut to));
        let mut received = Vec::new();
        let ((), relayed, read) = tokio::join!(sent, relayed, server.read_to_end(&mut received));
        relayed.expect("relayed");
        read.expect("read");
        assert!(received == much);
        direction.pipe.get().is_some()
    }

    #[tokio::test]
    async fn nothing_goes_through_a_pipe_where_a_connection_may_hold_little() {
        assert!(splices(BufferLimit::default()).await);
        assert!(splices(BufferLimit::new(Some(1 << 20))).await);
        assert!(!splices(BufferLimit::new(Some(4096))).await);
    }
}
