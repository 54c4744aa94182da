//! Times, counted by how long they were.

use std::time::Duration;

/// Upper bounds of the buckets, seconds. A change is to reach its clients within half a second
/// beyond the debounce of a tenth, so the resolution is there.
pub const TIME_BOUNDS: [f64; 12] = [
    0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.6, 1.0, 3.0, 10.0, 30.0,
];

/// Times, counted by how long they were.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// For each bound: how many took no longer than it and longer than the one before; the last
    /// counts those beyond all bounds.
    pub buckets: [u64; TIME_BOUNDS.len() + 1],
    /// The sum of all of them, seconds.
    pub sum: f64,
}

// === impl Histogram ===

impl Histogram {
    pub(in crate::xds) fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = TIME_BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket] += 1;
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_under_the_first_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for millis in [1, 2, 600, 40_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!(histogram.buckets, [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert!((histogram.sum - 40.603).abs() < 1e-6);
    }
}
