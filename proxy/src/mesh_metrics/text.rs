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

/// All series of all workers at one time, while they are written a few lines at a time: a page of them may be of
/// fifty megabytes.
pub(crate) struct Text {
    prefix: String,
    http: Vec<(String, Sum)>,
    tcp: Vec<(String, Sum)>,
    /// Metrics that are wanted and not written yet, the next one last.
    sections: Vec<Section>,
    /// How many series of that one are written.
    written: usize,
}

/// A metric, and what it is of.
enum Section {
    Counter(&'static Metric, Of),
    Histogram(&'static Metric),
    Own(&'static str, MetricKind, &'static str, u64),
}

/// What series are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Requests,
    Connections,
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
pub(crate) enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

// === impl Text ===

impl Text {
    /// What the workers have counted by now, of metrics that are wanted by name and kind.
    pub(super) fn read(
        settings: &Settings,
        shards: &[Arc<Shard>],
        wanted: &dyn Fn(&str, MetricKind) -> bool,
    ) -> Self {
        let (mut http, mut tcp) = (Sums::new(), Sums::new());
        let (mut evicted, mut overflowed, mut held) = (0, 0, 0);
        for shard in shards {
            // The worker that waits for the lock serves nobody meanwhile: what takes time comes after it.
            let series = shard.with(|table| {
                evicted += table.evicted;
                overflowed += table.overflowed;
                for series in table.overflow.iter().flatten() {
                    let is_http = matches!(series.numbers, Numbers::Requests(_));
                    let labels = labels::overflow(settings, is_http);
                    add(series, labels, &mut http, &mut tcp);
                }
                table.series.clone()
            });
            held += series.len() as u64;
            for (key, series) in &series {
                add(series, labels::of(settings, key), &mut http, &mut tcp);
            }
        }
        use MetricKind::{Counter, Gauge};
        let evicted_help = "Series forgotten, since nothing was counted in them for an hour.";
        let overflow_help =
            "Calls and connections counted as overflow, since there were too many series.";
        let own = [
            Section::Own("mesh_metrics_series", Gauge, "Series held.", held),
            Section::Own("mesh_metrics_evicted_total", Counter, evicted_help, evicted),
            Section::Own(
                "mesh_metrics_overflow_total",
                Counter,
                overflow_help,
                overflowed,
            ),
        ];
        let counters =
            |all: &'static [Metric], of| all.iter().map(move |metric| Section::Counter(metric, of));
        let of_requests = counters(&REQUESTS, Of::Requests)
            .chain(REQUEST_HISTOGRAMS.iter().map(Section::Histogram))
            .filter(|_| !http.is_empty());
        let of_connections = counters(&CONNECTIONS, Of::Connections).filter(|_| !tcp.is_empty());
        let all = of_requests.chain(of_connections).chain(own);
        let prefix = &settings.prefix;
        let all = all.filter(|section| {
            let (name, kind, _) = section.head();
            wanted(&format!("{prefix}_{name}"), kind)
        });
        let mut sections: Vec<_> = all.collect();
        sections.reverse();
        Self {
            prefix: prefix.clone(),
            http: http.into_iter().collect(),
            tcp: tcp.into_iter().collect(),
            sections,
            written: 0,
        }
    }

    /// Appends the next lines to a page; false if those were the last.
    pub(crate) fn write_some(&mut self, page: &mut String) -> bool {
        let Some(section) = self.sections.last() else {
            return false;
        };
        let (name, kind, help) = section.head();
        let prefix = &self.prefix;
        if self.written == 0 {
            let kind = kind.word();
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "# HELP {prefix}_{name} {help}\n# TYPE {prefix}_{name} {kind}"
            );
        }
        let series = match section {
            Section::Own(_, _, _, value) => {
                let _ = writeln!(page, "{prefix}_{name}{{}} {value}");
                &[]
            }
            Section::Counter((_, _, index), of) => {
                let series = match of {
                    Of::Requests => &self.http,
                    Of::Connections => &self.tcp,
                };
                let (labels, sum) = &series[self.written];
                let _ = writeln!(page, "{prefix}_{name}{{{labels}}} {}", sum.counters[*index]);
                &series[..]
            }
            Section::Histogram((_, _, index)) => {
                let (labels, sum) = &self.http[self.written];
                histogram(page, prefix, name, labels, &sum.histograms[*index]);
                &self.http[..]
            }
        };
        self.written += 1;
        if self.written >= series.len() {
            self.sections.pop();
            self.written = 0;
        }
        !self.sections.is_empty()
    }
}

// === impl Section ===

impl Section {
    /// Name, kind and help.
    fn head(&self) -> (&'static str, MetricKind, &'static str) {
        match self {
            Self::Counter((name, help, _), _) => (name, MetricKind::Counter, help),
            Self::Histogram((name, help, _)) => (name, MetricKind::Histogram, help),
            Self::Own(name, kind, help, _) => (name, *kind, help),
        }
    }
}

// === impl MetricKind ===

impl MetricKind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Appends a histogram of one series.
fn histogram(
    text: &mut String,
    prefix: &str,
    name: &str,
    labels: &str,
    reading: &HistogramReading,
) {
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
