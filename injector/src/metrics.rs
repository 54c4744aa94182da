//! What the webhook counts. The control plane serves it beside its own metrics.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{Decision, review::Outcome, validate::Validation};

/// Upper bounds of the duration histogram in microseconds. An injection takes some 100; what takes
/// a hundred times that is starved of CPU.
const BUCKETS: [u64; 6] = [100, 300, 1_000, 3_000, 10_000, 100_000];
/// What a validation may come to, and its label.
const VALIDATIONS: [(Validation, &str); 4] = [
    (Validation::Allowed, "allowed"),
    (Validation::Warned, "warned"),
    (Validation::Denied, "denied"),
    (Validation::Unknown, "unknown_kind"),
];
const DECISIONS: usize = Decision::ALL.len();

/// Counters of one webhook. Created once, shared by reference.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Pods that were sent a patch, by decision.
    injected: [AtomicU64; DECISIONS],
    /// Pods that had all of it already, by decision. Reinvocation makes these.
    unchanged: [AtomicU64; DECISIONS],
    /// Pods admitted as they are, by decision.
    skipped: [AtomicU64; DECISIONS],
    /// Pods refused for what they ask. A rise: someone rolls out a bad annotation.
    denied: AtomicU64,
    /// Reviews of something else. Any: the webhook's rules match too much.
    not_a_pod: AtomicU64,
    /// Requests that are no reviews. Any: something other than an API server calls.
    malformed: AtomicU64,
    /// Requests for whose body there was no memory. Any: somebody sends more than a cluster does.
    overloaded: AtomicU64,
    /// Objects that were validated, by [`Validation`]. A rise of denied: someone applies what Weir
    /// refuses. Any of no known kind: the webhook's rules match too much.
    validated: [AtomicU64; VALIDATIONS.len()],
    /// Reviews by duration, not cumulated; the last is beyond all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    /// Microseconds spent on reviews.
    micros: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn reviewed(&self, outcome: Outcome, duration: Duration) {
        let counter = match outcome {
            Outcome::Injected(decision) => &self.injected[index(decision)],
            Outcome::Unchanged(decision) => &self.unchanged[index(decision)],
            Outcome::Skipped(decision) => &self.skipped[index(decision)],
            Outcome::Denied => &self.denied,
            Outcome::NotAPod => &self.not_a_pod,
        };
        increment(counter, 1);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS
            .iter()
            .position(|bound| micros <= *bound)
            .unwrap_or(BUCKETS.len());
        increment(&self.buckets[bucket], 1);
        increment(&self.micros, micros);
    }

    pub(crate) fn validated(&self, validation: Validation) {
        for ((other, _), counter) in VALIDATIONS.iter().zip(&self.validated) {
            increment(counter, u64::from(*other == validation));
        }
    }

    pub(crate) fn malformed(&self) {
        increment(&self.malformed, 1);
    }

    pub(crate) fn overloaded(&self) {
        increment(&self.overloaded, 1);
    }

    /// Appends all metrics in the Prometheus text format.
    pub fn write_prometheus(&self, out: &mut String) {
        const REVIEWS: &str = "weir_injection_reviews_total";
        const VALIDATED: &str = "weir_validation_reviews_total";
        const SECONDS: &str = "weir_injection_duration_seconds";
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{text}");
        };
        line(format_args!(
            "# HELP {REVIEWS} Admission reviews, by what was answered and why."
        ));
        line(format_args!("# TYPE {REVIEWS} counter"));
        for (outcome, counters) in [
            ("injected", &self.injected),
            ("unchanged", &self.unchanged),
            ("skipped", &self.skipped),
        ] {
            for decision in Decision::ALL {
                let count = read(&counters[index(decision)]);
                let applies = decision.injects() != (outcome == "skipped");
                if applies {
                    let reason = decision.label();
                    line(format_args!(
                        "{REVIEWS}{{outcome=\"{outcome}\",reason=\"{reason}\"}} {count}"
                    ));
                }
            }
        }
        for (outcome, counter) in [
            ("denied", &self.denied),
            ("not_a_pod", &self.not_a_pod),
            ("malformed", &self.malformed),
            ("overloaded", &self.overloaded),
        ] {
            line(format_args!(
                "{REVIEWS}{{outcome=\"{outcome}\",reason=\"\"}} {}",
                read(counter)
            ));
        }
        line(format_args!(
            "# HELP {VALIDATED} Validated objects, by what was answered."
        ));
        line(format_args!("# TYPE {VALIDATED} counter"));
        for ((_, outcome), counter) in VALIDATIONS.iter().zip(&self.validated) {
            let count = read(counter);
            line(format_args!("{VALIDATED}{{outcome=\"{outcome}\"}} {count}"));
        }
        line(format_args!(
            "# HELP {SECONDS} Time spent on an admission review."
        ));
        line(format_args!("# TYPE {SECONDS} histogram"));
        let mut total = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            total += read(bucket);
            line(format_args!(
                "{SECONDS}_bucket{{le=\"{}\"}} {total}",
                seconds(*bound)
            ));
        }
        total += read(&self.buckets[BUCKETS.len()]);
        line(format_args!("{SECONDS}_bucket{{le=\"+Inf\"}} {total}"));
        line(format_args!(
            "{SECONDS}_sum {}",
            seconds(read(&self.micros))
        ));
        line(format_args!("{SECONDS}_count {total}"));
    }
}

fn index(decision: Decision) -> usize {
    Decision::ALL
        .iter()
        .position(|other| *other == decision)
        .unwrap_or(0)
}

fn increment(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_one_line_and_buckets_cumulate() {
        let metrics = Metrics::default();
        for micros in [50, 200, 1_000_000] {
            let outcome = Outcome::Injected(Decision::PolicyEnabled);
            metrics.reviewed(outcome, Duration::from_micros(micros));
        }
        metrics.reviewed(Outcome::Skipped(Decision::HostNetwork), Duration::ZERO);
        metrics.malformed();
        let mut text = String::new();
        metrics.write_prometheus(&mut text);
        for line in [
            "weir_injection_reviews_total{outcome=\"injected\",reason=\"policy_enabled\"} 3",
            "weir_injection_reviews_total{outcome=\"skipped\",reason=\"host_network\"} 1",
            "weir_injection_reviews_total{outcome=\"malformed\",reason=\"\"} 1",
            "weir_injection_duration_seconds_bucket{le=\"0.0001\"} 2",
            "weir_injection_duration_seconds_bucket{le=\"0.1\"} 3",
            "weir_injection_duration_seconds_bucket{le=\"+Inf\"} 4",
            "weir_injection_duration_seconds_sum 1.00025",
            "weir_injection_duration_seconds_count 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
    }
}
