//! How fast a body may move: a token bucket that is filled twenty times a second, as in Envoy.

use std::time::{Duration, Instant};

/// Envoy fills its bucket so often, so that a slow body moves steadily.
const FILLS_PER_SECOND: u64 = 20;

/// Lets a body move at so many bytes a second.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: u64,
    /// Bytes that may move now.
    left: u64,
    filled: Instant,
}

// === impl Throttle ===

impl Throttle {
    /// Of at least one byte a second. A twentieth of what a second allows may move at once.
    #[must_use]
    pub fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            left: 0,
            filled: now.checked_sub(Self::PERIOD).unwrap_or(now),
        }
    }

    const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / FILLS_PER_SECOND);

    /// The rate.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// How many bytes may move now, at least one; else when to ask again.
    ///
    /// # Errors
    /// None may.
    pub fn allowance(&mut self, now: Instant) -> Result<u64, Instant> {
        let periods =
            now.saturating_duration_since(self.filled).as_nanos() / Self::PERIOD.as_nanos();
        if periods > 0 {
            let periods = u32::try_from(periods).unwrap_or(u32::MAX);
            self.filled += Self::PERIOD * periods;
            // What was not used is lost, but for one second's worth.
            let more = u64::from(periods)
                .saturating_mul(self.bytes_per_second)
                .div_ceil(FILLS_PER_SECOND);
            self.left = self.left.saturating_add(more).min(self.bytes_per_second);
        }
        match self.left {
            0 => Err(self.filled + Self::PERIOD),
            left => Ok(left),
        }
    }

    /// So many bytes have moved.
    pub fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_a_seconds_worth_through() {
        let start = Instant::now();
        let mut throttle = Throttle::new(1000, start);
        let (mut now, mut moved, mut waits) = (start, 0, 0);
        while moved < 1000 {
            match throttle.allowance(now) {
                Ok(bytes) => {
                    assert!(bytes <= 1000 / 20);
                    throttle.spend(bytes);
                    moved += bytes;
                }
                Err(at) => {
                    assert!(at > now);
                    (now, waits) = (at, waits + 1);
                }
            }
        }
        assert_eq!(waits, 19);
        assert_eq!(now - start, Throttle::PERIOD * 19);
    }

    #[test]
    fn a_pause_saves_up_a_seconds_worth_at_most() {
        let start = Instant::now();
        let mut throttle = Throttle::new(100, start);
        assert_eq!(throttle.allowance(start + Duration::from_secs(60)), Ok(100));
        throttle.spend(1000);
        assert!(throttle.allowance(start + Duration::from_secs(60)).is_err());
    }
}
