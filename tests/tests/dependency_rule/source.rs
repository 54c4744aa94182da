//! The paths that a Rust source file names, as far as a rule about imports needs them.

use std::{fs, path::Path};

/// Source files below `of`, from `root`, without tests and without those excepted.
pub(crate) fn files(root: &Path, of: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<String> = of.iter().map(ToString::to_string).collect();
    while let Some(place) = left.pop() {
        let path = root.join(&place);
        if except.contains(&place.as_str()) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory").flatten();
            left.extend(entries.map(|entry| format!("{place}/{}", entry.file_name().display())));
        } else if path.is_file() && place.ends_with(".rs") && !place.ends_with("/tests.rs") {
            found.push(place);
        }
    }
    found.sort();
    found
}

/// Every path in the text, those of `use` with their braces resolved. Comments and a module of tests
/// at the end are left out.
pub(crate) fn paths(text: &str) -> Vec<String> {
    let code: String = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut paths = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = next_use(rest) {
        names(&rest[..at], &mut paths);
        let statement = &rest[at..];
        let end = statement.find(';').unwrap_or(statement.len());
        expand("", &statement[..end], &mut paths);
        rest = &statement[end..];
    }
    names(rest, &mut paths);
    paths
}

/// Where the tree of the next `use` begins.
fn next_use(text: &str) -> Option<usize> {
    text.match_indices("use ").map(|(at, _)| at).find_map(|at| {
        let before = text[..at].chars().next_back();
        before
            .is_none_or(char::is_whitespace)
            .then_some(at + "use ".len())
    })
}

/// Paths that stand in code.
fn names(code: &str, paths: &mut Vec<String>) {
    let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter| !is_path(letter));
    paths.extend(
        words
            .filter(|word| word.contains("::"))
            .map(|word| word.trim_matches(':').to_owned()),
    );
}

/// `a::{b, c::{d, self}}` as `a::b`, `a::c::d`, `a::c`.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    match tree.split_once('{') {
        Some((head, inner)) => {
            let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
            let prefix = format!("{prefix}{}", head.trim());
            for part in split_at_commas(inner) {
                expand(&prefix, part, paths);
            }
        }
        None => {
            let path = tree.split_whitespace().next().unwrap_or_default();
            match path {
                "" => {}
                "self" => paths.push(prefix.trim_end_matches(':').to_owned()),
                _ => paths.push(format!("{prefix}{path}")),
            }
        }
    }
}

/// Splits at the commas that are in no braces.
fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[test]
fn paths_are_those_of_uses_and_of_code() {
    let text = "//! std::env in words\nuse std::{fmt::{self, Display as D}, fs};\n\
                pub use a::b;\nfn f() { tokio::spawn(x::Y { z: 1 }) } // x::w\n\
                #[cfg(test)]\nmod tests {\n use std::net;\n}\n";
    let expected = [
        "std::fmt",
        "std::fmt::Display",
        "std::fs",
        "a::b",
        "tokio::spawn",
        "x::Y",
    ];
    assert_eq!(paths(text), expected);
}
