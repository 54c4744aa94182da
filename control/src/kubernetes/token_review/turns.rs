//! Whose turn it is to have the API server asked.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests under way at a time, so that sidecars that all come back do not flood the API server.
const REQUESTS: usize = 32;
/// Of those, and of those that wait for them, from one address.
const OF_PEER: usize = 4;

/// Turns: some in all, few of one address, in the order in which each came.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    /// Addresses with requests that are under way or wait; no more than there are connections.
    of_peer: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _all: Option<OwnedSemaphorePermit>,
    _own: Own<'a>,
}

/// The place of a request among those of its address, or in the queue for one.
#[derive(Debug)]
struct Own<'a> {
    turns: &'a Turns,
    peer: IpAddr,
    semaphore: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

// === impl Turns ===

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(REQUESTS)),
            of_peer: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn.
    pub(super) async fn take(&self, peer: IpAddr) -> Turn<'_> {
        let semaphore = Arc::clone(
            self.lock()
                .entry(peer)
                .or_insert_with(|| Arc::new(Semaphore::new(OF_PEER))),
        );
        let mut own = Own {
            turns: self,
            peer,
            semaphore: Some(Arc::clone(&semaphore)),
            permit: None,
        };
        // Semaphores are never closed, so these wait and do not fail.
        own.permit = semaphore.acquire_owned().await.ok();
        Turn {
            _all: Arc::clone(&self.all).acquire_owned().await.ok(),
            _own: own,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        // Nothing panics while it is held.
        self.of_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Own ===

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.permit = None;
        let mut of_peer = self.turns.lock();
        self.semaphore = None;
        // The last one of an address: only the table has its semaphore.
        let is_last = |semaphore: &Arc<Semaphore>| Arc::strong_count(semaphore) == 1;
        if of_peer.get(&self.peer).is_some_and(is_last) {
            of_peer.remove(&self.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn many_requests_of_one_address_leave_turns_to_others() {
        let turns = Turns::default();
        let (stranger, sidecar) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut taken = Vec::new();
        for _ in 0..OF_PEER {
            taken.push(turns.take(stranger).await);
        }
        let waiting: Vec<_> = (0..1000).map(|_| Box::pin(turns.take(stranger))).collect();
        let mut waiting = waiting;
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        assert!(turns.take(sidecar).now_or_never().is_some());
        drop(waiting);
        assert!(turns.take(stranger).now_or_never().is_none());
        taken.clear();
        assert!(turns.take(stranger).now_or_never().is_some());
        assert!(
            turns.lock().is_empty(),
            "nothing is kept of who asks nothing"
        );
    }
}
