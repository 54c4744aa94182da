//! Histograms with Envoy's default buckets.

use super::{Counter, Reading, Stat, Value};

/// Upper bounds of the buckets, milliseconds: Envoy's defaults.
pub const BUCKETS_MS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A distribution of durations. Written by one thread.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS_MS.len() + 1],
    sum_us: Counter,
}

/// What a [`Histogram`] holds, added up over the workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistogramReading {
    /// Samples in each bucket, not cumulative; the last is beyond the last bound.
    pub buckets: [u64; BUCKETS_MS.len() + 1],
    /// Sum of all samples, microseconds.
    pub sum_us: u64,
}

// === impl Histogram ===

impl Histogram {
    /// Records a duration in microseconds.
    pub fn record_us(&self, us: u64) {
        #[expect(clippy::cast_precision_loss, reason = "2^53 us are 285 years")]
        let ms = us as f64 / 1_000.0;
        let bucket = BUCKETS_MS.partition_point(|bound| *bound < ms);
        self.buckets[bucket].inc();
        self.sum_us.add(us);
    }

    /// Records a number of another unit, such as bytes: the bounds are the same.
    pub fn record(&self, value: u64) {
        self.record_us(value.saturating_mul(1_000));
    }

    /// What it holds.
    #[must_use]
    pub fn read(&self) -> HistogramReading {
        let mut buckets = [0; BUCKETS_MS.len() + 1];
        for (sum, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *sum = bucket.get();
        }
        HistogramReading {
            buckets,
            sum_us: self.sum_us.get(),
        }
    }
}

impl Stat for Histogram {
    fn visit(&self, name: &'static str, help: &'static str, visit: &mut dyn FnMut(Value)) {
        let reading = Reading::Histogram(Box::new(self.read()));
        visit(Value {
            name: name.into(),
            help,
            label: None,
            reading,
        });
    }
}

// === impl HistogramReading ===

impl HistogramReading {
    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The value below which a share of the samples lies, milliseconds, linear within a bucket.
    /// None without samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an estimate within a bucket")]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let (mut seen, mut lower) = (0.0, 0.0);
        let last = BUCKETS_MS[BUCKETS_MS.len() - 1];
        for (count, upper) in self
            .buckets
            .iter()
            .zip(BUCKETS_MS.into_iter().chain([last]))
        {
            let count = *count as f64;
            if count > 0.0 && seen + count >= wanted {
                return Some(lower + (upper - lower) * ((wanted - seen) / count).clamp(0.0, 1.0));
            }
            seen += count;
            lower = upper;
        }
        None
    }

    /// Takes in what another holds.
    pub fn add(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket;
        }
        self.sum_us += other.sum_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(histogram: &Histogram) -> HistogramReading {
        let mut reading = None;
        histogram.visit("x", "", &mut |value| match value.reading {
            Reading::Histogram(histogram) => reading = Some(*histogram),
            _ => panic!("not a histogram"),
        });
        reading.expect("one reading")
    }

    #[test]
    fn a_sample_on_a_bound_belongs_to_the_bucket_below_it() {
        let histogram = Histogram::default();
        for us in [500, 501, 1_000, 4_000_000_000] {
            histogram.record_us(us);
        }
        let reading = read(&histogram);
        assert_eq!(reading.buckets[..3], [1, 2, 0]);
        assert_eq!(reading.buckets[BUCKETS_MS.len()], 1);
        assert_eq!((reading.count(), reading.sum_us), (4, 4_000_002_001));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let histogram = Histogram::default();
        assert_eq!(read(&histogram).quantile(0.5), None);
        (0..100).for_each(|_| histogram.record_us(7_000));
        let median = read(&histogram).quantile(0.5).expect("a median");
        assert!((5.0..=10.0).contains(&median), "{median}");
    }
}
