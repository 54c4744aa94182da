//! Integers (RFC 7541 section 5.1).

/// Octets behind the first that an integer may have: more than any length or index that is
/// allowed needs.
const MOST_OCTETS: usize = 4;

/// What the beginning of some octets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// This, of so many octets.
    Whole(T, usize),
    /// The beginning of something.
    Partial,
    /// Nothing that is allowed.
    Wrong,
}

/// Reads an integer whose first octet shares its upper bits with something else.
pub(super) fn read(octets: &[u8], prefix: u32) -> Read<usize> {
    let Some(first) = octets.first() else {
        return Read::Partial;
    };
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value < mask {
        return Read::Whole(value, 1);
    }
    for at in 0..MOST_OCTETS {
        let Some(octet) = octets.get(1 + at) else {
            return Read::Partial;
        };
        value += usize::from(octet & 0x7f) << (7 * at);
        if octet & 0x80 == 0 {
            return Read::Whole(value, at + 2);
        }
    }
    Read::Wrong
}

/// Writes an integer behind the bits of `first`.
pub(super) fn write(out: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    out.push(first | mask as u8);
    let mut left = value - mask;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for prefix in 4..=7 {
            for value in [
                0,
                1,
                14,
                15,
                30,
                31,
                126,
                127,
                128,
                254,
                255,
                1337,
                16_384,
                1 << 27,
            ] {
                let mut out = Vec::new();
                write(&mut out, 0, prefix, value);
                assert_eq!(read(&out, prefix), Read::Whole(value, out.len()));
                let cut = &out[..out.len() - 1];
                assert_eq!(read(cut, prefix), Read::Partial);
            }
        }
    }

    #[test]
    fn an_integer_without_end_is_refused() {
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00], 7), Read::Wrong);
        assert_eq!(read(&[0x7f, 0x80, 0x80, 0x80, 0x80], 7), Read::Wrong);
    }
}
