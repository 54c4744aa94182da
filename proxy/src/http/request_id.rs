//! `x-request-id`.

use std::fmt::Write;

/// A random UUID (RFC 9562 section 5.4), for correlation only.
pub(crate) fn new(high: u64, low: u64) -> String {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let (mut id, value) = (
        String::with_capacity(36),
        u128::from(high) << 64 | u128::from(low),
    );
    for (shift, digits) in [(96, 8), (80, 4), (64, 4), (48, 4), (0, 12)] {
        if !id.is_empty() {
            id.push('-');
        }
        let part = (value >> shift) & ((1 << (digits * 4)) - 1);
        // Writing to a String cannot fail.
        let _ = write!(id, "{part:0digits$x}");
    }
    id
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_version_4_uuids() {
        assert_eq!(super::new(0, 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(
            super::new(u64::MAX, u64::MAX),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }
}
