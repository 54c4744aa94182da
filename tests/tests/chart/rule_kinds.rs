//! The schemas of the kinds of rules say what the code reads, no more and no less: each field, each
//! value of an enumeration.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use weir_discovery::rules::{KINDS, KnownKind, Settings};
use weir_tests::helm::{Rendered, available};

/// A name that no field and no value has.
const NONSENSE: &str = "nonsense";

/// A step from a value to one within it.
#[derive(Debug, Clone)]
enum Step {
    Field(String),
    Item,
}

#[test]
fn every_field_of_the_schema_is_read_and_every_field_that_is_read_is_in_the_schema() {
    if !available() {
        return;
    }
    let rendered = Rendered::with("customResourceDefinitions.enabled=true");
    // The definitions of Gateway API are not ours to install.
    let ours = |kind: &&KnownKind| kind.group.ends_with(".istio.io");
    for kind in KINDS.iter().filter(ours) {
        let mut all = rendered.all("CustomResourceDefinition");
        let definition = all.find(|it| it["spec"]["names"]["kind"] == kind.kind);
        let definition = definition.unwrap_or_else(|| panic!("no {}", kind.kind));
        assert_eq!(definition["spec"]["group"], kind.group);
        let versions = definition["spec"]["versions"].as_array().unwrap();
        let of_networking = kind.group == "networking.istio.io";
        let expected = if of_networking { 3 } else { 2 };
        assert_eq!(versions.len(), expected, "{}", kind.kind);
        for version in versions {
            let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let path = [Step::Field("spec".to_owned())];
            assert!(compared(kind, spec, &path) > 5, "{}", kind.kind);
        }
    }
}

/// Compares what is at a path and below with the schema of it, and returns how many values that were.
fn compared(kind: &KnownKind, schema: &Value, path: &[Step]) -> usize {
    let said = |value: Value| {
        let object = at(path, value);
        let said = kind.judge(&object, "shop", &Settings::default());
        said.errors.join("\n")
    };
    let sample = said(sample(schema));
    for fault in ["unknown", "is not known", "invalid type"] {
        assert!(!sample.contains(fault), "{path:?}: {sample}");
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().map(|value| value.as_str().unwrap());
        let read = expected(&said(json!(NONSENSE)));
        assert_eq!(values.map(str::to_owned).collect::<BTreeSet<_>>(), read);
    }
    let below = |step, schema| compared(kind, schema, &[path, &[step]].concat());
    if let Some(properties) = schema["properties"].as_object() {
        let read = expected(&said(json!({NONSENSE: ["a"]})));
        let names: BTreeSet<_> = properties.keys().cloned().collect();
        assert_eq!(names, read, "{path:?}");
        let fields = properties.iter();
        let fields = fields.map(|(name, schema)| below(Step::Field(name.clone()), schema));
        return 1 + fields.sum::<usize>();
    }
    let of_map = schema.get("additionalProperties");
    let of_map = of_map.map(|schema| below(Step::Field("80".to_owned()), schema));
    let of_list = schema.get("items").map(|schema| below(Step::Item, schema));
    1 + of_map.or(of_list).unwrap_or_default()
}

/// An object in which that value is at that path.
fn at(path: &[Step], value: Value) -> Value {
    let mut value = value;
    for step in path.iter().rev() {
        value = match step {
            Step::Item => json!([value]),
            Step::Field(name) => Value::Object(Map::from_iter([(name.clone(), value)])),
        };
    }
    value
}

/// A value of the schema's type.
fn sample(schema: &Value) -> Value {
    match (schema["type"].as_str().unwrap(), schema["enum"].get(0)) {
        (_, Some(first)) => first.clone(),
        ("string", _) => json!("a"),
        ("array", _) => json!([]),
        ("object", _) => json!({}),
        ("integer" | "number", _) => json!(1),
        ("boolean", _) => json!(true),
        (other, _) => panic!("{other} is not known here"),
    }
}

/// The names that an error about a name that is not known says are.
fn expected(error: &str) -> BTreeSet<String> {
    if let Some((_, names)) = error.split_once("write one of ") {
        let names = names.lines().next().unwrap_or_default();
        return names.split(", ").map(str::to_owned).collect();
    }
    let (_, names) = error.split_once(", expected ").expect(error);
    let quoted = names.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}
