//! How much a listener takes, and for how long.

use std::{net::IpAddr, time::Duration};

/// What the connections of one listener may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one source address at a time.
    pub per_source: usize,
    /// Sources that others do not evict, and that get places beyond `connections`. Loopback is one.
    pub reserved: Vec<IpAddr>,
    /// How many places beyond.
    pub reserve: usize,
    /// From the accept to the head of the first request; a TLS handshake lies in between.
    pub opening: Duration,
    /// Without a request after that.
    pub idle: Duration,
    /// From the head of a request to that of its response.
    pub response: Duration,
    /// From the last begin or end of a request while one is in flight: nobody reads its response, or
    /// writes the rest of it. `None`: requests are streams, and who serves them looks after them.
    pub exchange: Option<Duration>,
}

// === impl Limits ===

impl Limits {
    /// Whether a source has the reserve.
    pub(crate) fn reserves(&self, source: IpAddr) -> bool {
        source.is_loopback() || self.reserved.contains(&source)
    }
}
