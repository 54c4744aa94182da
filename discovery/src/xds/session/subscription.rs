//! What a client subscribed to of one type, and what it knows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::xds::{
    Kind, Resource, Version,
    hub::Current,
    status::{Detail, ResourceState, SyncState, TypeStatus},
};

/// The subscription of one client to one type.
#[derive(Debug, Default)]
pub(in crate::xds) struct TypeState {
    pub(in crate::xds) wildcard: bool,
    /// Names it asked for.
    pub(in crate::xds) subscribed: BTreeSet<Arc<str>>,
    /// What it was told.
    pub(in crate::xds) told: HashMap<Arc<str>, Told>,
    /// Names to look at before the client is up to date.
    pub(in crate::xds) due: BTreeSet<Arc<str>>,
    /// Those of `due` that come first.
    pub(in crate::xds) urgent: BTreeSet<Arc<str>>,
    /// When the first event behind `due` was seen, if it came from the registry.
    pub(in crate::xds) since: Option<Instant>,
    /// Where a type is told as a whole: the digest of what was told last.
    pub(in crate::xds) whole: Option<Version>,
    /// Responses without an answer, by nonce.
    pub(in crate::xds) in_flight: BTreeMap<u64, Flight>,
}

/// A response without an answer.
#[derive(Debug)]
pub(in crate::xds) struct Flight {
    pub(in crate::xds) names: Vec<Arc<str>>,
    /// When the first event behind it was seen, if it came from the registry.
    pub(in crate::xds) since: Option<Instant>,
    pub(in crate::xds) sent: Instant,
}

/// What a client was told of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::xds) struct Told {
    pub(in crate::xds) what: What,
    /// The response that said so; 0 if the client brought it along.
    pub(in crate::xds) nonce: u64,
    pub(in crate::xds) answer: Answer,
    /// What the client accepted last.
    pub(in crate::xds) accepted: Option<Version>,
}

/// What it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::xds) enum What {
    /// That there is none.
    Absent,
    /// This version.
    Version(Version),
    /// A version that is none of ours.
    Foreign,
}

/// What a client said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::xds) enum Answer {
    Waiting,
    Acked,
    Nacked(Arc<str>),
}

/// What has to be said about a name.
#[derive(Debug, Clone)]
pub(in crate::xds) enum News {
    /// Nothing.
    Nothing,
    /// Nothing yet.
    Later,
    /// That it is gone, or never was.
    Removed,
    /// This.
    Changed(Arc<Resource>),
}

// === impl TypeState ===

impl TypeState {
    /// What has to be said about a name, given what there is.
    pub(in crate::xds) fn news(&self, name: &str, current: Current) -> News {
        let told = self.told.get(name).map(|told| told.what);
        match current {
            Current::Unknown => News::Later,
            Current::Present(resource) if told == Some(What::Version(resource.version)) => {
                News::Nothing
            }
            Current::Present(resource) => News::Changed(resource),
            Current::Absent => match told {
                Some(What::Absent) => News::Nothing,
                Some(_) => News::Removed,
                // Only who asked by name is told that there is nothing.
                None if self.subscribed.contains(name) => News::Removed,
                None => News::Nothing,
            },
        }
    }

    /// Notes what the client was told with a response; 0 if it can be told by saying nothing. Who has everything is not kept on the books
    /// of what there is no more.
    pub(in crate::xds) fn tell(&mut self, name: &Arc<str>, what: What, nonce: u64) {
        if what == What::Absent && !self.subscribed.contains(name) {
            self.told.remove(name);
            return;
        }
        let accepted = self.told.get(name).and_then(|told| told.accepted);
        let told = Told {
            what,
            nonce,
            // What was told between the lines has no answer.
            answer: if nonce == 0 {
                Answer::Acked
            } else {
                Answer::Waiting
            },
            accepted,
        };
        self.told.insert(name.clone(), told);
    }

