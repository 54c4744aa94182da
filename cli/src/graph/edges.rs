//! Pairs that call, and what sidecars counted of their calls.

use std::collections::BTreeMap;

use super::samples::{Sample, samples};

/// One end of a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    pub(super) namespace: String,
    /// A workload, or the service or cluster that was called where the workload is not known.
    pub(super) name: String,
}

/// Who calls whom, and what they speak.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) source: End,
    pub(super) destination: End,
    /// `http`, `grpc` or `tcp`
    pub(super) protocol: String,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counts {
    /// Requests, or connections of TCP.
    pub(super) calls: f64,
    /// Those that were answered with 5xx or a gRPC status, or not at all.
    pub(super) failed: f64,
    /// Both ways, of TCP.
    pub(super) bytes: f64,
    /// Durations in milliseconds: how many took at most so long, by the bound's text.
    buckets: BTreeMap<Bound, f64>,
}

/// Upper bound of a bucket; the last is beyond all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound(f64);

/// One pair as both sides have counted it.
#[derive(Debug, Default)]
struct Edge {
    source: Counts,
    destination: Counts,
    /// Calls that the server's side saw secured, and all it saw.
    secured: (f64, f64),
}

/// All pairs.
#[derive(Debug, Default)]
pub(super) struct Edges(BTreeMap<Pair, Edge>);

/// A pair as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    pub(super) counts: Counts,
    /// Whether all calls, or some, or none used mutual TLS; none: nobody knows.
    pub(super) mutual_tls: Option<f64>,
}

// === impl Edges ===

impl Edges {
    /// Takes in what a sidecar says.
    pub(super) fn add(&mut self, page: &str) {
        for sample in samples(page) {
            let Some(pair) = Pair::of(&sample) else {
                continue;
            };
            let edge = self.0.entry(pair).or_default();
            let is_source = sample.label("reporter") == "source";
            if !is_source && sample.is_of_calls() {
                let is_secured = sample.label("connection_security_policy") == "mutual_tls";
                edge.secured.0 += if is_secured { sample.value } else { 0.0 };
                edge.secured.1 += sample.value;
            }
            let counts = match is_source {
                true => &mut edge.source,
                false => &mut edge.destination,
            };
            counts.add(&sample);
        }
    }

    /// What happened since an earlier look. A sidecar that was restarted counts from nothing.
    pub(super) fn since(mut self, earlier: &Self) -> Self {
        for (pair, edge) in &mut self.0 {
            if let Some(before) = earlier.0.get(pair) {
                edge.source.subtract(&before.source);
                edge.destination.subtract(&before.destination);
                edge.secured.0 = (edge.secured.0 - before.secured.0).max(0.0);
                edge.secured.1 = (edge.secured.1 - before.secured.1).max(0.0);
            }
        }
        self
    }

    /// Those that call, in order. The client's side counts also what never arrived; where it has no
    /// sidecar, the server's side counts.
    pub(super) fn into_sorted(self) -> Vec<(Pair, Shown)> {
        let shown = self.0.into_iter().map(|(pair, edge)| {
            let (secured, all) = edge.secured;
            let counts = match edge.source.calls > 0.0 {
                true => edge.source,
                false => edge.destination,
            };
            let mutual_tls = (all > 0.0).then(|| secured / all);
            (pair, Shown { counts, mutual_tls })
        });
        shown
            .filter(|(_, shown)| shown.counts.calls > 0.0)
            .collect()
    }
}

// === impl Pair ===

impl Pair {
    fn of(sample: &Sample) -> Option<Self> {
        let end = |side: &str| {
            let name = sample.label(&format!("{side}_workload"));
            let namespace = sample.label(&format!("{side}_workload_namespace"));
            End {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }
        };
        let mut destination = end("destination");
        if destination.name == "unknown" {
            destination = End {
                namespace: sample.label("destination_service_namespace").to_owned(),
                name: sample.label("destination_service_name").to_owned(),
            };
        }
        sample.labels.contains_key("reporter").then(|| Self {
            source: end("source"),
            destination,
            protocol: sample.label("request_protocol").to_owned(),
        })
    }

    pub(super) fn touches(&self, namespace: &str) -> bool {
        self.source.namespace == namespace || self.destination.namespace == namespace
    }
}

// === impl End ===

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "unknown" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

// === impl Sample ===

impl Sample {
    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("unknown", String::as_str)
    }

    fn is_of_calls(&self) -> bool {
        let name = &self.name;
        name.ends_with("_requests_total") || name.ends_with("_tcp_connections_opened_total")
    }

    fn has_failed(&self) -> bool {
        let code = self.label("response_code");
        let grpc = self.label("grpc_response_status");
        let is_ended_here = code == "unknown" && self.label("response_flags") != "-";
        code.starts_with('5')
            || code == "0"
            || is_ended_here
            || !["", "0", "unknown"].contains(&grpc)
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, sample: &Sample) {
        let value = sample.value;
        if sample.is_of_calls() {
            self.calls += value;
            self.failed += if sample.has_failed() { value } else { 0.0 };
        } else if sample.name.ends_with("_bytes_total") {
            self.bytes += value;
        } else if sample.name.ends_with("_milliseconds_bucket") {
            let bound = sample.label("le").parse().unwrap_or(f64::INFINITY);
            *self.buckets.entry(Bound(bound)).or_default() += value;
        }
    }

    fn subtract(&mut self, before: &Self) {
        self.calls = (self.calls - before.calls).max(0.0);
        self.failed = (self.failed - before.failed).max(0.0);
        self.bytes = (self.bytes - before.bytes).max(0.0);
        for (bound, count) in &mut self.buckets {
            let before = before.buckets.get(bound).copied().unwrap_or_default();
            *count = (*count - before).max(0.0);
        }
    }

    /// The time below which a share of the requests took, milliseconds, linear within a bucket. None
    /// without requests; the last bound where it is beyond that.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.buckets.values().copied().fold(0.0, f64::max);
        let (mut lower, mut below) = (0.0, 0.0);
        for (Bound(upper), count) in &self.buckets {
            if total > 0.0 && *count >= share * total {
                let within = (share * total - below) / (count - below).max(f64::MIN_POSITIVE);
                return Some(match upper.is_finite() {
                    true => lower + (upper - lower) * within.clamp(0.0, 1.0),
                    false => lower,
                });
            }
            (lower, below) = (*upper, *count);
        }
        None
    }
}

// === impl Bound ===

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests;
