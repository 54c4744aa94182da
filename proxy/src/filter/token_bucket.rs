//! A bucket of tokens that fills all the time, shared by all workers without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::config::token_bucket::TokenBucket as Config;

/// A bucket of tokens. As Envoy's, it holds a moment rather than a number: the one at which it
/// would have been empty, had tokens come at all times since.
pub(crate) struct TokenBucket {
    since: Instant,
    /// Nanoseconds after `since`, plus the time that a whole filling takes.
    empty_at: AtomicU64,
    per_token: u64,
    whole: u64,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A full one.
    pub(crate) fn new(config: Config) -> Self {
        let interval = u64::try_from(config.fill_interval.as_nanos()).unwrap_or(u64::MAX);
        let per_token = (interval / u64::from(config.tokens_per_fill)).max(1);
        Self {
            since: Instant::now(),
            empty_at: AtomicU64::new(0),
            per_token,
            whole: per_token.saturating_mul(u64::from(config.max_tokens)),
        }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.take_after(self.since.elapsed())
    }

    fn take_after(&self, elapsed: Duration) -> bool {
        // All moments are later by a whole filling, so that none lies before the beginning.
        let now = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let now = now.saturating_add(self.whole);
        let taken = |empty_at: u64| {
            let full = now - self.whole;
            let next = empty_at.max(full).saturating_add(self.per_token);
            (next <= now).then_some(next)
        };
        let update = (Ordering::Relaxed, Ordering::Relaxed);
        self.empty_at
            .fetch_update(update.0, update.1, taken)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_at_all_times_up_to_what_the_bucket_holds() {
        let bucket = |max_tokens| {
            TokenBucket::new(Config {
                max_tokens,
                tokens_per_fill: 2,
                fill_interval: Duration::from_secs(1),
            })
        };
        let cases = [
            // Tokens, and at which milliseconds one is taken.
            (
                3,
                &[
                    (0, true),
                    (0, true),
                    (0, true),
                    (0, false),
                    (499, false),
                    (500, true),
                ][..],
            ),
            (
                1,
                &[
                    (0, true),
                    (60_000, true),
                    (60_000, false),
                    (60_499, false),
                    (60_500, true),
                ],
            ),
            (0, &[(0, false), (60_000, false)]),
        ];
        for (tokens, takes) in cases {
            let bucket = bucket(tokens);
            for (at, expected) in takes {
                let taken = bucket.take_after(Duration::from_millis(*at));
                assert_eq!(taken, *expected, "{tokens} tokens at {at} ms");
            }
        }
    }
}
