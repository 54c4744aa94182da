//! What is said on the stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{FETCH_TIMEOUT, Kind, State};

/// A `DeltaDiscoveryRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::xds) struct Request {
    pub(in crate::xds) kind: Kind,
    pub(in crate::xds) subscribe: Vec<String>,
    pub(in crate::xds) unsubscribe: Vec<String>,
    /// Only on the first request of the kind: the versions that are here already.
    pub(in crate::xds) initial_versions: BTreeMap<String, String>,
    /// The response this answers; empty if none.
    pub(in crate::xds) nonce: String,
    /// Why that response is refused.
    pub(in crate::xds) error: Option<String>,
}

/// What the control plane was told on the present stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Names that are subscribed to.
    subscribed: [BTreeSet<String>; Kind::COUNT],
    /// When the first request of the kind was sent.
    begun: [Option<Instant>; Kind::COUNT],
    answers: Vec<(Kind, String, Option<String>)>,
}

// === impl Stream ===

impl Stream {
    /// Answers a response: an ACK, or with an error a NACK.
    pub(super) fn answer(&mut self, kind: Kind, nonce: String, error: Option<String>) {
        self.answers.push((kind, nonce, error));
    }

    /// When the first answer of the kind becomes overdue.
    pub(super) fn deadline(&self, kind: Kind) -> Option<Instant> {
        self.begun[kind as usize].map(|begun| begun + FETCH_TIMEOUT)
    }

    pub(super) fn is_overdue(&self, kind: Kind, now: Instant) -> bool {
        self.deadline(kind).is_some_and(|deadline| now >= deadline)
    }
}

impl State {
    /// What is to be said now. Empty without a stream.
    pub(in crate::xds) fn requests(&mut self, now: Instant) -> Vec<Request> {
        let Some(mut stream) = self.stream.take() else {
            return Vec::new();
        };
        let mut requests: Vec<Request> = Vec::new();
        for (kind, nonce, error) in stream.answers.drain(..) {
            let mut request = Request::new(kind);
            (request.nonce, request.error) = (nonce, error);
            requests.push(request);
        }
        for kind in Kind::ALL {
            requests.extend(self.subscription(&mut stream, kind, now));
        }
        self.stream = Some(stream);
        requests
    }

    fn subscription(&mut self, stream: &mut Stream, kind: Kind, now: Instant) -> Option<Request> {
        let (index, is_wildcard) = (kind as usize, self.is_wildcard(kind));
        let is_first = stream.begun[index].is_none();
        let mut request = Request::new(kind);
        if is_wildcard {
            // The empty first request is the wildcard in every server's understanding.
            if !is_first {
                return None;
            }
        } else {
            let subscribed = &mut stream.subscribed[index];
            for (name, entry) in &mut self.entries[index] {
                if subscribed.insert(name.clone()) {
                    entry.asked = Some(now);
                    request.subscribe.push(name.clone());
                }
            }
            let entries = &self.entries[index];
            subscribed.retain(|name| {
                let stays = entries.contains_key(name);
                if !stays {
                    request.unsubscribe.push(name.clone());
                }
                stays
            });
            // An empty first request would be a wildcard, which must not happen by accident.
            if request.subscribe.is_empty() && (is_first || request.unsubscribe.is_empty()) {
                return None;
            }
        }
        if is_first {
            stream.begun[index] = Some(now);
            let known = self.entries[index]
                .iter()
                .filter(|(_, entry)| entry.latest.is_some());
            let versions = known.map(|(name, entry)| (name.clone(), entry.version.clone()));
            request.initial_versions = versions.collect();
        }
        Some(request)
    }
}

// === impl Request ===

impl Request {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            initial_versions: BTreeMap::new(),
            nonce: String::new(),
            error: None,
        }
    }
}
