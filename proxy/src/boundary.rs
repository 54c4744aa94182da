//! What a panic may end: the connection or the control task that it happens in, never the process.
//!
//! Whatever else a worker holds stays whole, because unwinding lets go of what was borrowed and
//! drops the guards that gauges, pools and limits are counted by.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;

use crate::{
    stat_set,
    stats::{Registry, Scope},
};

/// Pause before a control task that panicked runs again, so that one that always does is no busy
/// loop.
const PAUSE: Duration = Duration::from_secs(1);

stat_set! {
    /// `server.*`, Weir's own.
    pub(crate) struct Panics {
        /// Panics that were contained. Each ended one connection or one turn of a control task, and is a bug: the error line has its backtrace.
        panics: Counter,
    }
}

/// Contains panics and counts them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Boundary(Arc<Panics>);

// === impl Boundary ===

impl Boundary {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self(registry.register(Scope::process("server")))
    }

    /// Panics contained so far.
    pub(crate) fn panics(&self) -> u64 {
        self.0.panics.get()
    }

    /// `future`, ready with `None` where it panicked. It is as large as before but for a pointer.
    pub(crate) fn contain<F: Future>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let panics = Arc::clone(&self.0);
        let contained = AssertUnwindSafe(future).catch_unwind();
        contained.map(move |done| done.map_err(|_| panics.panics.inc_shared()).ok())
    }

    /// What `step` returns; `None` where it panicked.
    pub(crate) fn call<T>(&self, step: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(step));
        done.map_err(|_| self.0.panics.inc_shared()).ok()
    }

    /// Runs a control task, from its start again each time it panics.
    pub(crate) async fn keep<F: Future<Output = ()>>(self, mut start: impl FnMut() -> F) {
        while self.contain(start()).await.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    #[expect(
        clippy::await_holding_refcell_ref,
        reason = "what a panic leaves borrowed is what is tested"
    )]
    async fn a_panic_ends_what_it_happens_in_and_is_counted() {
        let boundary = Boundary::new(&Registry::default());
        let shared = RefCell::new(1);
        let dying = async {
            let _held = shared.borrow_mut();
            tokio::task::yield_now().await;
            panic!("deliberate");
        };
        assert_eq!(boundary.contain(dying).await, None::<()>);
        assert_eq!(boundary.call(|| -> u8 { panic!("deliberate") }), None);
        assert_eq!(*shared.borrow_mut(), 1, "nothing is borrowed any more");
        assert_eq!(boundary.contain(async { 2 }).await, Some(2));
        assert_eq!(boundary.panics(), 2);
    }

    #[tokio::test]
    async fn a_control_task_runs_again_after_a_panic() {
        let boundary = Boundary::new(&Registry::default());
        let runs = Cell::new(0);
        let task = || async {
            runs.set(runs.get() + 1);
            assert!(runs.get() == 2, "deliberate");
        };
        boundary.clone().keep(task).await;
        assert_eq!((runs.get(), boundary.panics()), (2, 1));
    }
}
