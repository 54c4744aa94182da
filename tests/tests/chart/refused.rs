//! `refused.yaml`: values that the schema refuses, with what Helm then says.

use std::fs;

use serde::Deserialize;
use weir_tests::helm::{available, chart, data, helm};

/// A wrong value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// As a values file.
    values: serde_json::Value,
    /// Part of the message: where the value stands.
    at: String,
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    if !available() {
        return;
    }
    let cases = fs::read_to_string(data().join("refused.yaml")).unwrap();
    let cases: Vec<Case> = yaml_serde::from_str(&cases).unwrap();
    assert!(cases.len() > 20, "the cases were not found");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("values.json");
    let chart = chart().to_string_lossy().into_owned();
    for Case { values, at } in cases {
        fs::write(&file, values.to_string()).unwrap();
        let command = ["template", "weir", &chart, "-f", &file.to_string_lossy()];
        let refused = helm(&command).expect_err(&format!("{values} is accepted"));
        let place = format!("- at '{at}': ");
        assert!(refused.contains(&place), "{values}: {refused}");
    }
}

#[test]
fn every_value_is_in_the_schema_and_every_object_of_it_is_closed() {
    let schema = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values: serde_json::Value = yaml_serde::from_str(&values).unwrap();
    compare("", &values, &schema);
}

/// Whether the values and the properties of the schema are the same, as deep as the schema has
/// properties.
fn compare(at: &str, values: &serde_json::Value, schema: &serde_json::Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    assert_eq!(schema["additionalProperties"], false, "{at} is open");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let keys = value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys());
        keys.filter(|key| *key != "global").cloned().collect()
    };
    for key in keys(values) {
        assert!(
            properties.contains_key(&key),
            "{at}/{key} is not in the schema"
        );
    }
    // What has a default of its own is documented by it; the rest is Kubernetes' own.
    let undocumented: Vec<String> = keys(&schema["properties"])
        .into_iter()
        .filter(|key| values.get(key).is_none())
        .filter(|_| !["/resources", "/certManager/issuerRef"].contains(&at))
        .collect();
    assert!(
        undocumented.is_empty(),
        "{at}: {undocumented:?} are not in values.yaml"
    );
    for (key, property) in properties {
        if let Some(value) = values.get(key) {
            compare(&format!("{at}/{key}"), value, property);
        }
    }
}
