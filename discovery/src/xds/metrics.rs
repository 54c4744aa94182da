//! Counters of the xDS server.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Kind;

/// Upper bounds of the convergence histogram, seconds. The goal is half a second beyond the debounce
/// of a tenth, so the resolution is there.
pub const CONVERGENCE_BOUNDS: [f64; 9] = [0.05, 0.1, 0.2, 0.3, 0.6, 1.0, 3.0, 10.0, 30.0];

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

/// Values of [`Metrics`] at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// By kind.
    pub kinds: BTreeMap<Kind, KindCounts>,
    /// Streams that were opened.
    pub streams_opened: u64,
    /// Requests that made no sense and ended their stream.
    pub bad_requests: u64,
    /// Snapshots that were published.
    pub publishes: u64,
    /// From the first event of a change to the ACK of a client, for each bound: how many took no
    /// longer than it and longer than the one before; the last counts those beyond all bounds.
    pub convergence: [u64; CONVERGENCE_BOUNDS.len() + 1],
    /// The sum of all of these, seconds.
    pub convergence_sum: f64,
}

/// Counts of one kind of resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Responses.
    pub responses: u64,
    /// Resources in them.
    pub resources: u64,
    /// Names in them of what is gone or never was.
    pub removed: u64,
    /// Responses that were accepted.
    pub acks: u64,
    /// Responses that were rejected. A rise means that clients run on old configuration: look at
    /// `/debug/syncz` for the resource and the reason.
    pub nacks: u64,
}

// === impl Metrics ===

impl Metrics {
    /// The values now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn published(&self) {
        self.update(|counts| counts.publishes += 1);
    }

    pub(super) fn stream_opened(&self) {
        self.update(|counts| counts.streams_opened += 1);
    }

    pub(super) fn bad_request(&self) {
        self.update(|counts| counts.bad_requests += 1);
    }

    pub(super) fn kind(&self, kind: Kind, change: impl FnOnce(&mut KindCounts)) {
        self.update(|counts| change(counts.kinds.entry(kind).or_default()));
    }

    pub(super) fn converged(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = CONVERGENCE_BOUNDS.partition_point(|bound| *bound < seconds);
        self.update(|counts| {
            counts.convergence[bucket] += 1;
            counts.convergence_sum += seconds;
        });
    }

    fn update(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
