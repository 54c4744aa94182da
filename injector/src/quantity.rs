//! Kubernetes quantities (`250m`, `64Mi`, `1e3`), read only as far as comparing two of them needs.

/// A non-negative quantity in billionths, rounded up as Kubernetes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(u128);

/// Digits taken in a mantissa. Enough for any quantity a node has; it keeps arithmetic in range.
const MAX_DIGITS: usize = 18;
const BILLION: u128 = 1_000_000_000;

// === impl Quantity ===

impl Quantity {
    /// Reads a quantity; `None` where Kubernetes would refuse it, or a container could not have it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (mantissa, suffix) = text.split_at(end);
        let (numerator, denominator) = scale(suffix)?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.len() + fraction.len();
        if digits == 0 || digits > MAX_DIGITS || fraction.contains('.') {
            return None;
        }
        let value: u128 = format!("{whole}{fraction}").parse().ok()?;
        let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?) * denominator;
        let scaled = value.checked_mul(numerator)?.checked_mul(BILLION)?;
        Some(Self(scaled.div_ceil(divisor)))
    }
}

/// What a suffix multiplies by, as numerator and denominator.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1024_u128.pow(power), 1));
    let decimal = |power: i32| {
        let size = 10_u128.pow(power.unsigned_abs());
        Some(if power < 0 { (1, size) } else { (size, 1) })
    };
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (-9..=18).contains(&exponent).then(|| decimal(exponent))?
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_quantities_compare_equal_however_written() {
        for (a, b) in [
            ("0.1", "100m"),
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E", "1e18"),
            ("+2", "2."),
            (".5", "500m"),
        ] {
            assert!(Quantity::parse(a).is_some(), "{a}");
            assert_eq!(Quantity::parse(a), Quantity::parse(b), "{a} {b}");
        }
        assert!(Quantity::parse("999m") < Quantity::parse("1"));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for bad in [
            "", ".", "m", "-1", "1 ", "1mi", "1KB", "1.2.3", "0x10", "1e99", "ten", "1e",
        ] {
            assert_eq!(Quantity::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}|[0-9.]{0,30}[a-zA-Z]{0,2}[0-9+-]{0,3}") {
            let _ = Quantity::parse(&text);
        }
    }
}
