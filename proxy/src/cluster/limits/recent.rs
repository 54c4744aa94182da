//! Requests that began a short while ago, by which a retry budget may go.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Parts that an interval is counted in: a request is forgotten at most so much too late.
const PARTS: u64 = 16;
/// One more than that, since the part of now has only begun.
const SLOTS: usize = PARTS as usize + 1;

/// Requests that began within an interval. Written by one worker, read by all.
#[derive(Debug)]
pub(super) struct Recent {
    start: Instant,
    /// Of a part, in nanoseconds.
    width: u64,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    /// Which part it counts, from 1.
    part: AtomicU64,
    began: AtomicU64,
}

// === impl Recent ===

impl Recent {
    pub(super) fn new(interval: Duration) -> Self {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self {
            start: Instant::now(),
            width: (nanos / PARTS).max(1),
            slots: Default::default(),
        }
    }

    /// A request begins.
    pub(super) fn begin(&self, now: Instant) {
        let part = self.part(now);
        let Some(slot) = self.slots.get(part as usize % SLOTS) else {
            return;
        };
        if slot.part.load(Ordering::Relaxed) != part {
            slot.began.store(0, Ordering::Relaxed);
            slot.part.store(part, Ordering::Release);
        }
        slot.began.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that began within the interval.
    pub(super) fn count(&self, now: Instant) -> u64 {
        let part = self.part(now);
        let is_recent = |slot: &&Slot| {
            let of = slot.part.load(Ordering::Acquire);
            of > 0 && of <= part && part - of <= PARTS
        };
        let recent = self.slots.iter().filter(is_recent);
        recent.map(|slot| slot.began.load(Ordering::Relaxed)).sum()
    }

    fn part(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_nanos();
        u64::try_from(passed).unwrap_or(u64::MAX) / self.width + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_for_the_interval_and_little_longer() {
        let recent = Recent::new(Duration::from_millis(160));
        let at = |millis| recent.start + Duration::from_millis(millis);
        (0..10).for_each(|_| recent.begin(at(5)));
        recent.begin(at(100));
        assert_eq!(recent.count(at(5)), 10);
        assert_eq!(recent.count(at(164)), 11);
        assert_eq!(recent.count(at(180)), 1);
        assert_eq!(recent.count(at(300)), 0);
        // Slots are used again.
        recent.begin(at(1000));
        assert_eq!(recent.count(at(1000)), 1);
    }
}
