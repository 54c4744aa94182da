//! Whether a request is sent again: what its policy names, how often, and after which pause. The
//! same for every version of HTTP.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on>

use std::time::Duration;

use weir_api::xds::peer::Mark;

use super::plan::ForwardPlan;
use crate::{
    cluster::{Host, RetryLeave},
    config::route::{RetryOn, RetryPolicy},
    reason::Reason,
};

/// The retries of one request.
pub(super) struct Retries<'p> {
    plan: &'p ForwardPlan<'p>,
    /// Attempts the policy still allows.
    left: u32,
    /// Attempts it asked for.
    made: u8,
    /// Sent again without being asked, which happens once.
    resent: bool,
    /// Attempts of which another sidecar's application saw nothing.
    undelivered: u8,
    /// What is known of all attempts together.
    reached: Reached,
    /// It would be sent again, but not so often.
    pub(super) is_exhausted: bool,
    /// The retry under way, as the circuit breaker counts it.
    active: Option<RetryLeave>,
}

/// An attempt that got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) kind: FailureKind,
}

/// Whether an application can have seen anything of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// There was no attempt yet.
    Untried,
    /// No attempt sent anything.
    No,
    /// One may have, of which no answer came; the request changes nothing.
    Unanswered,
    /// One may have.
    Perhaps,
}

/// Attempts beyond the policy's, whatever the method, for requests that reached no application.
const MAX_UNDELIVERED: u8 = 6;
/// Those of them that wait for nothing: there may be other endpoints. Further ones give the control
/// plane the time to say where the application is now.
const UNDELIVERED_AT_ONCE: u8 = 3;
/// The first pause; each further one is twice as long. All together are below 0.2 s.
const UNDELIVERED_PAUSE: Duration = Duration::from_millis(25);

/// How far an attempt that failed can have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Nothing of the request has left.
    Unsent,
    /// The endpoint's sidecar says that nothing of the request has reached the application.
    Undelivered,
    /// The endpoint's sidecar says that the application's connection ended without an answer.
    Unanswered,
    /// The endpoint closed a connection that had carried requests before it answered this one.
    Stale,
    /// The endpoint reset the HTTP/2 stream with REFUSED_STREAM: it has not processed it.
    Refused,
    /// The endpoint was going away, and said that it has not processed this.
    GoneAway,
    /// It may have been processed.
    Lost,
    /// Whatever became of it, sending it again is of no use.
    Final,
}

// === impl Failure ===

impl Failure {
    /// The endpoint's sidecar has marked its reply.
    pub(super) const UNDELIVERED: Self = Self {
        reason: Reason::ConnectFailed,
        kind: FailureKind::Undelivered,
    };
    /// Whether the endpoint ended the connection or the stream.
    fn is_of_connection(self) -> bool {
        matches!(self.reason, Reason::UpstreamClosed | Reason::UpstreamReset)
    }

    /// See [`FailureKind::Unanswered`].
    pub(super) const UNANSWERED: Self = Self {
        reason: Reason::UpstreamClosed,
        kind: FailureKind::Unanswered,
    };
}

// === impl Retries ===

impl<'p> Retries<'p> {
    pub(super) fn new(plan: &'p ForwardPlan<'p>) -> Self {
        Self {
            plan,
            left: plan.retry_policy().map_or(0, |policy| policy.num_retries),
            made: 0,
            resent: false,
            undelivered: 0,
            reached: Reached::Untried,
            is_exhausted: false,
            active: None,
        }
    }

