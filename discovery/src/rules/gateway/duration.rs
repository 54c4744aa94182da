//! Durations as GEP-2257 writes them.

use std::time::Duration;

/// The duration that a text is: up to four numbers of up to five digits, each with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    read(text).ok_or_else(|| {
        format!(
            "{text:?} is no duration: up to four of a number and h, m, s or ms, such as 1s500ms"
        )
    })
}

fn read(text: &str) -> Option<Duration> {
    const MOST_PARTS: usize = 4;
    const MOST_DIGITS: usize = 5;

    let (mut rest, mut total, mut parts) = (text, Duration::ZERO, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().ok().filter(|_| digits <= MOST_DIGITS)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        total += match unit {
            "h" => Duration::from_secs(number * 3600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        };
        (rest, parts) = (after, parts + 1);
    }
    (1..=MOST_PARTS).contains(&parts).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_specification() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("10ms", 10),
            ("1s500ms", 1500),
            ("1h2m3s4ms", 3_723_004),
            ("99999h", 359_996_400_000),
        ] {
            let read = duration(text).expect(text);
            assert_eq!(read, Duration::from_millis(milliseconds), "{text}");
        }
        for text in [
            "",
            "1",
            "1.5s",
            "-1s",
            "1d",
            "s",
            "100000s",
            "1s1s1s1s1s",
            "1 s",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
