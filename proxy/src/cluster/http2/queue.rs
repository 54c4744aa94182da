//! Requests that wait for a place on a connection: first come, first served.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::Http2Lease;
use crate::{cluster::Host, config::circuit_breakers::RoutingPriority, reason::Reason};

/// Those who wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue(RefCell<VecDeque<Rc<Waiting>>>);

/// One who waits.
struct Waiting {
    priority: RoutingPriority,
    result: Cell<Option<Result<Http2Lease, Reason>>>,
    waker: Cell<Option<Waker>>,
}

/// A turn in the queue of a host. Dropped, it makes way.
pub(super) struct Turn {
    host: Rc<Host>,
    waiting: Rc<Waiting>,
}

// === impl Queue ===

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// The priority of the first.
    pub(super) fn priority(&self) -> RoutingPriority {
        let queue = self.0.borrow();
        queue
            .front()
            .map(|first| first.priority)
            .unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Gives a place to the first.
    pub(super) fn serve(&self, lease: Http2Lease) {
        let first = self.0.borrow_mut().pop_front();
        if let Some(first) = first {
            first.end(Ok(lease));
        }
    }

    /// Tells all that there will be no place.
    pub(super) fn fail(&self, reason: Reason) {
        let all = self.0.take();
        all.iter().for_each(|waiting| waiting.end(Err(reason)));
    }
}

// === impl Waiting ===

impl Waiting {
    fn end(&self, result: Result<Http2Lease, Reason>) {
        self.result.set(Some(result));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

// === impl Turn ===

impl Turn {
    /// Goes to the end of the queue.
    pub(super) fn new(host: &Rc<Host>, priority: RoutingPriority) -> Self {
        let waiting = Rc::new(Waiting {
            priority,
            result: Cell::default(),
            waker: Cell::default(),
        });
        let queue = &host.http2().queue;
        queue.0.borrow_mut().push_back(Rc::clone(&waiting));
        Self {
            host: Rc::clone(host),
            waiting,
        }
    }
}

impl Future for Turn {
    type Output = Result<Http2Lease, Reason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.waiting.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.waiting.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.host.http2().queue.0.borrow_mut();
        queue.retain(|waiting| !Rc::ptr_eq(waiting, &self.waiting));
    }
}
