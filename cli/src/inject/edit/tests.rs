use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inject::{json, render, yaml};

fn edited(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let root = yaml::read(text).expect("yaml").expect("a document");
    let mut value = root.value();
    change(&mut value);
    let edited = edit(text, &root, &value).expect("editable");
    let again = yaml::read(&edited).unwrap_or_else(|error| panic!("{error} in\n{edited}"));
    assert_eq!(again.expect("a document").value(), value, "\n{edited}");
    edited
}

#[test]
fn comments_order_and_quoting_of_what_stays_are_kept() {
    let text = "\
# Source: web.yaml
spec: # of the pod
  # the web server
  containers:
  - name: 'web'   # see below
    args: [\"-v\",  'x']
    mode: 0644
    script: |
      if true; then

        echo
      fi

  # the end
  zone: b
metadata:
  name: web
# last
";
    let new = edited(text, |value| {
        value["spec"]["containers"]
            .as_array_mut()
            .expect("a list")
            .insert(
                0,
                json!({"name": "first", "ports": [{"containerPort": 80}]}),
            );
        value["spec"]["volumes"] = json!([{"name": "x", "emptyDir": {}}]);
        value["metadata"]["annotations"] = json!({"a/b": "{\"c\":1}", "d": "yes"});
    });
    let expected = text
        .replace(
            "  - name: 'web'",
            "  - name: first\n    ports:\n    - containerPort: 80\n  - name: 'web'",
        )
        .replace(
            "  zone: b\n",
            "  zone: b\n  volumes:\n  - emptyDir: {}\n    name: x\n",
        )
        .replace(
            "  name: web\n",
            "  name: web\n  annotations:\n    a/b: '{\"c\":1}'\n    d: \"yes\"\n",
        );
    assert_eq!(new, expected);
}

#[test]
fn comments_before_what_is_removed_stay_unless_they_follow_something_that_stays() {
    let text = "a:\n  # about b\n  b: 1 # more\n  # about c\n  c: [1,\n    2]\n  d:\n  - x\n  # about y\n  - y\n";
    let new = edited(text, |value| {
        value["a"].as_object_mut().expect("a map").remove("b");
        value["a"]["d"].as_array_mut().expect("a list").remove(1);
    });
    assert_eq!(
        new,
        "a:\n  # about b\n  # about c\n  c: [1,\n    2]\n  d:\n  - x\n"
    );
}

#[test]
fn elements_move_with_their_lines() {
    let text = "l:\n- name: a # first\n- name: b\n  # of b\n  x: 1\n";
    let new = edited(text, |value| {
        value["l"].as_array_mut().expect("a list").reverse();
        value["l"][0]["x"] = json!("two");
    });
    assert_eq!(
        new,
        "l:\n- name: b\n  # of b\n  x: two\n- name: a # first\n"
    );
}

#[test]
fn a_value_of_another_kind_is_written_anew_in_its_place() {
    for (text, expected) in [
        ("a: # none\nb: 1\n", "a: # none\n  k: v\nb: 1\n"),
        ("a: {}\nb: 1\n", "a: {\"k\": \"v\"}\nb: 1\n"),
        ("a: ~ # none\n", "a: # none\n  k: v\n"),
        ("a: |\n  text\nb: 1\n", "a:\n  k: v\nb: 1\n"),
        ("- a: 1\n", "- a:\n    k: v\n"),
        ("a: 1", "a:\n  k: v\n"),
        ("a: 1\r\nb: 2\r\n", "a:\r\n  k: v\r\nb: 2\r\n"),
    ] {
        let new = edited(text, |value| {
            let a = if value.is_array() {
                &mut value[0]["a"]
            } else {
                &mut value["a"]
            };
            *a = json!({"k": "v"});
        });
        assert_eq!(new, expected);
    }
}

#[test]
fn json_stays_as_it_is_laid_out() {
    for (text, expected) in [
        (
            "{\"b\":{\"c\":1e3},\"a\":[]}",
            "{\"b\":{\"c\":1e3,\"d\":[true]},\"a\":[]}",
        ),
        (
            "{\n    \"b\": {\n        \"c\": 1\n    },\n    \"a\": []\n}\n",
            "{\n    \"b\": {\n        \"c\": 1,\n        \"d\": [\n            true\n        ]\n    },\n    \
             \"a\": []\n}\n",
        ),
        ("{\"b\": {\"c\": 1}}", "{\"b\": {\"c\": 1, \"d\": [true]}}"),
        ("{\"b\":{}}", "{\"b\":{\"d\":[true]}}"),
    ] {
        let root = json::read(text, 0).expect("json").expect("a document");
        let mut value = root.value();
        value["b"]["d"] = json!([true]);
        assert_eq!(edit(text, &root, &value).expect("editable"), expected);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,3}",
        "\\PC{0,8}",
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("- x: #y\n z\t".to_owned()),
    ];
    let scalar = prop_oneof![
        text.prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    scalar.prop_recursive(4, 40, 4, |inner| {
        let named = ("[a-c]", inner.clone())
            .prop_map(|(name, value)| json!({"name": name, "value": value}));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(named, 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|\\PC{1,4}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(value in value()) {
        let text = render::block(&value, 0);
        let node = yaml::read(&text).expect("yaml");
        prop_assert_eq!(node.map_or(Value::Null, |node| node.value()), value);
    }

    #[test]
    fn an_edited_text_says_the_new_value(
        before in prop::collection::btree_map("[a-d]", value(), 1..4),
        after in prop::collection::btree_map("[a-d]", value(), 1..4),
    ) {
        let before: Value = before.into_iter().collect();
        let after: Value = after.into_iter().collect();
        for text in [render::block(&before, 0), before.to_string(), format!("{before:#}\n")] {
            let root = yaml::read(&text).expect("yaml").expect("a document");
            if let Some(edited) = edit(&text, &root, &after) {
                let again = yaml::read(&edited).expect("yaml").expect("a document");
                prop_assert_eq!(again.value(), after.clone(), "\n{}\n=>\n{}", text, edited);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "[-a:#{}\\[\\],'\"|>&*! \n]{0,40}|\\PC{0,40}") {
        if let Ok(Some(root)) = yaml::read(&text) {
            let _ = edit(&text, &root, &json!({"a": [{"b": 1}], "c": "d"}));
            let _ = edit(&text, &root, &json!([1, {"a": 2}]));
        }
        let _ = json::read(&text, 0);
    }
}
