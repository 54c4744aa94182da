//! Streams as those see them who use them.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{Error, Reason, core::Core, store::Key, stream::remember};

/// A connection's state, which its streams share.
pub(super) type Shared = Rc<RefCell<Core>>;

/// What a stream brings. Without any handle a stream is cancelled.
#[derive(Debug)]
pub struct RecvStream(Handle);

/// Where a message's body goes.
#[derive(Debug)]
pub struct SendStream(Handle);

/// Where a response goes.
#[derive(Debug)]
pub struct SendResponse(Handle);

/// A response to come.
#[derive(Debug)]
pub struct ResponseFuture(Handle);

/// One of those who hold a stream.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Shared,
    key: Key,
}

// === impl RecvStream ===

impl RecvStream {
    pub(super) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The next part of the body. None at its end, where trailers may come.
    pub fn poll_data(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut core = self.0.shared.borrow_mut();
        let received = &mut core.store[self.0.key].received;
        if let Some(data) = received.data.pop_front() {
            return Poll::Ready(Some(Ok(data)));
        }
        match received.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                remember(&mut received.waker, cx.waker());
                Poll::Pending
            }
        }
    }

    /// The trailers, once there is no more data.
    pub fn poll_trailers(&mut self, cx: &Context<'_>) -> Poll<Result<Option<HeaderMap>, Error>> {
        let mut core = self.0.shared.borrow_mut();
        let received = &mut core.store[self.0.key].received;
        match received.end {
            Some(Ok(())) => Poll::Ready(Ok(received.trailers.take())),
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                remember(&mut received.waker, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Whether everything has been taken, be it that there was nothing.
    pub fn is_end_stream(&self) -> bool {
        let core = self.0.shared.borrow();
        core.store[self.0.key].received.is_taken()
    }

    /// So many bytes have found their place: the peer may send as many more.
    pub fn release_capacity(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.0.shared.borrow_mut().release(self.0.key, bytes);
    }
}

// === impl SendStream ===

impl SendStream {
    pub(super) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Says how many bytes will be given, so that room is kept for them.
    pub fn reserve_capacity(&mut self, bytes: usize) {
        self.0.shared.borrow_mut().reserve(self.0.key, bytes);
    }

    /// Bytes that are sent at once if they are given now.
    pub fn capacity(&self) -> usize {
        let core = self.0.shared.borrow();
        core.store[self.0.key].sending.capacity()
    }

    /// Ready when there is room for what was reserved, or a part of it. None if nothing can be
    /// sent any more.
    pub fn poll_capacity(&mut self, cx: &Context<'_>) -> Poll<Option<Result<usize, Error>>> {
        let mut core = self.0.shared.borrow_mut();
        let stream = &mut core.store[self.0.key];
        let sending = &mut stream.sending;
        if let Some(error) = sending.stopped {
            return Poll::Ready(Some(Err(error)));
        }
        if stream.is_closed || sending.is_complete() {
            return Poll::Ready(None);
        }
        match sending.capacity() {
            0 => {
                remember(&mut sending.waker, cx.waker());
                Poll::Pending
            }
            room => Poll::Ready(Some(Ok(room))),
        }
    }

    /// Sends payload, at once as far as there is room. `end`: it is the last.
    pub fn send_data(&mut self, data: Bytes, end: bool) -> Result<(), Error> {
        self.0.shared.borrow_mut().send(self.0.key, data, end)
    }

    /// Sends trailers, which end the message.
    pub fn send_trailers(&mut self, trailers: HeaderMap) -> Result<(), Error> {
        let mut core = self.0.shared.borrow_mut();
        core.send_trailers(self.0.key, trailers)
    }

    /// Resets the stream, behind what was given before.
    pub fn send_reset(&mut self, reason: Reason) {
        self.0.shared.borrow_mut().reset(self.0.key, reason);
    }

    /// Ready when the stream has been reset, or its connection has ended.
    pub fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<Result<Reason, Error>> {
        self.0.poll_reset(cx)
    }
}

// === impl SendResponse ===

impl SendResponse {
    pub(super) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Sends the response's head. `end`: it has no body.
    pub fn send_response(
        &mut self,
        response: Response<()>,
        end: bool,
    ) -> Result<SendStream, Error> {
        let (head, ()) = response.into_parts();
        let mut core = self.0.shared.borrow_mut();
        core.respond(self.0.key, &head, end)?;
        drop(core);
        Ok(SendStream(self.0.clone()))
    }

    /// Sends a 1xx response ahead of the response.
    pub fn send_informational(&mut self, response: Response<()>) -> Result<(), Error> {
        let (head, ()) = response.into_parts();
        if !head.status.is_informational() {
            return Err(Error::Unsendable);
        }
        self.0.shared.borrow_mut().respond(self.0.key, &head, false)
    }

    /// Resets the stream instead.
    pub fn send_reset(&mut self, reason: Reason) {
        self.0.shared.borrow_mut().reset(self.0.key, reason);
    }

    /// Ready when the stream has been reset, or its connection has ended.
    pub fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<Result<Reason, Error>> {
        self.0.poll_reset(cx)
    }
}

// === impl ResponseFuture ===

impl ResponseFuture {
    pub(super) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The next 1xx response. None if the response itself has come.
    pub fn poll_informational(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Response<()>, Error>>> {
        let mut core = self.0.shared.borrow_mut();
        let received = &mut core.store[self.0.key].received;
        if let Some(head) = received.informational.pop_front() {
            return Poll::Ready(Some(Ok(Response::from_parts(head, ()))));
        }
        if received.has_head {
            return Poll::Ready(None);
        }
        match received.end {
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            _ => {
                remember(&mut received.waker, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<RecvStream>, Error>;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut core = self.0.shared.borrow_mut();
        let received = &mut core.store[self.0.key].received;
        if let Some(head) = received.head.take() {
            drop(core);
            let body = RecvStream(self.0.clone());
            return Poll::Ready(Ok(Response::from_parts(head, body)));
        }
        match received.end {
            Some(Err(error)) => Poll::Ready(Err(error)),
            // It has been taken already.
            Some(Ok(())) => Poll::Ready(Err(Error::Unsendable)),
            None => {
                remember(&mut received.waker, cx.waker());
                Poll::Pending
            }
        }
    }
}

// === impl Handle ===

impl Handle {
    /// Takes over a handle that the stream counts already.
    pub(super) fn adopt(shared: &Shared, key: Key) -> Self {
        Self {
            shared: Rc::clone(shared),
            key,
        }
    }

    fn poll_reset(&self, cx: &Context<'_>) -> Poll<Result<Reason, Error>> {
        let mut core = self.shared.borrow_mut();
        let sending = &mut core.store[self.key].sending;
        match sending.stopped {
            Some(Error::Reset(reason, _)) => Poll::Ready(Ok(reason)),
            Some(error) => Poll::Ready(Err(error)),
            None => {
                remember(&mut sending.waker, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.shared.borrow_mut().store[self.key].handles += 1;
        Self::adopt(&self.shared, self.key)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.borrow_mut().drop_handle(self.key);
    }
}
