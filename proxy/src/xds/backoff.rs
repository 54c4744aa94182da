//! Pauses between attempts to reach the control plane.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// First pause: a control plane that restarts is back within seconds.
const BASE: Duration = Duration::from_millis(250);
/// Longest pause: bounds how late a proxy learns that the control plane is back.
const MAX: Duration = Duration::from_secs(15);

/// Doubling pauses with full jitter over their upper half, so that the proxies of a cluster do
/// not come back all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    random: RandomState,
}

// === impl Backoff ===

impl Backoff {
    /// The attempt succeeded.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The attempt failed; how long to wait before the next.
    pub(super) fn next(&mut self) -> Duration {
        let longest = MAX.min(BASE * 2_u32.saturating_pow(self.failures.min(16)));
        self.failures += 1;
        longest / 2 + longest.mul_f64(0.5 * self.share())
    }

    /// Somewhere in `0.0..1.0`.
    fn share(&self) -> f64 {
        // The hasher is keyed at random for each process; enough for jitter.
        let mut hasher = self.random.build_hasher();
        hasher.write_u32(self.failures);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_again_after_success() {
        let mut backoff = Backoff::default();
        let mut expected = BASE;
        for _ in 0..40 {
            let pause = backoff.next();
            assert!(
                pause >= expected / 2 && pause <= expected,
                "{pause:?} of {expected:?}"
            );
            expected = MAX.min(expected * 2);
        }
        backoff.reset();
        assert!(backoff.next() <= BASE);
    }
}
