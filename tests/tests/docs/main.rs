//! What the documents say of the source is true: codes, flags, stats, ports, commands and links.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

mod commands;
mod links;
mod reasons;
mod stats;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Text of a file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of the documents, from the root of the repository.
fn documents() -> Vec<String> {
    let of = |directory: &str| {
        let entries = fs::read_dir(root().join(directory)).expect("a directory");
        let names = entries.flatten().map(|entry| entry.file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names
            .filter(|name| name.ends_with(".md"))
            .collect::<Vec<_>>()
    };
    let below = of("docs").into_iter().map(|name| format!("docs/{name}"));
    let mut documents: Vec<String> = of(".").into_iter().chain(below).collect();
    documents.sort();
    documents
}

/// The cells of each row of the table whose header begins with this cell.
fn rows(document: &str, first_header: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let header = format!("| {first_header} |");
    document
        .lines()
        .skip_while(|line| !line.starts_with(&header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

/// The text between backticks, if that is all there is.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

#[test]
fn the_flags_of_capture_are_all_documented() {
    let source = read("agent/src/capture/args.rs");
    let document = read("docs/capture.md");
    let documented: Vec<String> = rows(&document, "Flag")
        .iter()
        .filter_map(|row| code(&row[1]).map(str::to_owned))
        .collect();
    let twins: Vec<String> = source
        .split("env = \"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(
        documented, twins,
        "the table of docs/capture.md, in the order of the flags"
    );
    for row in rows(&document, "Flag") {
        let flag = code(&row[0]).expect("a flag").trim_start_matches("--");
        let twin = format!("WEIR_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(code(&row[1]), Some(twin.as_str()), "--{flag}");
    }
}

#[test]
fn annotations_and_settings_of_injection_are_all_documented() {
    let document = read("docs/injection.md");
    let names = weir_api::annotations::KNOWN;
    for name in names
        .iter()
        .chain([&weir_api::annotations::NAMESPACE_INJECTION])
    {
        assert!(
            document.contains(&format!("`{name}")),
            "{name} is not in docs/injection.md"
        );
    }
    let documented = rows(&document, "Field").concat().join(" ");
    let source = read("injector/src/config.rs");
    let fields = source
        .split_once("pub struct Config {\n")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map(|(body, _)| body)
        .expect("struct Config");
    for field in fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub "))
    {
        let name = field.split(':').next().unwrap_or_default();
        let mut words = name.split('_');
        let mut camel = words.next().unwrap_or_default().to_owned();
        for word in words {
            camel.push_str(&word[..1].to_uppercase());
            camel.push_str(&word[1..]);
        }
        assert!(
            documented.contains(&format!("`{camel}`")),
            "{camel} is not in the table of docs/injection.md"
        );
    }
}

#[test]
fn the_architecture_names_every_port_and_stays_short() {
    let document = read("ARCHITECTURE.md");
    let lines = document.lines().count();
    assert!(lines <= 150, "{lines} lines: delete rather than append");
    let documented: Vec<String> = rows(&document, "Port")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    for line in read("api/src/ports.rs").lines() {
        let Some(port) = line
            .strip_prefix("pub const ")
            .and_then(|rest| rest.split_once(": u16 = "))
            .and_then(|(_, rest)| rest.strip_suffix(';'))
        else {
            continue;
        };
        assert!(
            documented.iter().any(|known| known == port),
            "{line} is not in the table of ports of ARCHITECTURE.md"
        );
    }
}
