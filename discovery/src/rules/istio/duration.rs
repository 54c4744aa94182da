//! Durations as Istio's objects write them: those of Go.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// A duration, `1.5s` or `1m30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rules) struct Span(pub(in crate::rules) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = read(&text).map(Self);
        span.ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no duration: numbers, each with h, m, s or ms, such as 1.5s"
            ))
        })
    }
}

fn read(text: &str) -> Option<Duration> {
    /// Digits of a part: of an hour, enough for a century, and of a second, for all its nanoseconds.
    const MOST_DIGITS: usize = 10;

    let (mut rest, mut total) = (text, Duration::ZERO);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        let (number, after) = rest.split_at(rest.bytes().take_while(is_number).count());
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let nanoseconds: u64 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() > MOST_DIGITS || part.len() > MOST_DIGITS || whole.len() + part.len() == 0 {
            return None;
        }
        let digits = |text: &str| {
            if text.is_empty() {
                Ok(0)
            } else {
                text.parse::<u64>()
            }
        };
        let whole = digits(whole).ok()?.checked_mul(nanoseconds)?;
        let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let part = u128::from(digits(part).ok()?) * u128::from(nanoseconds) / scale;
        let part = u64::try_from(part).ok()?;
        total += Duration::from_nanos(whole.checked_add(part)?);
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("10ms", 10),
            ("1.5s", 1500),
            (".5s", 500),
            ("1h2m3s4ms", 3_723_004),
            ("0.25h", 900_000),
            ("1500us", 1),
        ] {
            let read = read(text).expect(text).as_millis();
            assert_eq!(read, milliseconds, "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            ".s",
            "-1s",
            "1d",
            "1.1.1s",
            "1 s",
            "99999999999h",
            "9999999999h9é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
