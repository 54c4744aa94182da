//! Whether clients of a filter chain are to go elsewhere.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

/// Says when a filter chain drains. Copies are of one and the same chain.
#[derive(Clone, Default)]
pub(crate) struct Drain(Option<Rc<Chain>>);

#[derive(Default)]
struct Chain {
    is_draining: Cell<bool>,
    begins: Notify,
}

// === impl Drain ===

impl Drain {
    /// Of a new chain. The default is of none, which never drains.
    pub(crate) fn of_chain() -> Self {
        Self(Some(Rc::default()))
    }

    /// Begins to drain.
    pub(crate) fn begin(&self) {
        if let Some(chain) = &self.0 {
            chain.is_draining.set(true);
            chain.begins.notify_waiters();
        }
    }

    /// Whether clients are to go elsewhere after their current request.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.as_ref().is_some_and(|chain| chain.is_draining.get())
    }

    /// Ends when draining begins.
    pub(crate) async fn drained(&self) {
        let Some(chain) = &self.0 else {
            return std::future::pending().await;
        };
        let begins = chain.begins.notified();
        if !chain.is_draining.get() {
            begins.await;
        }
    }
}
