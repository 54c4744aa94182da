//! Counters of the xDS server.

mod histogram;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub use histogram::{Histogram, TIME_BOUNDS};

use super::Kind;

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
    /// What clients did that they should not.
    pub faults: BTreeMap<Fault, u64>,
    /// Connections that ended because of their age.
    pub connections_aged: u64,
    /// Snapshots that were published.
    pub publishes: u64,
    /// Time to make what changed of a snapshot and to put it into mailboxes.
    pub publish_time: Histogram,
    /// From when there is something to say to a client to its turn.
    pub queue_time: Histogram,
    /// From a client's turn to when its connection has taken the response.
    pub push_time: Histogram,
    /// From the first event of a change to the ACK of a client.
    pub convergence: Histogram,
    /// Clients that wait for their turn.
    pub waiting: u64,
    /// Clients whose turn it is.
    pub pushing: u64,
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

/// What a client did that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Asked for a type that is not served. The request is passed over.
    UnknownType,
    /// Answered to a response that was never sent. The answer is passed over.
    WrongNonce,
    /// Sent what cannot be read, or is too large. Its stream ends.
    Unreadable,
    /// Has no token, or none that is good. It gets no stream.
    Unauthenticated,
    /// Says to be a node that its token is not of, or says nothing. Its stream ends.
    ForeignNode,
    /// Subscribes to more names than a stream may. Its stream ends.
    TooManyNames,
    /// Does not read what it is told. Its connection is cut.
    TakesNothing,
}

// === impl Fault ===

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 7] = [
        Self::UnknownType,
        Self::WrongNonce,
        Self::Unreadable,
        Self::Unauthenticated,
        Self::ForeignNode,
        Self::TooManyNames,
        Self::TakesNothing,
    ];

    /// A word for logs, metrics and people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown_type",
            Self::WrongNonce => "wrong_nonce",
            Self::Unreadable => "unreadable",
            Self::Unauthenticated => "unauthenticated",
            Self::ForeignNode => "foreign_node",
            Self::TooManyNames => "too_many_names",
            Self::TakesNothing => "takes_nothing",
        }
    }
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

    pub(super) fn converged(&self, time: Duration) {
        self.update(|counts| counts.convergence.observe(time));
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.update(|counts| *counts.faults.entry(fault).or_default() += 1);
    }

    pub(super) fn kind(&self, kind: Kind, change: impl FnOnce(&mut KindCounts)) {
        self.update(|counts| change(counts.kinds.entry(kind).or_default()));
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
