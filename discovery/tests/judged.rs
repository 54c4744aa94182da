//! What is said of rules where they are written: the objects of `judged/KIND.txt`, each with the errors
//! and warnings that follow it.

use std::{fs, path::Path};

use serde_json::{Value, json};
use weir_discovery::rules::{Judgement, KINDS, KnownKind, Settings};

const NOTE: &str = "# NAMESPACE and an object's fields as YAML, then what is said of it. REFRESH_GOLDEN=1 \
                    cargo test --test judged rewrites what is said.\n";

/// An object of a line.
fn object(line: &str) -> (&str, Value) {
    let (namespace, fields) = line.split_once(' ').expect(line);
    // Through the YAML library's own value, whose keys may be numbers.
    let fields: yaml_serde::Value = yaml_serde::from_str(fields).expect(line);
    let mut object = serde_json::to_value(fields).expect(line);
    let meta = object["metadata"].take();
    object["metadata"] = json!({"name": "rule", "namespace": namespace});
    for (key, value) in meta.as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
    (namespace, object)
}

fn judged(kind: &KnownKind, text: &str) -> String {
    let mut said = NOTE.to_owned();
    let is_object = |line: &&str| !line.starts_with(['#', ' ']) && !line.is_empty();
    for line in text.lines().filter(is_object) {
        let (namespace, object) = object(line);
        let Judgement { errors, warnings } = kind.judge(&object, namespace, &Settings::default());
        said += &format!("\n{line}\n");
        let errors = errors.iter().map(|text| format!("  error: {text}\n"));
        let warnings = warnings.iter().map(|text| format!("  warning: {text}\n"));
        let all: String = errors.chain(warnings).collect();
        said += if all.is_empty() { "  nothing\n" } else { &all };
    }
    said
}

#[test]
fn what_is_malformed_is_refused_and_what_sidecars_cannot_honour_is_warned_of_with_its_consequence()
{
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judged");
    for kind in &KINDS {
        let file = directory.join(format!("{}.txt", kind.kind));
        let text = fs::read_to_string(&file).expect(kind.kind);
        let said = judged(kind, &text);
        if std::env::var_os("REFRESH_GOLDEN").is_some() {
            fs::write(&file, &said).expect("golden file");
        } else {
            assert_eq!(text, said, "{}", file.display());
        }
        for word in ["error", "warning", "nothing"] {
            assert!(said.contains(&format!("\n  {word}")), "no {word}: {said}");
        }
    }
}
