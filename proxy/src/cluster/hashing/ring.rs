//! A ring of hashes: the same client comes to the same host, and where hosts come and go most clients
//! stay where they are.

use std::fmt::Write as _;

use twox_hash::XxHash64;

use super::Keyed;
use crate::config::cluster::{HashFunction, RingHash};

/// Envoy's seed of `MURMUR_HASH_2`, the one of libstdc++.
const MURMUR_SEED: u64 = 0xc70f_6907;
const MURMUR_MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;

/// Hosts on a ring, each with points by its weight.
pub(super) struct Ring {
    /// Hashes, ascending, and the index of the host each belongs to.
    points: Vec<(u64, u32)>,
}

// === impl Ring ===

impl Ring {
    pub(super) fn new(hosts: &[Keyed], settings: RingHash) -> Self {
        let least = hosts.iter().map(|host| host.share);
        let least = least.fold(1.0, f64::min);
        // So many that the host of the least weight has whole points.
        let wanted = (least * f64::from(settings.minimum_size)).ceil() / least;
        let scale = wanted.min(f64::from(settings.maximum_size));
        let (mut points, mut key) = (Vec::new(), String::new());
        let (mut placed, mut target) = (0.0, 0.0);
        for (index, host) in (0_u32..).zip(hosts) {
            target += scale * host.share;
            for number in 0_u32.. {
                if placed >= target {
                    break;
                }
                key.clear();
                // Writing to a string cannot fail.
                let _ = write!(key, "{}_{number}", host.key);
                let point = match settings.function {
                    HashFunction::XxHash => XxHash64::oneshot(0, key.as_bytes()),
                    HashFunction::MurmurHash2 => murmur2(key.as_bytes()),
                };
                points.push((point, index));
                placed += 1.0;
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The index of the host whose point is next to `hash`, or of the one so many points further on.
    pub(super) fn pick(&self, hash: u64, further: u32) -> Option<usize> {
        let first = self.points.partition_point(|(point, _)| *point < hash);
        // Behind the last is the first.
        let first = if first == self.points.len() { 0 } else { first };
        let at = (first + further as usize).checked_rem(self.points.len())?;
        let (_, index) = self.points.get(at)?;
        usize::try_from(*index).ok()
    }
}

/// `MurmurHash2` of 64 bits (Appleby 2008), as libstdc++ has it.
fn murmur2(bytes: &[u8]) -> u64 {
    let mix = |hash: u64| hash ^ (hash >> 47);
    let mut hash = MURMUR_SEED ^ (bytes.len() as u64).wrapping_mul(MURMUR_MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = mix(u64::from_le_bytes(*word).wrapping_mul(MURMUR_MULTIPLIER));
        hash = (hash ^ word.wrapping_mul(MURMUR_MULTIPLIER)).wrapping_mul(MURMUR_MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MURMUR_MULTIPLIER);
    }
    mix(mix(hash).wrapping_mul(MURMUR_MULTIPLIER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(shares: &[f64]) -> Ring {
        let hosts = shares.iter().enumerate();
        let hosts: Vec<Keyed> = hosts
            .map(|(index, share)| Keyed {
                key: format!("h{index}").into(),
                share: *share,
            })
            .collect();
        Ring::new(&hosts, RingHash::default())
    }

    #[test]
    fn each_host_has_points_by_its_weight() {
        let points = |shares: &[f64]| {
            let ring = ring(shares);
            let mut counts = vec![0; shares.len()];
            for (_, index) in ring.points {
                counts[index as usize] += 1;
            }
            counts
        };
        let third = 1.0 / 3.0;
        assert_eq!(points(&[third, third, third]), [342; 3]);
        assert_eq!(points(&[0.75, 0.25]), [768, 256]);
        assert_eq!(points(&[]), [0_u32; 0]);
        assert_eq!(ring(&[]).pick(7, 0), None);
    }

    #[test]
    fn murmur_hashes_are_those_of_libstdcxx() {
        // `std::_Hash_bytes(text, length, 0xc70f6907)`.
        assert_eq!(murmur2(b""), 6_142_509_188_972_423_790);
    }
}
