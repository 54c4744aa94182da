//! Places for the futures of streams. One is some kilobytes, more than an allocator hands out
//! quickly, and streams come and go by the ten thousand: a connection keeps what a stream has left
//! for the next.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Empty places that a connection keeps while it has streams: as many streams as commonly come
/// together. An idle connection keeps one.
const KEPT: usize = 32;

/// A future of a stream, in its place. Ready with the empty place.
pub(super) struct Placed<F>(Option<Place<F>>);

/// Where a future of a stream lies.
pub(super) type Place<F> = Pin<Box<Option<F>>>;

/// The empty places of a connection.
pub(super) struct Places<F>(Vec<Place<F>>);

// === impl Places ===

impl<F> Places<F> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Puts a future in a place.
    pub(super) fn place(&mut self, future: F) -> Placed<F> {
        let mut place = self.0.pop().unwrap_or_else(|| Box::pin(None));
        place.set(Some(future));
        Placed(Some(place))
    }

    /// Takes a place back.
    pub(super) fn put_back(&mut self, place: Place<F>) {
        if self.0.len() < KEPT {
            self.0.push(place);
        }
    }

    /// Gives back what an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        self.0.truncate(1);
        self.0.shrink_to(1);
    }
}

// === impl Placed ===

impl<F: Future<Output = ()>> Future for Placed<F> {
    type Output = Place<F>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place<F>> {
        let future = self.0.as_mut().expect("polled after it was ready");
        if let Some(future) = future.as_mut().as_pin_mut() {
            ready!(future.poll(cx));
        }
        let mut place = self.0.take().expect("taken once");
        place.set(None);
        Poll::Ready(place)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, task::Waker};

    use super::*;

    #[test]
    fn a_place_is_used_again() {
        let mut places = Places::new();
        let mut address = None;
        for _ in 0..3 {
            let mut placed = places.place(ready(()));
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(place) = Pin::new(&mut placed).poll(&mut cx) else {
                panic!("it was ready");
            };
            assert!(place.is_none(), "what is held is dropped");
            let here = std::ptr::from_ref(&*place);
            assert_eq!(*address.get_or_insert(here), here);
            places.put_back(place);
        }
    }
}
