//! Bounds on what clients may cost.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    thread::available_parallelism,
    time::Duration,
};

/// Bounds on what clients may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Clients that are told something at the same time. Others wait for their turn, so that a
    /// change that concerns everybody does not fill the memory with copies of itself.
    pub concurrent_pushes: usize,
    /// How long a client may take none of what it is told before it is cut off.
    pub write_timeout: Duration,
    /// Age after which a connection ends, give or take a tenth, so that clients spread over
    /// replicas again and their tokens are checked again.
    pub connection_age: Duration,
    /// Names one stream may subscribe to. Real Envoy subscribes to the endpoints and routes of
    /// every service port by name.
    pub names: usize,
    /// Largest request, bytes. A client that reconnects names every version it has.
    pub request_size: usize,
    /// Streams of one connection. A sidecar has one.
    pub streams: u32,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            // As Istio has it: more than the cores, since telling is also waiting for the client.
            concurrent_pushes: (15 + 5 * cores).min(100),
            // With the keepalive, a client that is gone or hangs is cut off within half a minute.
            write_timeout: Duration::from_secs(20),
            connection_age: Duration::from_secs(30 * 60),
            // Three ports each of 10 000 services are 30 000 names.
            names: 100_000,
            // 100 000 names of 80 bytes, and as many versions of 16.
            request_size: 16 << 20,
            streams: 16,
        }
    }
}

impl Limits {
    /// The age one connection may reach: jittered, so that clients that came together, as after a
    /// restart, do not come back together.
    pub(super) fn age(&self) -> Duration {
        // Keys of a new map are as good as dice here.
        let dice = RandomState::new().build_hasher().finish() % 2000;
        // From nine tenths to eleven tenths.
        self.connection_age / 10_000 * (9_000 + u32::try_from(dice).unwrap_or(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let limits = Limits::default();
        let ages: Vec<_> = (0..100).map(|_| limits.age()).collect();
        let within = Duration::from_secs(27 * 60)..=Duration::from_secs(33 * 60);
        assert!(ages.iter().all(|age| within.contains(age)), "{ages:?}");
        assert!(ages.iter().any(|age| *age != ages[0]));
    }
}
