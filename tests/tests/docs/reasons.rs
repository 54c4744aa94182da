//! `docs/reasons.md` has the codes, flags and statuses of `proxy/src/reason.rs`.

use std::collections::BTreeMap;

use crate::{code, read, rows};

/// By name of the variant, what a function of `Reason` says in quotes or figures.
fn answers(source: &str, function: &str) -> (BTreeMap<String, String>, String) {
    let body = source
        .split_once(&format!("pub fn {function}("))
        .and_then(|(_, rest)| rest.split_once("\n    }\n"))
        .map(|(body, _)| body)
        .expect(function);
    let (mut answers, mut default) = (BTreeMap::new(), String::new());
    let arms = body.split_once("match self {").expect("a match").1;
    let mut rest = arms;
    while let Some((patterns, after)) = rest.split_once("=>") {
        let (answer, after) = after.split_once(['\n']).unwrap_or((after, ""));
        let answer = answer.trim().trim_end_matches(',').trim_matches('"');
        for pattern in patterns.split('|').map(str::trim) {
            match pattern.strip_prefix("Self::") {
                Some(variant) => drop(answers.insert(variant.to_owned(), answer.to_owned())),
                None => answer.clone_into(&mut default),
            }
        }
        rest = after;
    }
    (answers, default)
}

#[test]
fn reasons_are_documented_as_they_are() {
    let source = read("proxy/src/reason.rs");
    let document = read("docs/reasons.md");
    let (codes, _) = answers(&source, "code");
    let (flags, _) = answers(&source, "flag");
    let (statuses, default) = answers(&source, "status");
    assert!(codes.len() > 10 && !default.is_empty(), "{codes:?}");
    let rows = rows(&document, "Code");
    for (variant, known) in &codes {
        let row = rows
            .iter()
            .find(|row| code(&row[0]) == Some(known))
            .unwrap_or_else(|| panic!("`{known}` ({variant}) is not in docs/reasons.md"));
        assert_eq!(row[1], flags[variant], "flag of `{known}`");
        match statuses.get(variant) {
            Some(status) => assert_eq!(&row[2], status, "status of `{known}`"),
            None => assert!(
                [default.as_str(), "-"].contains(&row[2].as_str()),
                "`{known}`"
            ),
        }
    }
    assert_eq!(
        rows.len(),
        codes.len(),
        "docs/reasons.md has codes that nobody gives"
    );
}
