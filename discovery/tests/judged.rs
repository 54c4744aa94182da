//! What is said of rules where they are written: the objects of `judged/KIND.txt`, each with the errors
//! and warnings that follow it.

use std::{fs, path::Path};

use serde_json::{Value, json};
use weir_discovery::rules::{Judgement, KINDS, KnownKind, Settings};
use weir_tests::golden::check;

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

/// The lines of a file that are objects.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let is_object = |line: &&str| !line.starts_with(['#', ' ']) && !line.is_empty();
    text.lines().filter(is_object)
}

fn judged(kind: &KnownKind, text: &str) -> String {
    let mut said = NOTE.to_owned();
    for line in lines(text) {
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

/// Pointers to every value within one.
fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    let keys: Vec<String> = match value {
        Value::Object(fields) => fields.keys().cloned().collect(),
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        _ => Vec::new(),
    };
    for key in keys {
        let key = key.replace('~', "~0").replace('/', "~1");
        let at = format!("{at}/{key}");
        if let Some(value) = value.pointer(&at[at.rfind('/').unwrap_or(0)..]) {
            pointers(value, &at, all);
        }
    }
}

/// Whatever a stranger sends, it is judged.
#[test]
fn a_value_of_another_type_anywhere_stops_nothing() {
    let others = [
        Value::Null,
        json!(-7),
        json!(""),
        json!("*"),
        json!([null]),
        json!([""]),
        json!({"": null}),
    ];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judged");
    let mut judged = 0;
    for kind in &KINDS {
        let text = fs::read_to_string(directory.join(format!("{}.txt", kind.kind))).expect("text");
        for (namespace, object) in lines(&text).map(object) {
            let mut all = Vec::new();
            pointers(&object, "", &mut all);
            for (pointer, other) in all
                .iter()
                .flat_map(|at| others.iter().map(move |it| (at, it)))
            {
                let mut object = object.clone();
                *object.pointer_mut(pointer).expect("it is there") = other.clone();
                let _judgement = kind.judge(&object, namespace, &Settings::default());
                judged += 1;
            }
        }
    }
    assert!(judged > 3000, "{judged}");
}

#[test]
fn what_is_malformed_is_refused_and_what_sidecars_cannot_honour_is_warned_of_with_its_consequence()
{
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judged");
    for kind in &KINDS {
        let file = directory.join(format!("{}.txt", kind.kind));
        let text = fs::read_to_string(&file).expect(kind.kind);
        let said = judged(kind, &text);
        check(&file, &said);
        for word in ["error", "warning", "nothing"] {
            assert!(said.contains(&format!("\n  {word}")), "no {word}: {said}");
        }
    }
}

#[test]
fn a_provider_that_the_mesh_does_not_have_is_warned_of_where_its_settings_are_known() {
    let kind = KINDS.iter().find(|it| it.kind == "AuthorizationPolicy");
    let kind = kind.expect("the kind");
    let said = |line: &str, known: Option<&[&str]>| {
        let (namespace, object) = object(line);
        let known = known.map(|known| known.iter().map(|name| (*name).to_owned()).collect());
        let settings = Settings {
            extension_providers: known,
            ..Settings::default()
        };
        let Judgement { errors, warnings } = kind.judge(&object, namespace, &settings);
        assert!(errors.is_empty(), "{errors:?}");
        warnings
    };
    let asks = "shop {spec: {action: CUSTOM, provider: {name: b}, rules: [{}]}}";
    assert!(said(asks, None).is_empty());
    assert!(said(asks, Some(&["a", "b"])).is_empty());
    assert!(said("shop {spec: {rules: [{}]}}", Some(&[])).is_empty());
    for (known, has) in [(&[][..], "none"), (&["a", "c"], "a, c")] {
        assert_eq!(
            said(asks, Some(known)),
            [format!(
                "spec.provider.name: \"b\" is no extension provider of the mesh (it has {has}), so nobody \
                 is let in: add it to extensionProviders, or name one that is there"
            )]
        );
    }
}
