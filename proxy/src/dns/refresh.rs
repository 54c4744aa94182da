//! When a name is looked up again.

use std::time::Duration;

use super::Resolved;
use crate::{
    config::dns::{DnsBackoff, DnsRefresh},
    random,
};

/// When a name is looked up again.
#[derive(Debug)]
pub(crate) struct Refresh {
    config: DnsRefresh,
    /// Of the next failure, if the one before was one.
    backoff: Option<Duration>,
    random: u64,
}

// === impl Refresh ===

impl Refresh {
    pub(crate) fn new(config: DnsRefresh) -> Self {
        Self {
            config,
            backoff: None,
            random: random::seed(),
        }
    }

    pub(crate) fn after_answer(&mut self, resolved: &Resolved) -> Duration {
        self.backoff = None;
        let config = self.config;
        let rate = match config.respects_ttl && !resolved.ttl.is_zero() {
            true => resolved.ttl.max(config.minimum),
            false => config.rate,
        };
        rate.saturating_add(self.below(config.jitter))
    }

    /// As Envoy's JitteredExponentialBackOffStrategy: any time below an interval that doubles.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let Some(DnsBackoff { base, maximum }) = self.config.failure else {
            return self.config.rate;
        };
        let interval = self.backoff.unwrap_or(base);
        self.backoff = Some(interval.saturating_mul(2).min(maximum));
        // A millisecond, so that it is no busy loop.
        self.below(interval).max(Duration::from_millis(1))
    }

    fn below(&mut self, bound: Duration) -> Duration {
        let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let drawn = random::next(&mut self.random);
        Duration::from_millis(drawn.checked_rem(bound).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn resolved(ttl: u64) -> Resolved {
        Resolved {
            addresses: vec![[10, 0, 0, 1].into()],
            ttl: seconds(ttl),
        }
    }

    #[test]
    fn an_answer_is_good_for_the_rate_or_for_what_it_says() {
        let mut refresh = Refresh::new(DnsRefresh::default());
        assert_eq!(refresh.after_answer(&resolved(30)), seconds(5));
        refresh.config.respects_ttl = true;
        assert_eq!(refresh.after_answer(&resolved(30)), seconds(30));
        assert_eq!(refresh.after_answer(&resolved(0)), seconds(5));
        refresh.config.minimum = seconds(40);
        assert_eq!(refresh.after_answer(&resolved(30)), seconds(40));
        assert_eq!(refresh.after_answer(&resolved(50)), seconds(50));
    }

    #[test]
    fn jitter_comes_on_top_and_stays_below_its_bound() {
        let mut refresh = Refresh::new(DnsRefresh {
            jitter: seconds(2),
            ..DnsRefresh::default()
        });
        let waits: Vec<_> = (0..200)
            .map(|_| refresh.after_answer(&resolved(1)))
            .collect();
        assert!(waits.iter().all(|it| (seconds(5)..seconds(7)).contains(it)));
        assert!(waits.iter().any(|it| *it > seconds(6)));
    }

    #[test]
    fn failures_are_further_and_further_apart_until_an_answer() {
        let mut refresh = Refresh::new(DnsRefresh {
            failure: Some(DnsBackoff {
                base: seconds(1),
                maximum: seconds(4),
            }),
            ..DnsRefresh::default()
        });
        for bound in [1, 2, 4, 4] {
            assert!(refresh.after_failure() < seconds(bound));
        }
        let waits: Vec<_> = (0..200).map(|_| refresh.after_failure()).collect();
        assert!(waits.iter().any(|it| *it > seconds(2)));
        refresh.after_answer(&resolved(1));
        assert!(refresh.after_failure() < seconds(1));
        refresh.config.failure = None;
        assert_eq!(refresh.after_failure(), seconds(5));
    }
}
