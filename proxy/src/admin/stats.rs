//! `/stats`, as text and as JSON.

use std::fmt::Write as _;

use http::StatusCode;
use regex::Regex;
use serde_json::{Value as Json, json};

use super::{Admin, histogram, prometheus, query::Query, reply::Reply};
use crate::{
    mesh_metrics::MetricKind,
    stats::{Reading, Scope, ScopeReading, Value},
};

pub(super) const PARAMETERS: &[(&str, &str)] = &[
    (
        "filter",
        "regular expression that names of stats must contain",
    ),
    ("format", "text, json or prometheus"),
    (
        "usedonly",
        "leave out stats that are zero or without samples",
    ),
    ("type", "All, Counters, Gauges or Histograms"),
];

pub(super) const PROMETHEUS_PARAMETERS: &[(&str, &str)] = &[PARAMETERS[0], PARAMETERS[2]];

/// Which stats are wanted.
struct Selection {
    filter: Option<Regex>,
    used_only: bool,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    All,
    Counters,
    Gauges,
    Histograms,
}

/// `/stats`
pub(super) fn print(admin: &Admin, query: &Query) -> Reply {
    let selection = match Selection::read(query) {
        Ok(selection) => selection,
        Err(reason) => return Reply::error(StatusCode::BAD_REQUEST, reason + "\n"),
    };
    match query.get("format").unwrap_or("text") {
        "text" | "" => Reply::text(text(named(admin, &selection))),
        "json" => Reply::json(&json(named(admin, &selection))),
        "prometheus" => prometheus(admin, query),
        other => Reply::error(
            StatusCode::BAD_REQUEST,
            format!("format {other:?} is not text, json or prometheus\n"),
        ),
    }
}

/// `/stats/prometheus`
pub(super) fn prometheus(admin: &Admin, query: &Query) -> Reply {
    match Selection::read(query) {
        Ok(selection) => {
            admin.refresh();
            let scopes = admin.handle.registry().read();
            let wanted = |scope: &Scope, value: &Value| selection.takes(&name(scope, value), value);
            let reply = Reply::text(prometheus::text(&scopes, wanted));
            let Some(metrics) = &admin.mesh_metrics else {
                return reply;
            };
            let mut text = metrics.text(&|name, kind| selection.takes_metric(name, kind));
            reply.followed_by(Box::new(move |page| text.write_some(page)))
        }
        Err(reason) => Reply::error(StatusCode::BAD_REQUEST, reason + "\n"),
    }
}

/// Envoy's name of a stat: `cluster.web.upstream_cx_total`.
pub(super) fn name(scope: &Scope, value: &Value) -> String {
    match (scope.kind, &*scope.name) {
        (first, "") | ("", first) => format!("{first}.{}", value.name),
        (kind, name) => format!("{kind}.{name}.{}", value.name),
    }
}

/// The wanted stats by name, counters and gauges before histograms.
fn named(admin: &Admin, selection: &Selection) -> Vec<(String, Reading)> {
    admin.refresh();
    let mut all = Vec::new();
    for ScopeReading { scope, values } in admin.handle.registry().read() {
        for value in values {
            let name = name(&scope, &value);
            if selection.takes(&name, &value) {
                all.push((name, value.reading));
            }
        }
    }
    let is_histogram = |reading: &Reading| matches!(reading, Reading::Histogram(_));
    all.sort_by(|(a_name, a), (b_name, b)| {
        (is_histogram(a), a_name).cmp(&(is_histogram(b), b_name))
    });
    all
}

fn text(stats: Vec<(String, Reading)>) -> String {
    let mut text = String::new();
    for (name, reading) in stats {
        // Writing to a string cannot fail.
        let _ = match reading {
            Reading::Counter(value) => writeln!(text, "{name}: {value}"),
            Reading::Gauge(value) => writeln!(text, "{name}: {value}"),
            Reading::Histogram(reading) => writeln!(text, "{name}: {}", histogram::text(&reading)),
        };
    }
    text
}

fn json(stats: Vec<(String, Reading)>) -> Json {
    let (mut all, mut histograms) = (Vec::new(), Vec::new());
    for (name, reading) in stats {
        match reading {
            Reading::Counter(value) => all.push(json!({ "name": name, "value": value })),
            Reading::Gauge(value) => all.push(json!({ "name": name, "value": value })),
            Reading::Histogram(reading) => histograms.push(histogram::json(&name, &reading)),
        }
    }
    if !histograms.is_empty() {
        all.push(json!({ "histograms": {
            "supported_quantiles": histogram::QUANTILES,
            "computed_quantiles": histograms,
        }}));
    }
    json!({ "stats": all })
}

// === impl Selection ===

impl Selection {
    fn read(query: &Query) -> Result<Self, String> {
        let filter = query.get("filter").filter(|filter| !filter.is_empty());
        let filter = filter.map(Regex::new).transpose();
        let filter = filter.map_err(|error| format!("filter: {error}"))?;
        let kind = match query.get("type").unwrap_or("All") {
            "All" | "" => Kind::All,
            "Counters" => Kind::Counters,
            "Gauges" => Kind::Gauges,
            "Histograms" => Kind::Histograms,
            other => return Err(format!("type {other:?} is not one of {}", PARAMETERS[3].1)),
        };
        Ok(Self {
            filter,
            used_only: query.has("usedonly"),
            kind,
        })
    }

    fn takes(&self, name: &str, value: &Value) -> bool {
        let (kind, used) = match &value.reading {
            Reading::Counter(value) => (Kind::Counters, *value > 0),
            Reading::Gauge(value) => (Kind::Gauges, *value != 0),
            Reading::Histogram(reading) => (Kind::Histograms, reading.count() > 0),
        };
        (used || !self.used_only) && self.takes_named(name, kind)
    }

    /// Whether a metric of the mesh is wanted. What was never counted is none.
    fn takes_metric(&self, name: &str, kind: MetricKind) -> bool {
        let kind = match kind {
            MetricKind::Counter => Kind::Counters,
            MetricKind::Gauge => Kind::Gauges,
            MetricKind::Histogram => Kind::Histograms,
        };
        self.takes_named(name, kind)
    }

    fn takes_named(&self, name: &str, kind: Kind) -> bool {
        let mut filter = self.filter.iter();
        (self.kind == Kind::All || self.kind == kind) && filter.all(|filter| filter.is_match(name))
    }
}
