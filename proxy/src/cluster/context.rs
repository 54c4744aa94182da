//! What of a connection or a request decides which host it gets.

use std::net::SocketAddr;

use super::{Host, Tried};
use crate::config::{retry_host::HostSelection, subset::MetadataMatch};

/// What of a connection or a request decides which host it gets.
#[derive(Clone, Copy)]
pub struct LoadBalancerContext<'c> {
    /// Where it goes, for clusters of type `ORIGINAL_DST`; none: nobody says.
    pub destination: Option<SocketAddr>,
    /// The hash of the client, for clusters that go by one. Without one it goes anywhere.
    pub hash: Option<u64>,
    /// What hosts must have, for clusters with subsets.
    pub metadata_match: Option<&'c MetadataMatch>,
    /// Hosts that have just failed; they are picked again only if there is no other.
    pub tried: &'c Tried,
    /// What a retry says of who may be picked.
    pub retry: Option<&'c HostSelection>,
}

// === impl LoadBalancerContext ===

impl<'c> LoadBalancerContext<'c> {
    /// Of what goes to `destination` and has failed nowhere but at those `tried`.
    #[must_use]
    pub fn new(destination: impl Into<Option<SocketAddr>>, tried: &'c Tried) -> Self {
        Self {
            destination: destination.into(),
            hash: None,
            metadata_match: None,
            tried,
            retry: None,
        }
    }

    /// Whether the host is one that the retry would rather not have.
    pub(super) fn rejects(&self, host: &Host) -> bool {
        self.retry.is_some_and(|retry| {
            retry.previous_hosts && self.tried.has(host)
                || retry.omit_canary_hosts && host.is_canary()
                || retry
                    .omit_host_metadata
                    .as_ref()
                    .is_some_and(|wanted| host.has_metadata(wanted, true))
        })
    }
}
