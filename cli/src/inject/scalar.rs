//! What a plain YAML scalar means to Kubernetes, whose reader knows YAML 1.1: `yes` is true and
//! `0644` is a number in base eight.

use serde_json::{Number, Value};

/// The meaning of a scalar that is not quoted. `None` for a number that JSON cannot hold.
pub(super) fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            true.into()
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            false.into()
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return None,
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            match number(text) {
                Some(number) => number?.into(),
                None => text.into(),
            }
        }
        _ => text.into(),
    })
}

/// Whether a text means itself when it is written without quotes, to readers of any YAML version.
pub(super) fn is_plain(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let inner = |c: char| c.is_ascii_alphanumeric() || "/_.-+@=".contains(c);
    let mut characters = text.chars().peekable();
    let mut plain = starts;
    while let Some(character) = characters.next() {
        // A colon or a space is one only between others.
        let between = character == ':' && characters.peek().is_some_and(|next| inner(*next));
        plain &= inner(character) || between;
    }
    plain && self::plain(text).is_some_and(|value| value == text)
}

/// The number a text means, `Some(None)` if JSON cannot hold it, `None` if it is no number.
fn number(text: &str) -> Option<Option<Number>> {
    let digits = text.replace('_', "");
    if let Some(integer) = integer(&digits) {
        return Some(Some(integer));
    }
    is_decimal(&digits).then(|| Number::from_f64(digits.parse().ok()?))
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let radix = |prefix: &str| digits.to_ascii_lowercase().starts_with(prefix);
    let (digits, radix) = match digits {
        _ if radix("0x") => (&digits[2..], 16),
        _ if radix("0b") => (&digits[2..], 2),
        _ if radix("0o") => (&digits[2..], 8),
        _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // The standard library would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let size = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        false => Some(size.into()),
        true => Some(0i64.checked_sub_unsigned(size)?.into()),
    }
}

/// Whether it is digits with an optional point and exponent.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned
        .split_once(['e', 'E'])
        .map_or((unsigned, None), |(mantissa, exponent)| {
            (mantissa, Some(exponent))
        });
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    (!whole.is_empty() || !fraction.is_empty())
        && all_digits(whole)
        && all_digits(fraction)
        && exponent.is_none_or(|text| !text.is_empty() && all_digits(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_mean_what_kubernetes_reads() {
        for (text, value) in [
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("-7", json!(-7)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("~", json!(null)),
            ("1.2.3", json!("1.2.3")),
            ("10m", json!("10m")),
            ("2001-01-01", json!("2001-01-01")),
            ("089", json!(89.0)),
            ("12:30", json!("12:30")),
            ("-", json!("-")),
            (".", json!(".")),
            ("+-1", json!("+-1")),
            ("nope", json!("nope")),
        ] {
            assert_eq!(plain(text), Some(value), "{text}");
        }
        assert_eq!(plain(".inf"), None);
        assert_eq!(plain("1e999"), None);
    }

    #[test]
    fn what_would_mean_something_else_is_not_plain() {
        for text in [
            "weir-proxy",
            "app:1",
            "/var/run/x",
            "a.b/c",
            "RuntimeDefault",
        ] {
            assert!(is_plain(text), "{text}");
        }
        for text in [
            "", "yes", "true", "null", "10m", "1337", "a: b", "a:", "x #y", "*", "-", "~", "é", "0",
        ] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
