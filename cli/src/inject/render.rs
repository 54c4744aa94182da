//! Values as new text: block YAML, or JSON.

use serde_json::{Map, Value};

use super::scalar;

/// How JSON is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// On one line.
    Compact,
    /// On one line, with spaces after commas and colons.
    Line,
    /// Over lines, indented by so many characters more for each level.
    Lines(usize),
}

/// `key: value` of a block mapping at this column, which the first line is taken to be at already.
pub(super) fn entry(key: &str, value: &Value, column: usize) -> String {
    format!("{}:{}", scalar(&Value::from(key)), after(value, column))
}

/// What follows the colon of a key at this column.
pub(super) fn after(value: &Value, column: usize) -> String {
    let indent = |column: usize| " ".repeat(column);
    match value {
        Value::Object(members) if !members.is_empty() => {
            format!("\n{}{}", indent(column + 2), block(value, column + 2))
        }
        // Dashes stand below the key, as kubectl writes them.
        Value::Array(items) if !items.is_empty() => {
            format!("\n{}{}", indent(column), block(value, column))
        }
        scalar => format!(" {}\n", inline(scalar)),
    }
}

/// A value as block YAML at this column, which the first line is taken to be at already.
pub(super) fn block(value: &Value, column: usize) -> String {
    let indent = " ".repeat(column);
    match value {
        Value::Object(members) if !members.is_empty() => {
            let entries = members
                .iter()
                .map(|(key, value)| entry(key, value, column))
                .collect::<Vec<_>>();
            entries.join(&indent)
        }
        Value::Array(items) if !items.is_empty() => {
            let items = items
                .iter()
                .map(|item| format!("- {}", block(item, column + 2)))
                .collect::<Vec<_>>();
            items.join(&indent)
        }
        other => format!("{}\n", inline(other)),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => json(value, Layout::Line, 0),
        other => scalar(other),
    }
}

/// A scalar, quoted where it would mean something else.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if scalar::is_plain(text) => text.clone(),
        Value::String(text) if single_quotable(text) => format!("'{text}'"),
        other => quoted(other),
    }
}

/// Text full of double quotes reads better within single ones.
fn single_quotable(text: &str) -> bool {
    text.contains('"')
        && !text.contains(['\'', '\\'])
        && text.chars().all(|c| matches!(c, ' '..='~'))
}

/// A scalar as JSON that is YAML too: YAML wants a few characters escaped that JSON does not.
fn quoted(value: &Value) -> String {
    let mut quoted = String::new();
    for character in value.to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

/// A value as JSON, whose first line is indented so far already.
pub(super) fn json(value: &Value, layout: Layout, indent: usize) -> String {
    let inner = match layout {
        Layout::Lines(step) => indent + step,
        _ => indent,
    };
    match value {
        Value::Object(members) => {
            let colon = if layout == Layout::Compact { ":" } else { ": " };
            let entry = |(key, value): (&String, &Value)| {
                let key = quoted(&Value::from(key.as_str()));
                format!("{key}{colon}{}", json(value, layout, inner))
            };
            let entries: Vec<_> = members.iter().map(entry).collect();
            brackets('{', &entries, '}', layout, indent)
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| json(item, layout, inner));
            brackets('[', &items.collect::<Vec<_>>(), ']', layout, indent)
        }
        other => quoted(other),
    }
}

/// Parts between brackets, laid out.
pub(super) fn brackets(
    open: char,
    parts: &[String],
    close: char,
    layout: Layout,
    indent: usize,
) -> String {
    if parts.is_empty() {
        return format!("{open}{close}");
    }
    match layout {
        Layout::Compact => format!("{open}{}{close}", parts.join(",")),
        Layout::Line => format!("{open}{}{close}", parts.join(", ")),
        Layout::Lines(step) => {
            let inner = format!("\n{}", " ".repeat(indent + step));
            let parts = parts.join(&format!(",{inner}"));
            format!("{open}{inner}{parts}\n{}{close}", " ".repeat(indent))
        }
    }
}

/// Members of an object in the order of these keys, then the others.
pub(super) fn ordered<'a>(
    members: &'a Map<String, Value>,
    first: &[&str],
) -> Vec<(&'a String, &'a Value)> {
    let rank = |key: &String| first.iter().position(|other| other == key);
    let mut ordered: Vec<_> = members.iter().collect();
    ordered.sort_by_key(|(key, _)| rank(key).unwrap_or(usize::MAX));
    ordered
}
