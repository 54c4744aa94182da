//! A runtime value, and all that it can be read as.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use super::FractionalPercent;

/// A runtime value, and all that it can be read as.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As the admin interface shows it.
    pub text: String,
    /// A number from 0, cut to a whole one.
    pub integer: Option<u64>,
    /// True or false; whole numbers are true unless they are 0.
    pub boolean: Option<bool>,
    /// A share.
    pub percent: Option<FractionalPercent>,
}

// === impl Entry ===

impl Entry {
    /// Of a value in a configuration: of an object, which must be a share, only that is read.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        let mut entry = Self {
            text: match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            },
            integer: None,
            boolean: None,
            percent: None,
        };
        match value {
            Value::Bool(value) => entry.boolean = Some(*value),
            Value::Number(number) => entry.set_number(number.as_f64().unwrap_or_default()),
            Value::String(text) => entry.read(text),
            Value::Object(share) => {
                let numerator = share.get("numerator").and_then(Value::as_f64);
                let denominator = share.get("denominator").and_then(Value::as_str);
                entry.percent =
                    denominator_of(denominator.unwrap_or("HUNDRED")).map(|of| FractionalPercent {
                        numerator: numerator.unwrap_or_default() as u32,
                        denominator: of,
                    });
            }
            Value::Null | Value::Array(_) => {}
        }
        entry
    }

    /// Of a text that a person gave to the admin interface, which is YAML.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut entry = Self::from_json(&Value::String(text.to_owned()));
        entry.boolean = entry.boolean.or(match text.trim() {
            truth if truth.eq_ignore_ascii_case("true") => Some(true),
            truth if truth.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        });
        entry
    }

    fn read(&mut self, text: &str) {
        if let Ok(number) = text.trim().parse::<f64>() {
            self.set_number(number);
        }
        self.percent = share(text);
    }

    fn set_number(&mut self, number: f64) {
        if number.fract() == 0.0 && number.abs() < f64::from(i32::MAX) {
            self.boolean = Some(number != 0.0);
        }
        if number >= 0.0 && number.is_finite() {
            // Beyond the largest it is the largest.
            self.integer = Some(number as u64);
        }
    }
}

/// A share within a text, however it is quoted: Envoy reads those, too.
fn share(text: &str) -> Option<FractionalPercent> {
    static NUMERATOR: OnceLock<Option<Regex>> = OnceLock::new();
    if !text.contains("numerator") {
        return None;
    }
    let pattern = NUMERATOR.get_or_init(|| Regex::new("numerator[^0-9]+([0-9]+)[^0-9]*$").ok());
    let found = pattern.as_ref()?.captures(text)?;
    let denominator = ["TEN_THOUSAND", "MILLION"]
        .into_iter()
        .rfind(|name| text.contains("denominator") && text.contains(name));
    Some(FractionalPercent {
        numerator: found.get(1)?.as_str().parse().ok()?,
        denominator: denominator_of(denominator.unwrap_or("HUNDRED"))?,
    })
}

fn denominator_of(name: &str) -> Option<u32> {
    match name {
        "HUNDRED" => Some(100),
        "TEN_THOUSAND" => Some(10_000),
        "MILLION" => Some(1_000_000),
        _ => None,
    }
}
