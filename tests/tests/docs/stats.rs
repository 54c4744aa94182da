//! `docs/stats.md` is made from the stat sets of the proxy and the sidecar; `REFRESH_GOLDEN=1` rewrites it.

use std::{env, fmt::Write, fs, path::Path};

use crate::root;

const PREFACE: &str = "\
# Statistics

What `/stats` on the admin port prints, `/stats/prometheus` in Prometheus' form, and `weir stats` for a
pod of the demo. Names and meaning are Envoy's where Envoy has them. A name in `<>` stands for one of
many. A counter only grows, a gauge goes up and down, a histogram shows quantiles; status counters are
one counter a class (`_2xx`) and, where there are codes, one a code (`_200`); counters by name are one a
name (`ssl.versions.TLSv1.3`).

This file is made from the declarations in `proxy/src` and `agent/src` by `make golden`.
";

#[test]
fn stats_are_documented_as_they_are_declared() {
    let mut sections = Vec::new();
    collect(&root().join("proxy/src"), &mut sections);
    collect(&root().join("agent/src"), &mut sections);
    sections.sort();
    assert!(sections.len() > 5, "the declarations were not found");
    let document = format!("{PREFACE}{}", sections.concat());
    let path = root().join("docs/stats.md");
    if env::var_os("REFRESH_GOLDEN").is_some() {
        fs::write(&path, &document).expect("write");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "docs/stats.md is out of date; REFRESH_GOLDEN=1 rewrites it, then read git diff"
    );
}

fn collect(directory: &Path, sections: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, sections);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("source");
            // Those of tests are indented, as is the example in the macro's own documentation.
            for set in source.split("\nstat_set! {\n").skip(1) {
                sections.push(section(set.split("\n}").next().unwrap_or(set)));
            }
        }
    }
}

/// One stat set as a table.
fn section(set: &str) -> String {
    let mut lines = set.lines().map(str::trim);
    let mut title = Vec::new();
    for line in lines.by_ref() {
        match line.strip_prefix("///") {
            Some(text) => title.push(text.trim()),
            None if line.contains("struct ") => break,
            None => {}
        }
    }
    let (links, words): (Vec<&str>, Vec<&str>) =
        title.into_iter().partition(|line| line.starts_with('<'));
    let (scope, rest) = words
        .first()
        .and_then(|first| first.strip_prefix('`'))
        .and_then(|first| first.split_once('`'))
        .unwrap_or_else(|| {
            panic!("the documentation of a stat set begins with its scope: {words:?}")
        });
    let rest = std::iter::once(rest.trim_start_matches([',', ':', '.', ' ']))
        .chain(words.iter().skip(1).copied())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let mut text = format!("\n## `{scope}`\n\n");
    let about: Vec<String> = std::iter::once(capitalised(&rest))
        .chain(links.into_iter().map(str::to_owned))
        .filter(|line| !line.is_empty())
        .collect();
    if !about.is_empty() {
        let _ = write!(text, "{}\n\n", about.join("\n"));
    }
    text.push_str("| Name | Kind | Meaning |\n|-|-|-|\n");
    let mut help = Vec::new();
    for line in lines {
        if let Some(words) = line.strip_prefix("///") {
            help.push(words.trim());
        } else if let Some((name, kind)) = line.split_once(": ") {
            let kind = kind_in_words(kind.trim_end_matches(','));
            let _ = writeln!(text, "| `{name}` | {kind} | {} |", help.join(" "));
            help.clear();
        }
    }
    text
}

fn kind_in_words(kind: &str) -> &str {
    match kind {
        "Counter" => "counter",
        "Gauge" => "gauge",
        "Histogram" => "histogram",
        "StatusCounters" | "ClassCounters" => "status counters",
        "NamedCounters" => "counters by name",
        other => panic!("{other} is a new kind of stat: name it here"),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}
