//! What the cryptography of a unit costs by itself: `openssl speed`, on the core of the proxies.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;
use weir_process::command::{LIMIT, execute};

use crate::{
    pods::{Pods, Side},
    scenario::Floor,
};

/// Bytes of the largest record of TLS.
const RECORD: &str = "16384";
const MIB: f64 = 1048576.0;

/// Operations for a second of CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Speed {
    pub(crate) p256_signatures: f64,
    pub(crate) p256_verifications: f64,
    pub(crate) x25519_exchanges: f64,
    pub(crate) aes_128_gcm_bytes: f64,
}

// === impl Speed ===

impl Speed {
    /// Takes some seconds.
    pub(crate) fn measure(pods: &Pods) -> Result<Self> {
        let speed = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            // It divides by the time of the CPU, not by that of a clock.
            command.args(["speed", "-seconds", "1"]).args(arguments);
            execute(&mut command, "", LIMIT)
        };
        let (handshake, bytes) = pods.as_proxy(Side::Outbound, || {
            let handshake = speed(&["ecdsap256", "ecdhx25519"])?;
            let bytes = speed(&["-bytes", RECORD, "-evp", "aes-128-gcm"])?;
            Ok((handshake, bytes))
        })?;
        Self::parse(&handshake, &bytes)
    }

    /// Reads what it prints for people, which has stayed the same over its versions.
    fn parse(handshake: &str, bytes: &str) -> Result<Self> {
        // The columns of a line, the last one first.
        let columns = |text: &str, name: &str| {
            let found = text.lines().find(|line| line.contains(name));
            let line = found.with_context(|| format!("openssl speed: no {name} in {text:?}"))?;
            let number = |column: &str| column.trim_end_matches('k').parse::<f64>().ok();
            let columns: Vec<f64> = line.split_whitespace().rev().map_while(number).collect();
            Ok::<_, anyhow::Error>((line.to_owned(), columns))
        };
        let first = |text: &str, name: &str| {
            let (line, columns) = columns(text, name)?;
            let last = columns.first().copied();
            last.with_context(|| format!("openssl speed: {line:?}"))
        };
        let (line, ecdsa) = columns(handshake, "ecdsa (nistp256)")?;
        let [verifications, signatures] = ecdsa[..] else {
            anyhow::bail!("openssl speed: {line:?}");
        };
        Ok(Self {
            p256_signatures: signatures,
            p256_verifications: verifications,
            x25519_exchanges: first(handshake, "ecdh (X25519)")?,
            // In thousands.
            aes_128_gcm_bytes: first(bytes, "AES-128-GCM")? * 1e3,
        })
    }

    /// Microseconds that both ends of a unit take at least.
    pub(crate) fn micros(&self, floor: Floor) -> f64 {
        // Both make a key and derive a secret. Making one is about as dear, but is not counted.
        let exchange = 2.0 / self.x25519_exchanges;
        // Both sign, and verify that signature and the authority's below the other's certificate.
        let certificates = 2.0 / self.p256_signatures + 4.0 / self.p256_verifications;
        let seconds = match floor {
            Floor::FullHandshake => exchange + certificates,
            Floor::ResumedHandshake => exchange,
            // One end seals, the other opens.
            Floor::Bytes => 2.0 * MIB / self.aes_128_gcm_bytes,
        };
        seconds * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: &str = "version: 3.0.19
built on: Tue Jan 27 00:00:00 2026 UTC
                              sign    verify    sign/s verify/s
 256 bits ecdsa (nistp256)   0.0000s   0.0001s  40000.0  10000.0
                              op      op/s
 253 bits ecdh (X25519)   0.0000s  25000.0
";
    const BYTES: &str = "The 'numbers' are in 1000s of bytes per second processed.
type          16384 bytes
AES-128-GCM    4000000.00k
";

    #[test]
    fn a_floor_is_the_sum_of_what_both_ends_compute() {
        let speed = Speed::parse(HANDSHAKE, BYTES).expect("speed");
        for (floor, micros) in [
            (Floor::FullHandshake, 50.0 + 400.0 + 80.0),
            (Floor::ResumedHandshake, 80.0),
            (Floor::Bytes, 524.288),
        ] {
            let found = speed.micros(floor);
            assert!((found - micros).abs() < 0.01, "{floor:?}: {found}");
        }
        Speed::parse("", BYTES).expect_err("nothing");
        Speed::parse(HANDSHAKE, "AES-128-GCM\n").expect_err("no figure");
    }
}
