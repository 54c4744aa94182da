//! What a demo prints: the calls, the sidecars' statistics, the verdict, commands to try.

use std::{collections::BTreeMap, path::Path, time::Duration};

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use serde_json::json;
use weir_playground::cluster::PodKey;

use super::{
    observe::{Row, Stats},
    world::World,
};

/// Statistics shown for each pod: what of its connections, requests and failures people look for.
const SHOWN: [(&str, &str, &str); 6] = [
    ("cx out", "cluster.outbound|", ".upstream_cx_total"),
    ("rq out", "cluster.outbound|", ".upstream_rq_total"),
    ("cx in", "cluster.inbound|", ".upstream_cx_total"),
    ("rq in", "cluster.inbound|", ".upstream_rq_total"),
    (
        "passed through",
        "cluster.PassthroughCluster",
        ".upstream_cx_total",
    ),
    ("5xx", "cluster.", ".upstream_rq_5xx"),
];

/// A line under the header and nothing else: rows are to be read across.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The table of calls.
pub(super) fn calls(rows: &[Row]) -> String {
    let mut table = table();
    // Names are long; on a terminal they break where they are easiest to read.
    let on_terminal = terminal_size::terminal_size().is_some();
    let broken = |text: &str, after: &str| match text.split_once(after) {
        Some((first, rest)) if on_terminal => format!("{first}{after}\n{rest}"),
        _ => text.to_owned(),
    };
    table.set_header([
        "", "call", "from", "to", "protocol", "mTLS", "chain", "cluster", "endpoint", "status",
        "ms",
    ]);
    for row in rows {
        let record = row.record.as_ref();
        let text = |value: Option<&String>| {
            let value = value.filter(|value| !value.is_empty());
            value.cloned().unwrap_or_else(|| "-".to_owned())
        };
        let endpoint = match (
            &row.endpoint,
            record.and_then(|record| record.upstream_host),
        ) {
            (Some(pod), Some(address)) => format!("{pod}:{}", address.port()),
            (None, Some(address)) => address.to_string(),
            _ => "-".to_owned(),
        };
        table.add_row([
            Cell::new(if row.faults.is_empty() { "ok" } else { "!!" }),
            Cell::new(&row.title),
            Cell::new(broken(&row.from, "/")),
            Cell::new(&row.url),
            Cell::new(protocol(row)),
            Cell::new(match row.mutual_tls {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            }),
            Cell::new(text(record.and_then(|record| record.filter_chain.as_ref()))),
            Cell::new(broken(
                &text(record.and_then(|record| record.cluster.as_ref())),
                "||",
            )),
            Cell::new(endpoint),
            Cell::new(status(row)),
            Cell::new(format!("{:.1}", row.outcome.latency_ms)).set_alignment(CellAlignment::Right),
        ]);
    }
    table.to_string()
}

/// What the sidecar found out; bytes it had no reason to look at are opaque to it.
fn protocol(row: &Row) -> &str {
    let record = row.record.as_ref();
    match record.map(|record| record.protocol.as_deref().unwrap_or_default()) {
        None => "-",
        Some("") => "opaque",
        Some(protocol) => protocol,
    }
}

fn status(row: &Row) -> String {
    let is_grpc = row.url.starts_with("grpc");
    match (row.outcome.status, &row.outcome.error) {
        (Some(0), None) if is_grpc => "OK".to_owned(),
        (Some(status), _) => status.to_string(),
        (None, None) => "ok".to_owned(),
        (None, Some(_)) => "failed".to_owned(),
    }
}

/// The table of the sidecars' statistics.
pub(super) fn stats(all: &BTreeMap<PodKey, Stats>) -> String {
    let mut table = table();
    let names = SHOWN.iter().map(|(name, ..)| (*name).to_owned());
    table.set_header(std::iter::once("pod".to_owned()).chain(names));
    for (key, stats) in all {
        let sums = SHOWN.iter().map(|(_, prefix, suffix)| {
            let counted = stats
                .iter()
                .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(suffix));
            let sum: u64 = counted.map(|(_, value)| value).sum();
            Cell::new(sum).set_alignment(CellAlignment::Right)
        });
        table.add_row(std::iter::once(Cell::new(key)).chain(sums));
    }
    table.to_string()
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    if let Some((terminal_size::Width(width), _)) = terminal_size::terminal_size() {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    table
}

/// Everything as JSON.
pub(super) fn json(rows: &[Row], stats: &BTreeMap<PodKey, Stats>) -> String {
    let stats: BTreeMap<String, &Stats> = stats
        .iter()
        .map(|(key, stats)| (key.to_string(), stats))
        .collect();
    let value = json!({ "calls": rows, "stats": stats });
    format!("{value:#}")
}

/// How many calls did what they should, and what was wrong with the others.
pub(super) fn verdict(rows: &[Row], elapsed: Duration) -> String {
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.faults.is_empty()).collect();
    let mut text = format!(
        "{} of {} calls did what they should, {:.1} s after the start",
        rows.len() - failed.len(),
        rows.len(),
        elapsed.as_secs_f64()
    );
    for row in failed {
        text.push_str(&format!("\n  {}: {} -> {}", row.title, row.from, row.url));
        for fault in &row.faults {
            text.push_str(&format!("\n    {fault}"));
        }
    }
    text
}

/// Commands to try while the demo is up, from a pod that has made a call.
pub(super) fn commands(weir: &str, world: &World, rows: &[Row], dir: &Path) -> String {
    let is_meshed = |row: &&Row| {
        let mut pods = world.pods.iter().filter(|pod| pod.meshed);
        pods.any(|pod| pod.key.to_string() == row.from)
    };
    let meshed = rows.iter().find(is_meshed);
    let (pod, url) = meshed
        .or(rows.first())
        .map_or(("POD", "URL"), |row| (&row.from, &row.url));
    let mut lines = vec![
        "The demo stays up. In another terminal, as root:".to_owned(),
        format!("  {weir} exec {pod} -- curl -s {url}"),
    ];
    if meshed.is_some() {
        lines.extend([
            format!("  {weir} stats {pod} --filter upstream"),
            format!("  {weir} logs {pod} -c weir-proxy"),
            format!("  {weir} exec {pod} -- curl -s localhost:15000/connections"),
        ]);
    }
    lines.push(format!(
        "Logs of every container are in {}/pods.",
        dir.display()
    ));
    lines.join("\n")
}
