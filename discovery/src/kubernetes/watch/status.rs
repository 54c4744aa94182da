//! How the watches are doing, for people and metrics.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::kind::KINDS;
use crate::kubernetes::Problem;

/// How the watches of all kinds are doing. A clone looks at the same watches.
#[derive(Debug, Clone)]
pub struct Watches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kinds: [Mutex<State>; KINDS.len()],
    /// Kinds that were not listed yet.
    missing: watch::Sender<usize>,
}

/// How the watch of one kind is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchStatus {
    /// The kind.
    pub kind: &'static str,
    /// Whether it was listed once.
    pub synced: bool,
    /// Whether a watch is open right now.
    pub connected: bool,
    /// Whether lists come as a stream; in pages otherwise.
    pub streaming: bool,
    /// Objects that the model was told of.
    pub objects: usize,
    /// Objects that were added, changed or deleted so far.
    pub events: u64,
    /// Time since the API server said anything at all, bookmarks included. `None` before that.
    pub last_event: Option<Duration>,
    /// Lists that were finished.
    pub lists: u64,
    /// Watches that ended and were opened anew.
    pub restarts: u64,
    /// Failures, such as broken connections, refusals and lines that make no sense.
    pub errors: u64,
    /// The latest of them.
    pub last_error: Option<String>,
    /// Things that are wrong with objects right now: see [`Watches::problems`].
    pub problems: usize,
}

#[derive(Debug, Default)]
struct State {
    synced: bool,
    connected: bool,
    paged: bool,
    objects: usize,
    events: u64,
    last_event: Option<Instant>,
    lists: u64,
    restarts: u64,
    errors: u64,
    last_error: Option<String>,
    /// Whether nothing went well since.
    failing: bool,
    problems: Vec<Problem>,
}

/// What the watch of one kind reports to.
#[derive(Debug)]
pub(super) struct Reporter {
    watches: Watches,
    at: usize,
}

// === impl Watches ===

impl Default for Watches {
    fn default() -> Self {
        Self(Arc::new(Shared {
            kinds: Default::default(),
            missing: watch::channel(KINDS.len()).0,
        }))
    }
}

impl Watches {
    /// Whether every kind was listed once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.0.missing.borrow() == 0
    }

    /// Waits until every kind was listed once. All that the lists said is in the channel by then.
    pub async fn synced(self) {
        let mut missing = self.0.missing.subscribe();
        // The sender is in `self`, so it is there.
        let _ = missing.wait_for(|missing| *missing == 0).await;
    }

    /// Each kind.
    #[must_use]
    pub fn kinds(&self) -> Vec<WatchStatus> {
        (0..KINDS.len()).map(|at| self.status(at)).collect()
    }

    /// What is wrong with objects right now.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problems = (0..KINDS.len()).flat_map(|at| self.lock(at).problems.clone());
        problems.collect()
    }

    pub(super) fn of(&self, kind: &'static str) -> Reporter {
        let at = KINDS.iter().position(|it| *it == kind);
        Reporter {
            watches: self.clone(),
            at: at.expect("every kind is in the list"),
        }
    }

    fn status(&self, at: usize) -> WatchStatus {
        let state = self.lock(at);
        WatchStatus {
            kind: KINDS[at],
            synced: state.synced,
            connected: state.connected,
            streaming: !state.paged,
            objects: state.objects,
            events: state.events,
            last_event: state.last_event.map(|it| it.elapsed()),
            lists: state.lists,
            restarts: state.restarts,
            errors: state.errors,
            last_error: state.last_error.clone(),
            problems: state.problems.len(),
        }
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, State> {
        // Counters: none depends on another.
        let state = &self.0.kinds[at];
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reporter ===

impl Reporter {
    /// The server answered.
    pub(super) fn connected(&self) {
        let mut state = self.lock();
        state.connected = true;
        state.last_event = Some(Instant::now());
    }

    /// The server said something: events, and how many objects there are now.
    pub(super) fn heard(&self, events: usize, objects: usize) {
        let mut state = self.lock();
        state.failing = false;
        state.last_event = Some(Instant::now());
        state.events += events as u64;
        state.objects = objects;
    }

    pub(super) fn problems(&self, problems: Vec<Problem>) {
        self.lock().problems = problems;
    }

    /// A list is finished, and all of it was sent.
    pub(super) fn listed(&self) {
        self.lock().lists += 1;
        self.synced();
    }

    /// The server does not serve the kind, so there is nothing to list.
    pub(super) fn absent(&self) {
        self.lock().connected = false;
        self.synced();
    }

    fn synced(&self) {
        let first = !std::mem::replace(&mut self.lock().synced, true);
        if first {
            self.watches.0.missing.send_modify(|missing| *missing -= 1);
        }
    }

    /// Lists come in pages from now on.
    pub(super) fn paged(&self) {
        self.lock().paged = true;
    }

    /// The watch ended as watches do.
    pub(super) fn ended(&self) {
        let mut state = self.lock();
        state.connected = false;
        state.restarts += 1;
    }

    /// Something failed. It is logged once for as long as it is the same.
    pub(super) fn failed(&self, kind: &str, reason: &str, wait: Duration) {
        let mut state = self.lock();
        let again = state.failing && state.last_error.as_deref() == Some(reason);
        state.connected = false;
        state.failing = true;
        state.errors += 1;
        state.last_error = Some(reason.to_owned());
        drop(state);
        if again {
            tracing::debug!(kind, reason, ?wait, "a watch failed again");
        } else {
            tracing::warn!(kind, reason, ?wait, "a watch failed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.watches.lock(self.at)
    }
}
