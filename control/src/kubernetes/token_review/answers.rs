//! What the API server said about tokens, for a while.

use std::{num::NonZeroUsize, time::Duration};

use lru::LruCache;
use tokio::time::Instant;
use weir_discovery::xds::Identity;

/// How long a good answer counts. A sidecar that comes back with the same token in this time costs
/// no request; a pod that was deleted is turned away after it.
pub(super) const GOOD: Duration = Duration::from_secs(60);
/// How long a refusal counts, so that a client that asks again and again costs little.
pub(super) const REFUSED: Duration = Duration::from_secs(10);
/// Good answers that are remembered: a few bytes each, and more sidecars than come back in a minute.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");
/// Refusals that are.
const REMEMBERED_REFUSED: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// Hash of a token, with keys of our own.
pub(super) type Key = [u64; 2];

/// What was answered. Refusals, of which a stranger can cause any number, displace no good answer.
pub(super) struct Answers {
    good: LruCache<Key, (Instant, Identity)>,
    refused: LruCache<Key, (Instant, String)>,
}

// === impl Answers ===

impl Default for Answers {
    fn default() -> Self {
        Self {
            good: LruCache::new(REMEMBERED),
            refused: LruCache::new(REMEMBERED_REFUSED),
        }
    }
}

impl Answers {
    /// What was answered about a token not long ago.
    pub(super) fn get(&mut self, key: Key) -> Option<Result<Identity, String>> {
        if let Some((at, identity)) = self.good.get(&key)
            && at.elapsed() < GOOD
        {
            return Some(Ok(identity.clone()));
        }
        let (at, reason) = self.refused.get(&key)?;
        (at.elapsed() < REFUSED).then(|| Err(reason.clone()))
    }

    /// Remembers it, in place of what was used least recently.
    pub(super) fn put(&mut self, key: Key, is: Result<Identity, String>) {
        let now = Instant::now();
        match is {
            Ok(identity) => drop(self.good.put(key, (now, identity))),
            Err(reason) => drop(self.refused.put(key, (now, reason))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_displace_no_good_answer_and_what_is_used_stays() {
        let mut answers = Answers::default();
        answers.put([0, 1], Ok(identity()));
        for number in 0..100_000 {
            answers.put([1, number], Err("unknown".to_owned()));
        }
        assert_eq!(answers.get([0, 1]), Some(Ok(identity())));
        assert_eq!(answers.refused.len(), REMEMBERED_REFUSED.get());
        for number in 0..2 * REMEMBERED.get() as u64 {
            answers.put([2, number], Ok(identity()));
            assert!(answers.get([0, 1]).is_some(), "it is used");
        }
        assert_eq!(answers.good.len(), REMEMBERED.get());
        assert_eq!(answers.get([2, 0]), None);
    }
}
