//! Stats in the Prometheus text format, with Envoy's metric names and labels: the name of a scope
//! is a label rather than a part of the metric's name, and so are response codes.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::stats::{BUCKETS_MS, HistogramReading, Reading, Scope, ScopeReading, Value};

/// Order of the metrics within the page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Sample<'a> {
    labels: Vec<(&'a str, String)>,
    reading: &'a Reading,
}

struct Metric<'a> {
    help: &'a str,
    samples: Vec<Sample<'a>>,
}

/// The page: every value that `wanted` takes.
#[must_use]
pub fn text(scopes: &[ScopeReading], wanted: impl Fn(&Scope, &Value) -> bool) -> String {
    let mut metrics: BTreeMap<(Kind, String), Metric<'_>> = BTreeMap::new();
    for ScopeReading { scope, values } in scopes {
        for value in values.iter().filter(|value| wanted(scope, value)) {
            let (name, labels) = metric(scope, value);
            let metric = metrics
                .entry((kind(&value.reading), name))
                .or_insert_with(|| Metric {
                    help: value.help,
                    samples: Vec::new(),
                });
            metric.samples.push(Sample {
                labels,
                reading: &value.reading,
            });
        }
    }
    let mut text = String::new();
    for ((kind, name), metric) in metrics {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}", escape_help(metric.help.trim()));
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for sample in metric.samples {
            write_sample(&mut text, &name, &sample);
        }
    }
    text
}

fn kind(reading: &Reading) -> Kind {
    match reading {
        Reading::Counter(_) => Kind::Counter,
        Reading::Gauge(_) => Kind::Gauge,
        Reading::Histogram(_) => Kind::Histogram,
    }
}

/// Name and labels of the metric a value belongs to.
fn metric<'a>(scope: &'a Scope, value: &'a Value) -> (String, Vec<(&'a str, String)>) {
    let mut labels = Vec::new();
    let mut name = &*value.name;
    let mut suffix = "";
    if let Some((kept, label, code)) = value.label {
        labels.push((label, code.to_string()));
        name = name.rsplit_once('_').map_or(name, |(name, _)| name);
        suffix = kept;
    }
    if !scope.name.is_empty() {
        labels.push((scope.label, scope.name.clone()));
    }
    let mut metric = sanitize(&match scope.kind {
        "" => format!("envoy_{name}"),
        kind => format!("envoy_{kind}_{name}"),
    });
    if !suffix.is_empty() {
        metric.push('_');
        metric.push_str(suffix);
    }
    (metric, labels)
}

fn sanitize(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

fn write_sample(text: &mut String, name: &str, sample: &Sample<'_>) {
    let labels = &sample.labels;
    let _ = match sample.reading {
        Reading::Counter(value) => writeln!(text, "{name}{{{}}} {value}", list(labels, None)),
        Reading::Gauge(value) => writeln!(text, "{name}{{{}}} {value}", list(labels, None)),
        Reading::Histogram(reading) => {
            write_histogram(text, name, labels, reading);
            Ok(())
        }
    };
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &[(&str, String)],
    reading: &HistogramReading,
) {
    let mut count = 0;
    let bounds = BUCKETS_MS
        .iter()
        .map(f64::to_string)
        .chain(["+Inf".to_owned()]);
    for (bucket, bound) in reading.buckets.iter().zip(bounds) {
        count += bucket;
        let _ = writeln!(
            text,
            "{name}_bucket{{{}}} {count}",
            list(labels, Some(&bound))
        );
    }
    let (labels, us) = (list(labels, None), reading.sum_us);
    let _ = writeln!(
        text,
        "{name}_sum{{{labels}}} {}.{:03}",
        us / 1000,
        us % 1000
    );
    let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
}

fn list(labels: &[(&str, String)], bound: Option<&str>) -> String {
    let one = |(label, value): (&str, &str)| format!("{label}=\"{}\"", escape(value));
    let bound = bound.map(|bound| ("le", bound));
    let all = labels
        .iter()
        .map(|(label, value)| (*label, value.as_str()))
        .chain(bound);
    all.map(one).collect::<Vec<_>>().join(",")
}

fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

fn escape_help(help: &str) -> String {
    help.replace('\\', r"\\").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{stat_set, stats::Registry};

    stat_set! {
        /// For the test.
        struct TestStats {
            /// Answers.
            upstream_rq: StatusCounters,
            /// Time.
            upstream_rq_time: Histogram,
            /// Now.
            upstream_rq_active: Gauge,
        }
    }

    #[test]
    fn scopes_and_codes_are_labels() {
        let registry = Registry::default();
        let web: Arc<TestStats> = registry.register(Scope::cluster(r#"outbound|80||"web"\"#));
        let other: Arc<TestStats> = registry.register(Scope::process("control_plane.x"));
        web.upstream_rq.inc(204);
        web.upstream_rq_time.record_us(1_500);
        other.upstream_rq_active.inc();
        let page = text(&registry.read(), |_, _| true);
        for line in [
            r#"envoy_cluster_upstream_rq{envoy_response_code="204",envoy_cluster_name="outbound|80||\"web\"\\"} 1"#,
            r#"envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="outbound|80||\"web\"\\"} 1"#,
            r#"envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|80||\"web\"\\",le="1"} 0"#,
            r#"envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="outbound|80||\"web\"\\",le="5"} 1"#,
            r#"envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="outbound|80||\"web\"\\"} 1.500"#,
            "envoy_control_plane_x_upstream_rq_active{} 1",
            "# TYPE envoy_cluster_upstream_rq_xx counter",
        ] {
            assert!(page.lines().any(|known| known == line), "{line}\n{page}");
        }
        let types: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .collect();
        let distinct: std::collections::BTreeSet<_> = types.iter().collect();
        assert_eq!(
            types.len(),
            distinct.len(),
            "each metric is one group: {types:?}"
        );
    }
}
