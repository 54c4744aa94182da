//! The client's side of a connection.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
};

use http::Request;

use super::{
    Config, Counts, Error, Flood, Flushed, ResponseFuture, SendStream, Socket, Traffic,
    core::{Core, Role},
    handle::{Handle, Shared},
    wire::Wire,
};

/// A connection to a server, to be polled until it ends.
pub struct Connection<S: Socket> {
    shared: Shared,
    wire: Wire<S>,
}

/// Sends requests. Without it the connection ends with its last stream.
#[derive(Debug)]
pub struct SendRequest(Shared);

/// Begins a connection.
pub fn handshake<S: Socket>(socket: S, config: Config) -> (SendRequest, Connection<S>) {
    let shared = Rc::new(RefCell::new(Core::new(Role::Client, config)));
    let connection = Connection {
        shared: Rc::clone(&shared),
        wire: Wire::new(socket, &[], config.buffer_limit),
    };
    (SendRequest(shared), connection)
}

// === impl Connection ===

impl<S: Socket> Connection<S> {
    /// Ready when it has ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut core = self.shared.borrow_mut();
        loop {
            while core.takes_more() && self.wire.poll_read(cx, &mut core).is_ready() {}
            if core.end.is_none() && core.is_finished() {
                core.say_farewell();
            }
            let flushed = self.wire.flush(cx, &mut core);
            if let Some(error) = core.end {
                return Poll::Ready(Err(error));
            }
            if core.is_finished() {
                return Poll::Ready(Ok(()));
            }
            if flushed == Flushed::Quiet {
                return Poll::Pending;
            }
        }
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

// === impl SendRequest ===

impl SendRequest {
    /// Why no stream can be opened any more, if so.
    pub fn closed(&self) -> Option<Error> {
        let refusal = self.0.borrow().refusal();
        refusal.filter(|error| *error != Error::NoRoom)
    }

    /// Streams at a time that the peer allows. None before it has said.
    pub fn max_send_streams(&self) -> Option<usize> {
        let core = self.0.borrow();
        core.peer.are_known.then(|| core.max_by_us())
    }

    /// Has the connection take a turn.
    pub fn wake(&self) {
        self.0.borrow_mut().kick();
    }

    /// Streams that can be opened now.
    pub fn room(&self) -> usize {
        let core = self.0.borrow();
        core.max_by_us().saturating_sub(core.store.by_us)
    }

    /// Asks the peer whether it is there, unless it has been asked already.
    pub fn ask(&self) {
        self.0.borrow_mut().ask();
    }

    /// Sends a request's head. `end`: it has no body.
    pub fn send_request(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream), Error> {
        let (head, ()) = request.into_parts();
        let mut core = self.0.borrow_mut();
        let key = core.open(&head, end)?;
        core.store[key].handles += 1;
        let response = ResponseFuture::new(Handle::adopt(&self.0, key));
        let body = SendStream::new(Handle::adopt(&self.0, key));
        Ok((response, body))
    }
}

impl Drop for SendRequest {
    fn drop(&mut self) {
        let mut core = self.0.borrow_mut();
        core.has_opener = false;
        core.kick();
    }
}
