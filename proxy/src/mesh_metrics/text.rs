//! Series as Prometheus' text, with Istio's names and labels.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use weir_api::workload::Workload;

use super::{
    Settings,
    key::{Kept, Protocol, Security, Side},
    series::{Numbers, Series},
    shard::{Shard, Table},
};
use crate::stats::{BUCKETS_MS, HistogramReading};

/// What stands for what is not known, and for what found no room.
const UNKNOWN: &str = "unknown";
const OVERFLOW: &str = "overflow";

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
        shard.with(|table| {
            add_table(settings, table, &mut http, &mut tcp);
            evicted += table.evicted;
            overflowed += table.overflowed;
            held += table.series.len() as u64;
        });
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

fn add_table(settings: &Settings, table: &Table, http: &mut Sums, tcp: &mut Sums) {
    for (key, series) in &table.series {
        let labels = labels(settings, key);
        add(series, labels, http, tcp);
    }
    for series in table.overflow.iter().flatten() {
        let mut labels = String::new();
        for name in LABELS {
            label(&mut labels, name, OVERFLOW);
        }
        if matches!(series.numbers, Numbers::Requests(_)) {
            for name in HTTP_LABELS {
                label(&mut labels, name, OVERFLOW);
            }
        }
        add(series, labels, http, tcp);
    }
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

/// Labels of every series, in the order in which they are written.
const LABELS: [&str; 23] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
];
/// Those of requests beside them.
const HTTP_LABELS: [&str; 2] = ["response_code", "grpc_response_status"];

fn labels(settings: &Settings, key: &Kept) -> String {
    let own = (Some(&settings.own), key.own_principal.as_deref());
    let peer = (key.workload.as_ref(), key.principal.as_deref());
    let (source, destination) = match key.side {
        Side::Source => (own, peer),
        Side::Destination => (peer, own),
    };
    let service = Service::of(&key.service, destination.0);
    let (code, grpc) = (
        key.kind.response_code.to_string(),
        key.kind.grpc_status.map(|status| status.code().to_string()),
    );
    let of = |workload: Option<&Workload>, what: fn(&Workload) -> &str| {
        let said = workload.map(what).filter(|said| !said.is_empty());
        said.unwrap_or(UNKNOWN).to_owned()
    };
    let cluster = |end: Option<&Workload>| match end {
        Some(_) => settings.cluster.clone(),
        None => UNKNOWN.to_owned(),
    };
    let principal = |principal: Option<&str>| principal.unwrap_or(UNKNOWN).to_owned();
    let values: [String; 23] = [
        key.side.name().to_owned(),
        of(source.0, |it| &it.name),
        of(source.0, |it| &it.canonical_service),
        of(source.0, |it| &it.canonical_revision),
        of(source.0, |it| &it.namespace),
        principal(source.1),
        of(source.0, |it| &it.app),
        of(source.0, |it| &it.version),
        cluster(source.0),
        of(destination.0, |it| &it.name),
        of(destination.0, |it| &it.namespace),
        principal(destination.1),
        of(destination.0, |it| &it.app),
        of(destination.0, |it| &it.version),
        service.host.to_owned(),
        of(destination.0, |it| &it.canonical_service),
        of(destination.0, |it| &it.canonical_revision),
        service.name.to_owned(),
        service.namespace.to_owned(),
        cluster(destination.0),
        key.kind.protocol.name().to_owned(),
        flags(key.kind.flags),
        key.security.name().to_owned(),
    ];
    let mut text = String::new();
    for (name, value) in LABELS.iter().zip(&values) {
        label(&mut text, name, value);
    }
    if key.kind.protocol != Protocol::Tcp {
        label(&mut text, HTTP_LABELS[0], &code);
        label(
            &mut text,
            HTTP_LABELS[1],
            grpc.as_deref().unwrap_or_default(),
        );
    }
    text
}

/// Response flags in Envoy's order, `-` without any.
fn flags(flags: [&'static str; 3]) -> String {
    let said: Vec<_> = flags.into_iter().filter(|flag| !flag.is_empty()).collect();
    match said.as_slice() {
        [] => "-".to_owned(),
        some => some.join(","),
    }
}

/// What a call was for.
struct Service<'a> {
    host: &'a str,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Service<'a> {
    /// A host of Kubernetes says name and namespace; anything else is a name and has the namespace of
    /// whoever serves it.
    fn of(host: &'a str, destination: Option<&'a Workload>) -> Self {
        let namespace = || destination.map_or(UNKNOWN, |workload| &*workload.namespace);
        let parts = host
            .split_once(".svc.")
            .and_then(|(name, _)| name.rsplit_once('.'));
        match parts {
            // One pod of a headless service is called by its own name, which has its address in it.
            Some((name, namespace)) => {
                let (_, name) = name.rsplit_once('.').unwrap_or(("", name));
                let host = &host[host.find(name).unwrap_or_default()..];
                Self {
                    host,
                    name,
                    namespace,
                }
            }
            _ if host.is_empty() => Self {
                host: UNKNOWN,
                name: UNKNOWN,
                namespace: namespace(),
            },
            _ if host.ends_with("Cluster") => Self {
                host: UNKNOWN,
                name: host,
                namespace: namespace(),
            },
            _ => Self {
                host,
                name: host,
                namespace: namespace(),
            },
        }
    }
}

/// Appends `name="value"`.
fn label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.extend([name, "=\""]);
    for part in value.chars() {
        match part {
            '\\' => text.push_str(r"\\"),
            '"' => text.push_str(r#"\""#),
            '\n' => text.push_str(r"\n"),
            other => text.push(other),
        }
    }
    text.push('"');
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

// === impl Side ===

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl Security {
    fn name(self) -> &'static str {
        match self {
            Self::Unknown => UNKNOWN,
            Self::None => "none",
            Self::MutualTls => "mutual_tls",
        }
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}
