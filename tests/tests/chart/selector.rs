//! Label selectors, as the API server evaluates them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether a selector, as an object of the API has it, selects these labels. One that is absent or
/// empty selects everything.
pub(crate) fn selects(selector: &Value, labels: &Labels) -> bool {
    let exactly = selector["matchLabels"].as_object();
    let exactly = exactly.into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array();
    let expressions = expressions.into_iter().flatten();
    exactly
        .map(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
        .chain(expressions.map(|expression| holds(expression, labels)))
        .all(|holds| holds)
}

fn holds(expression: &Value, labels: &Labels) -> bool {
    let key = expression["key"].as_str().expect("a key");
    let value = labels.get(key).map(String::as_str);
    let mut values = expression["values"].as_array().into_iter().flatten();
    let listed = value.is_some() && values.any(|listed| listed.as_str() == value);
    match expression["operator"].as_str().expect("an operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        other => panic!("operator {other}"),
    }
}
