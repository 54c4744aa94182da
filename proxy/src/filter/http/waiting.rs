//! What a filter waits for without holding up anybody else's request.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Something that a filter waits for, which its exchange drives. Dropping it gives it up.
pub struct Waiting(Pin<Box<dyn Future<Output = ()>>>);

/// What will have come of it.
pub(crate) struct Awaited<T>(Rc<Cell<Option<T>>>);

// === impl Waiting ===

impl Waiting {
    /// Waits for `future`. The filter keeps the second part and looks into it when it is asked again.
    pub(crate) fn new<T: 'static>(future: impl Future<Output = T> + 'static) -> (Self, Awaited<T>) {
        let result = Rc::new(Cell::new(None));
        let place = Rc::clone(&result);
        let waiting = async move { place.set(Some(future.await)) };
        (Self(Box::pin(waiting)), Awaited(result))
    }

    /// Ready when the filter is to be asked again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

// === impl Awaited ===

impl<T> Awaited<T> {
    /// What came of it; none before it has come, and once it was taken.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }
}