    /// Notes a response that waits for an answer.
    pub(in crate::xds) fn sent(
        &mut self,
        nonce: u64,
        names: Vec<Arc<str>>,
        since: Option<Instant>,
    ) {
        let flight = Flight {
            names,
            since,
            sent: Instant::now(),
        };
        self.in_flight.insert(nonce, flight);
    }

    /// Notes an ACK, or a NACK with its reason. A NACK counts for the resources whose names are in
    /// the reason, as clients put them there; for all of the response if none is. Gives back the
    /// names it counts for, and when the first event behind the response was seen.
    pub(in crate::xds) fn answer(
        &mut self,
        nonce: u64,
        error: Option<&str>,
    ) -> Option<(Vec<Arc<str>>, Option<Instant>)> {
        let flight = self.in_flight.remove(&nonce)?;
        let named = |name: &Arc<str>| error.is_some_and(|error| error.contains(&**name));
        let any_named = flight.names.iter().any(named);
        let error: Option<Arc<str>> = error.map(Arc::from);
        let mut rejected = Vec::new();
        for name in &flight.names {
            // A later response may have told the client something newer already.
            let Some(told) = self.told.get_mut(name).filter(|told| told.nonce == nonce) else {
                continue;
            };
            told.answer = match &error {
                Some(error) if !any_named || error.contains(&**name) => {
                    rejected.push(name.clone());
                    Answer::Nacked(error.clone())
                }
                _ => {
                    told.accepted = match told.what {
                        What::Version(version) => Some(version),
                        What::Absent | What::Foreign => None,
                    };
                    Answer::Acked
                }
            };
        }
        Some((rejected, flight.since))
    }

    pub(super) fn report(&self, kind: Kind, detail: Detail) -> TypeStatus {
        let count = |wanted: fn(&Answer) -> bool| {
            let told = self.told.values();
            told.filter(|told| wanted(&told.answer)).count()
        };
        let nacked = count(|answer| matches!(answer, Answer::Nacked(_)));
        let sent = count(|answer| *answer == Answer::Waiting);
        let latest = self.told.values().filter_map(|told| match &told.answer {
            Answer::Nacked(error) => Some((told.nonce, error)),
            Answer::Waiting | Answer::Acked => None,
        });
        let oldest = self.in_flight.values().map(|flight| flight.sent).min();
        TypeStatus {
            kind: kind.word(),
            wildcard: self.wildcard,
            subscribed: self.subscribed.len(),
            state: match (nacked, sent) {
                (1.., _) => SyncState::Rejected,
                (0, 1..) => SyncState::Stale,
                (0, 0) if self.told.is_empty() => SyncState::NotSent,
                (0, 0) => SyncState::Synced,
            },
            acked: self.told.len() - nacked - sent,
            nacked,
            sent,
            unanswered_ms: oldest.map(|sent| {
                let elapsed = sent.elapsed().as_millis();
                u64::try_from(elapsed).unwrap_or(u64::MAX)
            }),
            error: latest.max().map(|(_, error)| error.to_string()),
            resources: match detail {
                Detail::Types => Vec::new(),
                Detail::Resources => self.resources(),
            },
        }
    }

    fn resources(&self) -> Vec<ResourceState> {
        let told = self.told.iter();
        let mut resources: Vec<_> = told.map(|(name, told)| told.report(name)).collect();
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        resources
    }
}

// === impl Told ===

impl Told {
    fn report(&self, name: &str) -> ResourceState {
        let (state, error) = match &self.answer {
            Answer::Waiting => ("sent", None),
            Answer::Acked => ("acked", None),
            Answer::Nacked(error) => ("nacked", Some(error.to_string())),
        };
        ResourceState {
            name: name.to_owned(),
            version: match self.what {
                What::Absent => None,
                What::Version(version) => Some(version.to_string()),
                What::Foreign => Some("unknown".to_owned()),
            },
            accepted: match (self.what, self.accepted) {
                (What::Version(told), Some(accepted)) if told == accepted => None,
                (_, accepted) => accepted.map(|version| version.to_string()),
            },
            state,
            error,
        }
    }
}
