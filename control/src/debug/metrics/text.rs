//! The Prometheus text format.

use std::fmt::{Display, Write};

use weir_discovery::xds::{Histogram, TIME_BOUNDS};

/// A page of metrics.
#[derive(Debug, Default)]
pub(in crate::debug) struct Text(String);

// === impl Text ===

impl Text {
    /// A counter or gauge without labels.
    pub(in crate::debug) fn single(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        value: impl Display,
    ) {
        self.head(kind, name, help);
        self.line(name, "", value);
    }

    /// A counter or gauge with one label.
    pub(in crate::debug) fn labelled<'a, V: Display>(
        &mut self,
        kind: &str,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.head(kind, name, help);
        for (of, value) in values {
            self.line(name, &format!("{{{label}=\"{of}\"}}"), value);
        }
    }

    /// A counter or gauge with two labels.
    pub(in crate::debug) fn labelled_twice<'a, V: Display>(
        &mut self,
        kind: &str,
        (name, [first, second]): (&str, [&str; 2]),
        help: &str,
        values: impl IntoIterator<Item = ([&'a str; 2], V)>,
    ) {
        self.head(kind, name, help);
        for ([of, also], value) in values {
            let labels = format!("{{{first}=\"{of}\",{second}=\"{also}\"}}");
            self.line(name, &labels, value);
        }
    }

    /// A histogram of times.
    pub(in crate::debug) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head("histogram", name, help);
        let bucket = format!("{name}_bucket");
        let mut sum = 0;
        let bounds = TIME_BOUNDS.iter().map(ToString::to_string);
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(histogram.buckets) {
            sum += count;
            self.line(&bucket, &format!("{{le=\"{bound}\"}}"), sum);
        }
        self.line(&format!("{name}_sum"), "", histogram.sum);
        self.line(&format!("{name}_count"), "", sum);
    }

    pub(in crate::debug) fn into_string(self) -> String {
        self.0
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_names_come_with_help_and_type() {
        let mut text = Text::default();
        let mut histogram = Histogram::default();
        (histogram.buckets[0], histogram.buckets[12], histogram.sum) = (2, 1, 40.0);
        text.histogram("x_seconds", "Times.", &histogram);
        text.labelled("counter", ("y_total", "kind"), "Things.", [("a", 1)]);
        let text = text.into_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "# HELP x_seconds Times.",
                "# TYPE x_seconds histogram",
                "x_seconds_bucket{le=\"0.001\"} 2",
            ]
        );
        assert_eq!(
            lines[14..17],
            [
                "x_seconds_bucket{le=\"+Inf\"} 3",
                "x_seconds_sum 40",
                "x_seconds_count 3",
            ]
        );
        assert_eq!(lines.last(), Some(&"y_total{kind=\"a\"} 1"));
    }
}
