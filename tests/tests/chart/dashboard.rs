//! The dashboard asks for metrics that exist: the control plane's own, and those of docs/stats.md.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use weir_tests::helm::{chart, root};

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let text = fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array());
    let expressions = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap());
    let asked: BTreeSet<&str> = expressions.flat_map(metrics).collect();
    assert!(asked.len() > 15, "{asked:?}");
    let known = &of_the_control_plane() | &of_sidecars();
    let unknown: Vec<_> = asked
        .iter()
        .filter(|name| !known.contains(base(name)))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn panels_do_not_cover_each_other_and_have_an_id_each() {
    let text = fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && cells.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}

/// Words of an expression that can only be metrics of ours.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let label = |word: &str| ["envoy_cluster_name", "envoy_response_code_class"].contains(&word);
    words.filter(move |word| {
        (word.starts_with("weir_") || word.starts_with("envoy_")) && !label(word)
    })
}

/// A metric without what a histogram adds.
fn base(metric: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    let cut = suffixes
        .iter()
        .find_map(|suffix| metric.strip_suffix(suffix));
    cut.unwrap_or(metric)
}

/// Every string in the source that looks like a metric.
fn of_the_control_plane() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["control/src", "injector/src", "discovery/src"] {
        let mut left = vec![root().join(directory)];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(
                    fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else {
                names.extend(quoted(&path));
            }
        }
    }
    names
}

fn quoted(path: &Path) -> Vec<String> {
    let source = fs::read_to_string(path).unwrap_or_default();
    let quoted = source.split('"').skip(1).step_by(2);
    let names = quoted.filter(|text| text.starts_with("weir_"));
    names.map(ToOwned::to_owned).collect()
}

/// What docs/stats.md has, with the names that Prometheus is given.
fn of_sidecars() -> BTreeSet<String> {
    let document = fs::read_to_string(root().join("docs/stats.md")).unwrap();
    let mut names = BTreeSet::new();
    for section in document.split("\n## `").skip(1) {
        let scope = section.split('`').next().unwrap();
        let kind = scope.split(".<").next().unwrap().trim_end_matches(".*");
        let kind = kind.replace('.', "_");
        for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
            let (name, rest) = row.split_once('`').unwrap();
            if rest.contains("status counters") {
                names.insert(format!("envoy_{kind}_{name}_xx"));
            }
            names.insert(format!("envoy_{kind}_{name}"));
        }
    }
    names
}
