//! `x-request-id`.

/// A new id, as text.
#[derive(Debug, Clone, Copy)]
pub struct RequestId([u8; 36]);

/// A random UUID (RFC 9562 section 5.4), for correlation only.
#[must_use]
pub fn new(high: u64, low: u64) -> RequestId {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let value = u128::from(high) << 64 | u128::from(low);
    let (mut id, mut shift) = ([b'-'; 36], 128);
    for (at, digit) in id.iter_mut().enumerate() {
        if !matches!(at, 8 | 13 | 18 | 23) {
            shift -= 4;
            *digit = b"0123456789abcdef"[(value >> shift) as usize & 0xf];
        }
    }
    RequestId(id)
}

// === impl RequestId ===

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and dashes")
    }
}

/// A number that is the same for all proxies that a request of this id passes, to tell shares by; none
/// if it is no id as proxies make them.
pub(crate) fn share_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(..8).filter(|_| id.len() == 36)?, 16).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_version_4_uuids() {
        for (high, low, id) in [
            (0, 0, "00000000-0000-4000-8000-000000000000"),
            (u64::MAX, u64::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (
                0x0123_4567_89ab_cdef,
                0x1122,
                "01234567-89ab-4def-8000-000000001122",
            ),
        ] {
            assert_eq!(super::new(high, low).as_str(), id);
        }
    }
}
