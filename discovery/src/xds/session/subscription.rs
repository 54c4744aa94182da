//! What a client subscribed to of one type, and what it knows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::xds::{
    Kind, Resource, Version,
    hub::Current,
    status::{ResourceState, TypeStatus},
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
    pub(in crate::xds) since: Option<Instant>,
}

/// What a client was told of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::xds) struct Told {
    pub(in crate::xds) what: What,
    /// The response that said so; 0 if the client brought it along.
    pub(in crate::xds) nonce: u64,
    pub(in crate::xds) answer: Answer,
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

    /// Notes what the client was told with a response. Who has everything is not kept on the books
    /// of what there is no more.
    pub(in crate::xds) fn tell(&mut self, name: &Arc<str>, what: What, nonce: u64) {
        if what == What::Absent && !self.subscribed.contains(name) {
            self.told.remove(name);
            return;
        }
        let told = Told {
            what,
            nonce,
            answer: Answer::Waiting,
        };
        self.told.insert(name.clone(), told);
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
                _ => Answer::Acked,
            };
        }
        Some((rejected, flight.since))
    }

    pub(super) fn report(&self, kind: Kind) -> TypeStatus {
        let mut resources: Vec<_> = self
            .told
            .iter()
            .map(|(name, told)| told.report(name))
            .collect();
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        TypeStatus {
            kind: kind.word(),
            wildcard: self.wildcard,
            subscribed: self.subscribed.len(),
            resources,
        }
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
            state,
            error,
        }
    }
}
