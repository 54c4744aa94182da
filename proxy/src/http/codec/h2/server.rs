//! The server's side of a connection.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::Request;

use super::{
    Config, Counts, Error, Flood, Flushed, Reason, RecvStream, SendResponse, Socket, Traffic,
    core::{Core, Role},
    handle::{Handle, Shared},
    wire::Wire,
};

/// A client's connection.
pub struct Connection<S: Socket> {
    shared: Shared,
    wire: Wire<S>,
    /// Its end has been told.
    is_told: bool,
}

// === impl Connection ===

impl<S: Socket> Connection<S> {
    /// `received` has been read from the socket already.
    pub fn new(socket: S, received: &[u8], config: Config) -> Self {
        Self {
            wire: Wire::new(socket, received, config.buffer_limit),
            shared: Rc::new(RefCell::new(Core::new(Role::Server, config))),
            is_told: false,
        }
    }

    /// Ready when the client has shown that it speaks HTTP/2, or that it does not.
    pub fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let mut core = self.shared.borrow_mut();
            if let Some(error) = core.end {
                self.is_told = true;
                return Poll::Ready(Err(error));
            }
            if core.preface.is_empty() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.wire.poll_read(cx, &mut core));
        }
    }

    /// The next request. None once all has been said.
    #[expect(clippy::type_complexity, reason = "what a request is")]
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Request<RecvStream>, SendResponse), Error>>> {
        let mut core = self.shared.borrow_mut();
        loop {
            if let Some((key, head)) = core.requests.pop_front() {
                if core.store[key].sending.stopped.is_some() {
                    // It was reset before anybody saw it.
                    core.counts.unseen += 1;
                    core.drop_handle(key);
                    continue;
                }
                core.store[key].handles += 1;
                let body = RecvStream::new(Handle::adopt(&self.shared, key));
                let respond = SendResponse::new(Handle::adopt(&self.shared, key));
                return Poll::Ready(Some(Ok((Request::from_parts(head, body), respond))));
            }
            match core.end {
                Some(error) if !self.is_told => {
                    self.is_told = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(_) => return Poll::Ready(None),
                None if core.is_finished() => return Poll::Ready(None),
                None if !core.takes_more() => return Poll::Pending,
                None => ready!(self.wire.poll_read(cx, &mut core)),
            }
        }
    }

    /// Writes what has gathered. To be called at the end of each turn: whatever happens behind it
    /// wakes the connection.
    pub fn flush(&mut self, cx: &mut Context<'_>) -> Flushed {
        self.wire.flush(cx, &mut self.shared.borrow_mut())
    }

    /// Tells the client to go elsewhere; what is open goes on.
    pub fn graceful_shutdown(&mut self) {
        self.shared.borrow_mut().leave();
    }

    /// Ends the connection, because its client causes too much work for nothing.
    pub fn calm(&mut self) {
        self.shared.borrow_mut().fail(Reason::ENHANCE_YOUR_CALM);
    }

    /// Asks the peer whether it is there, unless it has been asked already.
    pub fn ask(&mut self) {
        self.shared.borrow_mut().ask();
    }

    /// Whether the peer has been asked, and has not answered.
    pub fn is_asked(&self) -> bool {
        self.shared.borrow().is_asked
    }

    /// The peer is gone.
    pub fn lose(&mut self) {
        self.shared.borrow_mut().lose(std::io::ErrorKind::TimedOut);
    }

    /// What there was to count since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        self.shared.borrow_mut().take_counts()
    }

    /// What the connection was given up for, if the peer flooded it.
    pub fn flood(&self) -> Option<Flood> {
        self.shared.borrow().floods.was
    }

    /// What went through since this was last asked.
    pub fn take_traffic(&mut self) -> Traffic {
        self.wire.take_traffic()
    }
}

impl<S: Socket> Drop for Connection<S> {
    fn drop(&mut self) {
        self.shared
            .borrow_mut()
            .lose(std::io::ErrorKind::BrokenPipe);
    }
}
