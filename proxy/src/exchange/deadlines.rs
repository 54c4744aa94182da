//! How long a request may take.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{ConnectionManager, plan::ForwardPlan};
use crate::http::timer::Timer;

/// When a request has taken too long. The timeouts of the route and of an attempt run from the
/// end of the request, as Envoy's do: a slow upload is no slow endpoint.
pub(super) struct Deadlines<'p> {
    plan: &'p ForwardPlan<'p>,
    idle_timeout: Option<Duration>,
    /// When the request has been read to its end.
    read_at: Option<Instant>,
    /// For the rest of the request.
    request: Option<Instant>,
    route: Option<Instant>,
    per_try: Option<Instant>,
    idle: Option<Instant>,
    /// Bytes that had moved when `idle` was set.
    moved: u64,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// The client, with its request.
    Request,
    /// The endpoint, by the route's timeout.
    Route,
    /// The endpoint, by the timeout of one attempt.
    PerTry,
    /// Nothing moved.
    Idle,
}

// === impl Deadlines ===

impl<'p> Deadlines<'p> {
    pub(super) fn new(
        manager: &ConnectionManager,
        plan: &'p ForwardPlan<'p>,
        began: Instant,
    ) -> Self {
        let idle_timeout = plan.idle_timeout(manager);
        let request = manager.config.request_timeout;
        Self {
            plan,
            idle_timeout,
            read_at: None,
            request: request.map(|timeout| began + timeout),
            route: None,
            per_try: None,
            idle: idle_timeout.map(|timeout| began + timeout),
            moved: 0,
        }
    }

    fn timeout(&self) -> Option<Duration> {
        self.plan.forward.timeout
    }

    fn per_try_timeout(&self) -> Option<Duration> {
        let per_try = self.plan.retry_policy()?.per_try_timeout;
        // As Envoy: one that the route's comes before anyway is none.
        per_try.filter(|limit| self.timeout().is_none_or(|whole| *limit < whole))
    }

    /// The request has been read to its end, at the latest `now`.
    pub(super) fn request_is_read(&mut self, now: Instant) {
        if self.read_at.is_none() {
            self.read_at = Some(now);
            self.request = None;
            self.route = self.timeout().map(|timeout| now + timeout);
            if self.per_try.is_some() {
                self.per_try = self.per_try_timeout().map(|timeout| now + timeout);
            }
        }
    }

    pub(super) fn knows_request_is_read(&self) -> bool {
        self.read_at.is_some()
    }

    /// The request waits for a place, and is not read meanwhile: the route's timeout, which waits
    /// for its end, must not wait as well.
    pub(super) fn begin_wait(&mut self, now: Instant) {
        if self.read_at.is_none() {
            self.route = self.timeout().map(|timeout| now + timeout);
        }
    }

    /// The request has its place.
    pub(super) fn end_wait(&mut self) {
        if self.read_at.is_none() {
            self.route = None;
        }
    }

    /// An attempt's request begins to leave.
    pub(super) fn begin_attempt(&mut self) {
        self.moved = 0;
        self.per_try = self
            .per_try_timeout()
            .map(|timeout| Instant::now() + timeout);
    }

    /// The attempt is over, or has been answered: from here on only the route's timeout counts.
    pub(super) fn end_attempt(&mut self) {
        self.per_try = None;
    }

    /// Ready when something has taken too long. `moved` counts what moves, in bytes.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        timer: &mut Timer,
        moved: u64,
    ) -> Poll<Late> {
        if self.moved != moved {
            self.moved = moved;
            self.idle = self.idle_timeout.map(|idle| Instant::now() + idle);
        }
        // Who runs from the end of the request waits for it.
        let per_try = self.per_try.filter(|_| self.read_at.is_some());
        let first = [
            (self.route, Late::Route),
            (per_try, Late::PerTry),
            (self.request, Late::Request),
            (self.idle, Late::Idle),
        ];
        let first = first
            .into_iter()
            .filter_map(|(at, late)| Some((at?, late)))
            .min_by_key(|(at, _)| *at);
        match first {
            Some((at, late)) => timer.poll(cx, Some(at)).map(|()| late),
            None => Poll::Pending,
        }
    }
}
