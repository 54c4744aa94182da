//! Text to a tree of JSON values and back, and the words for what is wrong with it.

use envoy_types::pb::google::protobuf::Any;
use serde_json::{Map, Number, Value, json};
use serde_path_to_error::{Path, Segment};

use super::JsonError;

/// Reads YAML or JSON. Keys given twice are errors, merge keys (`<<`) are applied.
pub(super) fn parse(text: &str) -> Result<Value, JsonError> {
    let mut tree = parse_either(text)?;
    tree.apply_merge().map_err(|error| yaml_error(&error))?;
    to_json(tree, &mut Vec::new())
}

fn parse_either(text: &str) -> Result<yaml_serde::Value, JsonError> {
    // JSON is not quite a part of YAML (surrogate pairs, tabs), and a flow mapping is not JSON.
    // Both go into the same tree, which refuses a key given twice.
    let yaml = || yaml_serde::from_str(text).map_err(|error| yaml_error(&error));
    if !text.trim_start().starts_with('{') {
        return yaml();
    }
    serde_json::from_str(text).or_else(|error| yaml().map_err(|_| json_error(&error)))
}

fn json_error(error: &serde_json::Error) -> JsonError {
    JsonError::Syntax {
        line: error.line(),
        column: error.column(),
        reason: strip_position(&error.to_string()),
    }
}

fn yaml_error(error: &yaml_serde::Error) -> JsonError {
    let at = error.location();
    JsonError::Syntax {
        line: at.as_ref().map_or(0, yaml_serde::Location::line),
        column: at.as_ref().map_or(0, yaml_serde::Location::column),
        reason: strip_position(&error.to_string()),
    }
}

/// Cuts the ` at line 1 column 2` that both parsers end their messages with.
fn strip_position(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}

fn to_json(tree: yaml_serde::Value, path: &mut Vec<String>) -> Result<Value, JsonError> {
    match tree {
        yaml_serde::Value::Null => Ok(Value::Null),
        yaml_serde::Value::Bool(value) => Ok(Value::Bool(value)),
        yaml_serde::Value::String(value) => Ok(Value::String(value)),
        yaml_serde::Value::Number(number) => to_json_number(&number)
            .map(Value::Number)
            .ok_or_else(|| wrong(path, format!("{number} is not a number JSON has"))),
        yaml_serde::Value::Tagged(tagged) => Err(wrong(
            path,
            format!("the YAML tag {} is not supported", tagged.tag),
        )),
        yaml_serde::Value::Sequence(sequence) => {
            let mut values = Vec::with_capacity(sequence.len());
            for (index, value) in sequence.into_iter().enumerate() {
                path.push(format!("[{index}]"));
                values.push(to_json(value, path)?);
                path.pop();
            }
            Ok(Value::Array(values))
        }
        yaml_serde::Value::Mapping(mapping) => {
            let mut fields = Map::new();
            // An Any is read field by field only if its type comes first; this holds whichever
            // order `Map` keeps.
            fields.insert("@type".to_owned(), Value::Null);
            for (key, value) in mapping {
                let key = to_key(key).ok_or_else(|| wrong(path, "a key is not a scalar".into()))?;
                path.push(key.clone());
                let value = to_json(value, path)?;
                path.pop();
                if fields
                    .insert(key.clone(), value)
                    .is_some_and(|old| !old.is_null())
                {
                    return Err(wrong(path, format!("duplicate entry with key {key:?}")));
                }
            }
            if fields["@type"].is_null() {
                fields.remove("@type");
            }
            Ok(Value::Object(fields))
        }
    }
}

fn to_json_number(number: &yaml_serde::Number) -> Option<Number> {
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    Number::from_f64(number.as_f64()?)
}

fn to_key(key: yaml_serde::Value) -> Option<String> {
    match key {
        yaml_serde::Value::String(key) => Some(key),
        yaml_serde::Value::Bool(key) => Some(key.to_string()),
        yaml_serde::Value::Number(key) => Some(key.to_string()),
        _ => None,
    }
}

fn wrong(path: &[String], reason: String) -> JsonError {
    let path = path.iter().fold(String::new(), |path, part| match part {
        part if path.is_empty() || part.starts_with('[') => path + part,
        part => path + "." + part,
    });
    JsonError::Field { path, reason }
}

/// The path as people write it; empty at the top.
pub(super) fn field_path(path: &Path) -> String {
    let known = path
        .iter()
        .any(|segment| !matches!(segment, Segment::Unknown));
    if known {
        path.to_string()
    } else {
        String::new()
    }
}

/// Rewords what the reader says where its words do not help.
pub(super) fn reason(message: &str) -> String {
    let unknown = message
        .strip_prefix("message '")
        .and_then(|rest| rest.strip_suffix("' not found"));
    if let Some(name) = unknown {
        return format!("@type: {name} is not a type Weir knows");
    }
    if message == "expected '@type' field" {
        return "@type: missing".to_owned();
    }
    strip_position(message)
}

/// Whole numbers without a fraction, as Envoy prints them: a `Struct` holds only doubles.
pub(super) fn shorten_numbers(tree: &mut Value) {
    match tree {
        Value::Array(values) => values.iter_mut().for_each(shorten_numbers),
        Value::Object(fields) => fields.values_mut().for_each(shorten_numbers),
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(whole) {
                *tree = Value::from(whole);
            }
        }
        _ => {}
    }
}

/// The number as an integer, if it is one that a double holds exactly.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// An Any whose content cannot be shown field by field.
pub(super) fn opaque(any: &Any) -> Value {
    json!({ "@type": any.type_url, "value": base64(&any.value) })
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let sextet = group >> (18 - 6 * index) & 0x3f;
            let written = index <= chunk.len();
            text.push(if written {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}
