//! What strangers may use of each listener.

use std::{net::IpAddr, sync::Arc, time::Duration};

use weir_guard::{Closed, Guard, Limits, Refused, default_gateways};

/// From a connection to its first request; an API server's whole call may take 30 s at most.
const OPENING: Duration = Duration::from_secs(10);
/// Longer than scrapers wait between scrapes, and than API servers keep what they do not use (90 s).
const IDLE: Duration = Duration::from_secs(120);
/// Places for probes when all others are in use.
const RESERVE: usize = 16;

/// Connections of sidecars to one control plane, at most; what there are files for, where that is less.
const SIDECARS: usize = 32_768;
/// Of those files, what all else may need: other listeners, the API server.
const OTHER_FILES: usize = 4_096;
/// From one address: all sidecars of a node whose network hides pods behind the node.
const SIDECARS_OF_SOURCE: usize = 512;
/// Of a token, the API server may be asked, and a certificate is signed.
const SIDECAR_RESPONSE: Duration = Duration::from_secs(30);

/// An API server keeps one or two connections open; a thousand are only those of something else.
const REVIEWS: usize = 1024;
/// Several API servers may be behind one address.
const REVIEWS_OF_SOURCE: usize = 128;
/// API servers wait 30 s at most, 5 s for our webhooks.
pub(crate) const REVIEW: Duration = Duration::from_secs(10);

/// Scrapers, probes and people.
const DEBUG: usize = 256;
const DEBUG_OF_SOURCE: usize = 32;

/// The guards of all listeners.
#[derive(Debug)]
pub(crate) struct Guards {
    pub(crate) xds: Arc<Guard>,
    pub(crate) xds_plaintext: Arc<Guard>,
    pub(crate) debug: Arc<Guard>,
    pub(crate) webhook: Arc<Guard>,
}

// === impl Guards ===

impl Guards {
    /// Guards for a control plane with so many files, on the node with that address.
    pub(crate) fn new(files: u64, node: Option<IpAddr>) -> Self {
        let mut reserved = default_gateways();
        reserved.extend(node);
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let sidecars = files.saturating_sub(OTHER_FILES).max(files / 2);
        let xds = Limits {
            connections: sidecars.min(SIDECARS),
            per_source: SIDECARS_OF_SOURCE,
            reserved: reserved.clone(),
            reserve: RESERVE,
            opening: OPENING,
            idle: IDLE,
            response: SIDECAR_RESPONSE,
            exchange: None,
        };
        let debug = Limits {
            connections: DEBUG,
            per_source: DEBUG_OF_SOURCE,
            response: REVIEW,
            // The dump of all of a mesh's configuration, over a slow link.
            exchange: Some(Duration::from_secs(60)),
            ..xds.clone()
        };
        Self {
            xds_plaintext: Guard::new(xds.clone()),
            debug: Guard::new(debug),
            webhook: webhook(reserved),
            xds: Guard::new(xds),
        }
    }

    /// Each listener with its connections now.
    pub(crate) fn connections(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let all = self.all().into_iter();
        all.map(|(name, guard)| (name, guard.connections()))
    }

    /// Each listener with each reason to refuse, and how often it was one.
    pub(crate) fn refused(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let all = self.all().into_iter();
        all.flat_map(|(name, guard)| {
            Refused::ALL.map(|why| ([name, why.word()], guard.refused(why)))
        })
    }

    /// Each listener with each reason to close, and how often it was one.
    pub(crate) fn closed(&self) -> impl Iterator<Item = ([&'static str; 2], u64)> {
        let all = self.all().into_iter();
        all.flat_map(|(name, guard)| Closed::ALL.map(|why| ([name, why.word()], guard.closed(why))))
    }

    fn all(&self) -> [(&'static str, &Guard); 4] {
        [
            ("xds", &*self.xds),
            ("xds-plaintext", &*self.xds_plaintext),
            ("debug", &*self.debug),
            ("webhook", &*self.webhook),
        ]
    }
}

/// The guard of the webhooks; `reserved` is where probes come from.
pub(crate) fn webhook(reserved: Vec<IpAddr>) -> Arc<Guard> {
    Guard::new(Limits {
        connections: REVIEWS,
        per_source: REVIEWS_OF_SOURCE,
        reserved,
        reserve: RESERVE,
        opening: OPENING,
        idle: IDLE,
        // A little more than the handler's own time, which is told to the client.
        response: REVIEW + Duration::from_secs(5),
        exchange: Some(2 * REVIEW),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecars_have_what_files_are_left() {
        for (files, sidecars) in [(1024, 512), (10_000, 5_904), (1 << 20, SIDECARS)] {
            let guards = Guards::new(files, None);
            assert_eq!(guards.xds.limits().connections, sidecars, "{files}");
        }
    }
}
