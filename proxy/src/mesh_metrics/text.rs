//! Series as a page of Prometheus' text format: those of all workers with the same labels are one.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::{
    Settings, labels,
    series::{Numbers, Series},
    shard::Shard,
};
use crate::stats::{BUCKETS_MS, HistogramReading};

/// The numbers of a series, over all workers.
#[derive(Default)]
struct Sum {
    counters: [u64; 4],
    histograms: [HistogramReading; 3],
}

/// Series by their labels, as they are written.
type Sums = BTreeMap<String, Sum>;

/// A metric: its name, its help, and which number of a series it is.
type Metric = (&'static str, &'static str, usize);

const REQUESTS: [Metric; 1] = [(
    "requests_total",
    "Requests, by both ends and what became of them.",
    0,
)];
const REQUEST_HISTOGRAMS: [Metric; 3] = [
    (
        "request_duration_milliseconds",
        "Time from a request's head to the end of its response.",
        0,
    ),
    ("request_bytes", "Bytes of requests' bodies.", 1),
    ("response_bytes", "Bytes of responses' bodies.", 2),
];
const CONNECTIONS: [Metric; 4] = [
    ("tcp_connections_opened_total", "Connections opened.", 0),
    ("tcp_connections_closed_total", "Connections closed.", 1),
    ("tcp_sent_bytes_total", "Bytes sent by servers.", 2),
    ("tcp_received_bytes_total", "Bytes sent by clients.", 3),
];

/// Appends all series of all workers to `page`.
pub(super) fn write(
    settings: &Settings,
    shards: &[Arc<Shard>],
    page: &mut String,
    wanted: &dyn Fn(&str, MetricKind) -> bool,
) {
    let (mut http, mut tcp) = (Sums::new(), Sums::new());
    let (mut evicted, mut overflowed, mut held) = (0, 0, 0);
    for shard in shards {
        // The worker that waits for the lock serves nobody meanwhile: what takes time comes after it.
        let series = shard.with(|table| {
            evicted += table.evicted;
            overflowed += table.overflowed;
            for series in table.overflow.iter().flatten() {
                let is_http = matches!(series.numbers, Numbers::Requests(_));
                add(series, labels::overflow(is_http), &mut http, &mut tcp);
            }
            table.series.clone()
        });
        held += series.len() as u64;
        for (key, series) in &series {
            add(series, labels::of(settings, key), &mut http, &mut tcp);
        }
    }
    let mut page = Page {
        prefix: &settings.prefix,
        text: page,
        wanted,
    };
    page.counters(&REQUESTS, &http);
    page.histograms(&REQUEST_HISTOGRAMS, &http);
    page.counters(&CONNECTIONS, &tcp);
    use MetricKind::{Counter, Gauge};
    page.own("mesh_metrics_series", Gauge, "Series held.", held);
    let help = "Series forgotten, since nothing was counted in them for an hour.";
    page.own("mesh_metrics_evicted_total", Counter, help, evicted);
    let help = "Calls and connections counted as overflow, since there were too many series.";
    page.own("mesh_metrics_overflow_total", Counter, help, overflowed);
}

fn add(series: &Series, labels: String, http: &mut Sums, tcp: &mut Sums) {
    match &series.numbers {
        Numbers::Requests(series) => {
            let sum = http.entry(labels).or_default();
            sum.counters[0] += series.total.get();
            let all = [
                &series.duration,
                &series.request_bytes,
                &series.response_bytes,
            ];
            for (sum, histogram) in sum.histograms.iter_mut().zip(all) {
                sum.add(&histogram.read());
            }
        }
        Numbers::Connections(series) => {
            let sum = tcp.entry(labels).or_default();
            let all = [
                &series.opened,
                &series.closed,
                &series.sent_bytes,
                &series.received_bytes,
            ];
            for (sum, counter) in sum.counters.iter_mut().zip(all) {
                *sum += counter.get();
            }
        }
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// The page while it is written. Writing to a string cannot fail.
struct Page<'a> {
    prefix: &'a str,
    text: &'a mut String,
    wanted: &'a dyn Fn(&str, MetricKind) -> bool,
}

impl Page<'_> {
    /// Begins a metric; false if nobody wants it.
    fn begin(&mut self, name: &str, kind: MetricKind, help: &str) -> bool {
        let full = format!("{}_{name}", self.prefix);
        let is_wanted = (self.wanted)(&full, kind);
        if is_wanted {
            let kind = match kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
            };
            let _ = writeln!(self.text, "# HELP {full} {help}\n# TYPE {full} {kind}");
        }
        is_wanted
    }

    /// A number of the metrics' own.
    fn own(&mut self, name: &str, kind: MetricKind, help: &str, value: u64) {
        if self.begin(name, kind, help) {
            let _ = writeln!(self.text, "{}_{name}{{}} {value}", self.prefix);
        }
    }

    fn counters(&mut self, metrics: &[Metric], sums: &Sums) {
        for (name, help, index) in metrics.iter().filter(|_| !sums.is_empty()) {
            if !self.begin(name, MetricKind::Counter, help) {
                continue;
            }
            for (labels, sum) in sums {
                let value = sum.counters[*index];
                let _ = writeln!(self.text, "{}_{name}{{{labels}}} {value}", self.prefix);
            }
        }
    }

    fn histograms(&mut self, metrics: &[Metric], sums: &Sums) {
        for (name, help, index) in metrics.iter().filter(|_| !sums.is_empty()) {
            if !self.begin(name, MetricKind::Histogram, help) {
                continue;
            }
            for (labels, sum) in sums {
                self.histogram(name, labels, &sum.histograms[*index]);
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, reading: &HistogramReading) {
        let (prefix, text) = (self.prefix, &mut self.text);
        let mut count = 0;
        for (bucket, bound) in reading.buckets.iter().zip(BUCKETS_MS) {
            count += bucket;
            let _ = writeln!(
                text,
                "{prefix}_{name}_bucket{{{labels},le=\"{bound}\"}} {count}"
            );
        }
        let (count, us) = (reading.count(), reading.sum_us);
        let _ = writeln!(
            text,
            "{prefix}_{name}_bucket{{{labels},le=\"+Inf\"}} {count}"
        );
        let _ = match us % 1_000 {
            0 => writeln!(text, "{prefix}_{name}_sum{{{labels}}} {}", us / 1_000),
            rest => writeln!(
                text,
                "{prefix}_{name}_sum{{{labels}}} {}.{rest:03}",
                us / 1_000
            ),
        };
        let _ = writeln!(text, "{prefix}_{name}_count{{{labels}}} {count}");
    }
}
