//! How long to wait before the next attempt.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Wait after the first failure: a connection that was cut is back at once.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait of our own accord: how much later than its server a watch may come back.
const MOST: Duration = Duration::from_secs(10);
/// Longest wait that a server may ask for.
const MOST_ASKED: Duration = Duration::from_secs(60);

/// Doubles with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    /// Something went well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Something failed: how long to wait, at least as long as the server asked for. Up to a
    /// quarter more, at random, so that not all come back at once.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let own = FIRST.saturating_mul(1 << self.failures.min(16)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        let wait = own.max(asked.unwrap_or_default().min(MOST_ASKED));
        // Keys of hash maps are random, which is random enough for this.
        let share = RandomState::new().hash_one(self.failures) % 256;
        wait + (wait / 1024).saturating_mul(share as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_heed_the_server_and_start_again() {
        let mut backoff = Backoff::default();
        let mut waits: Vec<_> = (0..40).map(|_| backoff.next(None)).collect();
        assert!(waits[0] >= FIRST && waits[0] <= FIRST * 5 / 4);
        assert!(waits.iter().all(|wait| *wait <= MOST * 5 / 4), "{waits:?}");
        assert!(waits.pop() >= Some(MOST));
        assert!(backoff.next(Some(Duration::from_secs(30))) >= Duration::from_secs(30));
        assert!(backoff.next(Some(Duration::MAX)) <= MOST_ASKED * 5 / 4);
        backoff.reset();
        assert!(backoff.next(Some(Duration::ZERO)) < FIRST * 2);
    }
}