    /// Asked for anew each time: it costs less than room for it in each connection's future.
    fn policy(&self) -> Option<&'p RetryPolicy> {
        self.plan.retry_policy()
    }

    /// Whether the policy names what can happen after the request's body has begun to leave.
    pub(super) fn may_need_body(&self) -> bool {
        let dial_only = |policy: &RetryPolicy| {
            let on = RetryOn {
                connect_failure: false,
                reset_before_request: false,
                ..policy.on
            };
            on == RetryOn::default()
        };
        self.left > 0 && !self.policy().is_none_or(dial_only)
    }

    /// Whether to send the request again after an attempt at `host` that failed. `can_rewind`: it is
    /// all there. `is_safe`: it changes nothing, so that the client need not know.
    pub(super) fn after_failure(
        &mut self,
        failure: Failure,
        host: &Host,
        can_rewind: bool,
        is_safe: bool,
    ) -> bool {
        self.reached = match (failure.kind, self.reached) {
            (_, Reached::Perhaps) => Reached::Perhaps,
            (FailureKind::Unsent, Reached::Unanswered) => Reached::Unanswered,
            (FailureKind::Unsent, _) => Reached::No,
            // Seen or not, one more that sees it does no harm.
            (FailureKind::Stale, _) if is_safe => Reached::No,
            // One more, and not all: it may be what ended the application.
            (FailureKind::Lost, _) if is_safe && failure.is_of_connection() => Reached::Unanswered,
            _ => Reached::Perhaps,
        };
        if can_rewind && self.elsewhere(failure.kind, host) {
            return true;
        }
        let on = self
            .policy()
            .map_or_else(RetryOn::default, |policy| policy.on);
        let any_reset = on.reset || on.server_error || on.gateway_error;
        let named = match failure.kind {
            FailureKind::Unsent | FailureKind::Undelivered => {
                any_reset || on.connect_failure || on.reset_before_request
            }
            FailureKind::Stale | FailureKind::Lost | FailureKind::Unanswered => any_reset,
            FailureKind::Refused | FailureKind::GoneAway => any_reset || on.refused_stream,
            FailureKind::Final => false,
        };
        if self.again(named && can_rewind) {
            return true;
        }
        // RFC 9113 section 8.7: what was not processed may be sent again, whatever it is.
        let may_resend = match failure.kind {
            FailureKind::Stale | FailureKind::Unanswered => is_safe,
            FailureKind::GoneAway => true,
            _ => false,
        };
        let resend = may_resend && can_rewind && !self.resent;
        if resend {
            self.resent = true;
            self.plan.named_cluster.stats.upstream_rq_retry.inc();
        }
        resend
    }

    /// Whether a request that no application saw is to go to another: what a sidecar says of its own
    /// is so, and where the sidecar itself cannot be reached, neither can the application.
    fn elsewhere(&mut self, kind: FailureKind, host: &Host) -> bool {
        let unseen = match kind {
            FailureKind::Undelivered => true,
            FailureKind::Unsent => host.sidecar,
            _ => false,
        };
        let again = unseen && self.undelivered < MAX_UNDELIVERED;
        if again {
            self.undelivered += 1;
            self.plan.named_cluster.stats.upstream_rq_retry.inc();
        }
        again
    }

    /// What another sidecar may know of how far all attempts came.
    pub(super) fn mark(&self) -> Option<Mark> {
        match self.reached {
            Reached::No => Some(Mark::Undelivered),
            Reached::Unanswered => Some(Mark::Unanswered),
            Reached::Untried | Reached::Perhaps => None,
        }
    }

    /// Whether to send the request again although it has been answered. `grpc_status` looks for
    /// the status in the response's head, where a response that has nothing else carries it.
    pub(super) fn after_response(
        &mut self,
        status: u16,
        grpc_status: impl FnOnce() -> Option<u8>,
        can_rewind: bool,
    ) -> bool {
        self.reached = Reached::Perhaps;
        let Some(policy) = self.policy() else {
            return false;
        };
        let named = names_status(policy, status)
            || (names_grpc(policy.on)
                && grpc_status().is_some_and(|s| names_grpc_status(policy.on, s)));
        self.again(named && can_rewind)
    }

    /// How long to wait before the next attempt: a random time below a bound that doubles.
    pub(super) fn back_off(&self, random: u64) -> Duration {
        if let Some(further) = self.undelivered.checked_sub(UNDELIVERED_AT_ONCE + 1) {
            return UNDELIVERED_PAUSE * 2_u32.saturating_pow(further.into());
        }
        let Some(policy) = self.policy().filter(|_| self.made > 0) else {
            return Duration::ZERO;
        };
        let doubled = policy
            .base_interval
            .saturating_mul(2_u32.saturating_pow(u32::from(self.made) - 1));
        let bound = doubled.min(policy.max_interval).as_millis().max(1);
        Duration::from_millis(random % u64::try_from(bound).unwrap_or(u64::MAX))
    }

    fn again(&mut self, wanted: bool) -> bool {
        let cluster = &self.plan.named_cluster;
        let stats = &cluster.stats;
        if self.active.take().is_some() && !wanted {
            stats.upstream_rq_retry_success.inc();
        }
        if !wanted {
            return false;
        }
        if self.left == 0 {
            stats.upstream_rq_retry_limit_exceeded.inc();
            self.is_exhausted = true;
            return false;
        }
        self.left -= 1;
        self.active = cluster.begin_retry(self.plan.forward.priority);
        if self.active.is_none() {
            stats.upstream_rq_retry_overflow.inc();
            return false;
        }
        self.made = self.made.saturating_add(1);
        stats.upstream_rq_retry.inc();
        true
    }
}

fn names_status(policy: &RetryPolicy, status: u16) -> bool {
    let on = policy.on;
    (on.server_error && (500..600).contains(&status))
        || (on.gateway_error && matches!(status, 502..=504))
        || (on.retriable_4xx && status == 409)
        || (on.retriable_status_codes && policy.retriable_status_codes.contains(&status))
}

fn names_grpc(on: RetryOn) -> bool {
    [1, 4, 8, 13, 14]
        .into_iter()
        .any(|status| names_grpc_status(on, status))
}

fn names_grpc_status(on: RetryOn, status: u8) -> bool {
    match status {
        1 => on.grpc_cancelled,
        4 => on.grpc_deadline_exceeded,
        8 => on.grpc_resource_exhausted,
        13 => on.grpc_internal,
        14 => on.grpc_unavailable,
        _ => false,
    }
}
