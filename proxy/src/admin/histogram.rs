//! Histograms as Envoy prints them: quantiles, each over the last interval and since the start.
//! There are no intervals here, so the first of each pair is absent.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::stats::HistogramReading;

/// The quantiles that are printed, percent.
pub(super) const QUANTILES: [f64; 10] =
    [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// `P0(nan,1) P25(nan,1.2) ...`
pub(super) fn text(reading: &HistogramReading) -> String {
    if reading.count() == 0 {
        return "No recorded values".to_owned();
    }
    let mut text = String::new();
    for percent in QUANTILES {
        let space = if text.is_empty() { "" } else { " " };
        let value = value(reading, percent).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(text, "{space}P{percent}(nan,{value})");
    }
    text
}

/// An entry of `computed_quantiles`.
pub(super) fn json(name: &str, reading: &HistogramReading) -> Json {
    let pair = |percent| json!({ "cumulative": value(reading, percent), "interval": null });
    json!({ "name": name, "values": QUANTILES.map(pair) })
}

/// To a thousandth: more would be noise within a bucket.
fn value(reading: &HistogramReading, percent: f64) -> Option<f64> {
    let value = reading.quantile(percent / 100.0)?;
    Some((value * 1000.0).round() / 1000.0)
}
