//! What clients have to trust at the moment, for those who tell them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// Time to look the bundle up again.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Look-ups asked for at a time: one of each who tells clients.
const LOOK_UPS: usize = 8;

/// The bundle of root certificates, as it changes.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    bundle: watch::Receiver<Option<Arc<str>>>,
    look_up: mpsc::Sender<oneshot::Sender<()>>,
}

/// The other end: who knows the bundle.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) bundle: watch::Sender<Option<Arc<str>>>,
    /// Asks to look again at where the bundle comes from, and to answer once that is done.
    pub(crate) look_ups: mpsc::Receiver<oneshot::Sender<()>>,
}

/// Both ends.
pub(crate) fn channel() -> (Source, Trust) {
    let (bundle, seen) = watch::channel(None);
    let (look_up, look_ups) = mpsc::channel(LOOK_UPS);
    (
        Source { bundle, look_ups },
        Trust {
            bundle: seen,
            look_up,
        },
    )
}

// === impl Trust ===

impl Trust {
    /// The bundle as far as it is known; `None` before it is.
    pub(crate) fn bundle(&self) -> Option<Arc<str>> {
        self.bundle.borrow().clone()
    }

    /// Waits until the bundle or what is served changes.
    pub(crate) async fn changed(&mut self) {
        if self.bundle.changed().await.is_err() {
            // Who knows the bundle is gone, so it changes no more.
            std::future::pending::<()>().await;
        }
    }

    /// The bundle, after a new look at where it comes from. Before somebody's work is undone, this
    /// tells a mistake from a replica that heard of a change earlier than we did.
    pub(crate) async fn look_up(&self) -> Option<Arc<str>> {
        let (reply, replied) = oneshot::channel();
        self.look_up.send(reply).await.ok()?;
        timeout(LOOK_UP_TIMEOUT, replied).await.ok()?.ok()?;
        self.bundle()
    }
}
