use serde_json::{Value, json};

use super::*;

fn layer(name: &str, values: &Value) -> Layer {
    let values = values.as_object().expect("an object");
    Layer {
        name: name.to_owned(),
        is_admin: false,
        entries: values
            .iter()
            .map(|(key, value)| (key.clone(), Entry::from_json(value)))
            .collect(),
    }
}

fn with_admin(values: &Value) -> Runtime {
    let admin = Layer {
        is_admin: true,
        ..layer("admin", &json!({}))
    };
    Runtime::new(vec![layer("base", values), admin])
}

#[test]
fn the_last_layer_that_has_a_key_counts() {
    let runtime = Runtime::new(vec![
        layer("a", &json!({ "x": 1, "y": 1 })),
        layer("b", &json!({ "x": 2 })),
    ]);
    assert_eq!(runtime.integer("x", 0), 2);
    assert_eq!(runtime.integer("y", 0), 1);
    assert_eq!(runtime.integer("z", 7), 7);
    assert_eq!(runtime.integer("", 7), 7);
    assert_eq!(runtime.keys().into_iter().collect::<Vec<_>>(), ["x", "y"]);
}

#[test]
fn values_are_read_as_what_they_can_be() {
    let percent = |numerator, denominator| {
        Some(FractionalPercent {
            numerator,
            denominator,
        })
    };
    for (value, integer, boolean, share) in [
        (json!(5), Some(5), Some(true), None),
        (json!(0), Some(0), Some(false), None),
        (json!(1.5), Some(1), None, None),
        (json!(-1), None, Some(true), None),
        (json!(18446744073709551615_u64), Some(u64::MAX), None, None),
        (json!("7"), Some(7), Some(true), None),
        (json!("x"), None, None, None),
        (json!(true), None, Some(true), None),
        (json!({ "numerator": 5 }), None, None, percent(5, 100)),
        (
            json!({ "numerator": 5, "denominator": "TEN_THOUSAND" }),
            None,
            None,
            percent(5, 10_000),
        ),
        (
            json!({ "numerator": 5, "denominator": "X" }),
            None,
            None,
            None,
        ),
        (
            json!("{\"numerator\": 3, \"denominator\": \"MILLION\"}"),
            None,
            None,
            percent(3, 1_000_000),
        ),
    ] {
        let entry = Entry::from_json(&value);
        let read = (entry.integer, entry.boolean, entry.percent);
        assert_eq!(read, (integer, boolean, share), "{value}");
    }
}

#[test]
fn a_key_overrides_a_share() {
    let runtime = with_admin(&json!({
        "none": 0, "all": 100, "more": 101, "half": 50, "text": "x",
        "tenth": { "numerator": 1, "denominator": "TEN_THOUSAND" },
    }));
    let quarter = FractionalPercent::percent(25);
    for (key, random, expected) in [
        ("", 24, true),
        ("", 25, false),
        ("unknown", 124, true),
        ("none", 0, false),
        ("all", 99, true),
        ("more", 99, true),
        ("half", 49, true),
        ("half", 50, false),
        ("text", 24, true),
        ("tenth", 10_000, true),
        ("tenth", 1, false),
    ] {
        assert_eq!(
            runtime.is_among(key, quarter, random),
            expected,
            "{key} {random}"
        );
    }
}

#[test]
fn the_admin_layer_is_changed_and_no_other() {
    let runtime = with_admin(&json!({ "x": 1, "y": 1 }));
    let changed = runtime.with_overrides([("x", "2"), ("f", "TRUE"), ("y", "")]);
    let changed = changed.expect("an admin layer");
    assert_eq!((changed.integer("x", 0), changed.integer("y", 0)), (2, 1));
    assert!(changed.boolean("f", false));
    let back = changed.with_overrides([("x", "")]).expect("an admin layer");
    assert_eq!(back.integer("x", 0), 1);
    let fixed = Runtime::new(vec![layer("base", &json!({ "x": 1 }))]);
    assert_eq!(
        fixed.with_overrides([("x", "2")]),
        Err(OverrideError::NoAdminLayer)
    );
    let many: Vec<String> = (0..=MAX_ADMIN_KEYS).map(|key| key.to_string()).collect();
    let many = many.iter().map(|key| (key.as_str(), "1"));
    assert_eq!(runtime.with_overrides(many), Err(OverrideError::TooMany));
}
