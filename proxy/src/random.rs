//! Cheap random numbers for load balancing and request ids. Not for secrets.

use std::hash::{BuildHasher, RandomState};

/// A seed that differs between processes and calls.
pub(crate) fn seed() -> u64 {
    // `RandomState` draws from the kernel once a thread, and counts up from there.
    RandomState::new().hash_one(0_u8) | 1
}

/// The next number: splitmix64 (Steele, Lea, Flood 2014).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
