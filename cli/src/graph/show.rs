//! The graph for people, for programs, and for what draws.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::json;

use super::edges::{End, Pair, Shown};
use crate::output;

/// A line for each pair. `seconds`: counts are of that long, and shown as rates.
pub(super) fn table(edges: &[(Pair, Shown)], seconds: Option<u64>) {
    let rate = match seconds {
        None => "calls",
        Some(_) => "calls/s",
    };
    let header = [
        "from", "to", "what", rate, "failed", "p50 ms", "p99 ms", "mTLS",
    ];
    output::table(header, edges.iter().map(|edge| row(edge, seconds)));
}

fn row((pair, shown): &(Pair, Shown), seconds: Option<u64>) -> [String; 8] {
    let counts = &shown.counts;
    let calls = match seconds {
        None => format!("{}", counts.calls),
        #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
        Some(seconds) => format!("{:.1}", counts.calls / seconds as f64),
    };
    let time = |share| {
        counts
            .quantile(share)
            .map_or("-".to_owned(), |ms| format!("{ms:.1}"))
    };
    let failed = match counts.failed > 0.0 {
        true => format!("{:.1} %", 100.0 * counts.failed / counts.calls),
        false => "-".to_owned(),
    };
    [
        pair.source.to_string(),
        pair.destination.to_string(),
        pair.protocol.clone(),
        calls,
        failed,
        time(0.5),
        time(0.99),
        mutual_tls(shown).to_owned(),
    ]
}

fn mutual_tls(shown: &Shown) -> &'static str {
    match shown.mutual_tls {
        None => "-",
        Some(0.0) => "no",
        Some(1.0) => "yes",
        Some(_) => "partly",
    }
}

pub(super) fn json(edges: &[(Pair, Shown)]) -> anyhow::Result<String> {
    let end = |end: &End| json!({"namespace": end.namespace, "name": end.name});
    let edges = edges.iter().map(|(pair, shown)| {
        let counts = &shown.counts;
        json!({
            "source": end(&pair.source),
            "destination": end(&pair.destination),
            "protocol": pair.protocol,
            "calls": counts.calls,
            "failed": counts.failed,
            "bytes": counts.bytes,
            "p50_ms": counts.quantile(0.5),
            "p99_ms": counts.quantile(0.99),
            "mutual_tls": shown.mutual_tls,
        })
    });
    Ok(serde_json::to_string_pretty(&edges.collect::<Vec<_>>())?)
}

/// What stands at an arrow.
fn caption((pair, shown): &(Pair, Shown)) -> String {
    let mut caption = format!("{} {}", pair.protocol, shown.counts.calls);
    if shown.counts.failed > 0.0 {
        let _ = write!(caption, ", {} failed", shown.counts.failed);
    }
    if shown.mutual_tls == Some(1.0) {
        caption.push_str(", mTLS");
    }
    caption
}

pub(super) fn dot(edges: &[(Pair, Shown)]) -> String {
    let mut text = "digraph mesh {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    for edge in edges {
        let (pair, shown) = edge;
        let color = if shown.counts.failed > 0.0 {
            "red"
        } else {
            "black"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {} -> {} [label={}, color={color}];",
            quoted(&pair.source.to_string()),
            quoted(&pair.destination.to_string()),
            quoted(&caption(edge)),
        );
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

pub(super) fn mermaid(edges: &[(Pair, Shown)]) -> String {
    let mut text = "flowchart LR".to_owned();
    let mut numbers = BTreeMap::new();
    for edge in edges {
        let (pair, _) = edge;
        let mut node = |end: &End| {
            let next = numbers.len();
            let number = *numbers.entry(end.clone()).or_insert(next);
            format!("n{number}[\"{}\"]", escaped(&end.to_string()))
        };
        let (source, destination) = (node(&pair.source), node(&pair.destination));
        let caption = escaped(&caption(edge));
        let _ = write!(text, "\n  {source} -->|\"{caption}\"| {destination}");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('"', "#quot;")
}

#[cfg(test)]
mod tests {
    use super::{super::edges::Edges, *};

    const PAGE: &str = r#"
weir_requests_total{reporter="source",source_workload="front",source_workload_namespace="shop",destination_workload="pay",destination_workload_namespace="shop",request_protocol="http",response_code="200"} 3
weir_requests_total{reporter="source",source_workload="front",source_workload_namespace="shop",destination_workload="pay",destination_workload_namespace="shop",request_protocol="http",response_code="503"} 1
"#;

    #[test]
    fn drawings_name_both_ends_and_what_is_between_them() {
        let mut edges = Edges::default();
        edges.add(PAGE);
        let edges = edges.into_sorted();
        let expected = "digraph mesh {\n  rankdir=LR;\n  node [shape=box];\n  \
            \"shop/front\" -> \"shop/pay\" [label=\"http 4, 1 failed\", color=red];\n}";
        assert_eq!(dot(&edges), expected);
        let expected =
            "flowchart LR\n  n0[\"shop/front\"] -->|\"http 4, 1 failed\"| n1[\"shop/pay\"]";
        assert_eq!(mermaid(&edges), expected);
    }
}
