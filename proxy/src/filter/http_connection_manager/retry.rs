//! Whether a request is sent again: what its policy names, how often, and after which pause. The
//! same for every version of HTTP.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on>

use std::time::Duration;

use super::plan::ForwardPlan;
use crate::{
    cluster::ActiveRetry,
    config::route::{RetryOn, RetryPolicy},
    reason::Reason,
};

/// The retries of one request.
pub(super) struct Retries<'p> {
    plan: &'p ForwardPlan<'p>,
    policy: Option<&'p RetryPolicy>,
    /// Attempts the policy still allows.
    left: u32,
    /// Attempts it asked for.
    made: u32,
    /// Sent again without being asked, which happens once.
    resent: bool,
    /// The retry under way, as the circuit breaker counts it.
    active: Option<ActiveRetry>,
}

/// An attempt that got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) kind: FailureKind,
}

/// How far an attempt that failed can have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Nothing of the request has left.
    Unsent,
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

// === impl Retries ===

impl<'p> Retries<'p> {
    pub(super) fn new(plan: &'p ForwardPlan<'p>) -> Self {
        let policy = plan.retry_policy();
        Self {
            plan,
            policy,
            left: policy.map_or(0, |policy| policy.num_retries),
            made: 0,
            resent: false,
            active: None,
        }
    }

    /// Whether the policy names what can happen after the request's body has begun to leave.
    pub(super) fn may_need_body(&self) -> bool {
        let dial_only = |policy: &&RetryPolicy| {
            let on = RetryOn {
                connect_failure: false,
                refused_stream: false,
                reset_before_request: false,
                ..policy.on
            };
            on == RetryOn::default()
        };
        self.left > 0 && !self.policy.as_ref().is_none_or(dial_only)
    }

    /// Whether to send the request again after an attempt that failed. `can_rewind`: it is all
    /// there. `is_safe`: it changes nothing, so that the client need not know.
    pub(super) fn after_failure(
        &mut self,
        failure: Failure,
        can_rewind: bool,
        is_safe: bool,
    ) -> bool {
        let on = self
            .policy
            .map_or_else(RetryOn::default, |policy| policy.on);
        let any_reset = on.reset || on.server_error || on.gateway_error;
        let named = match failure.kind {
            FailureKind::Unsent => any_reset || on.connect_failure || on.reset_before_request,
            FailureKind::Stale | FailureKind::Lost => any_reset,
            FailureKind::Refused | FailureKind::GoneAway => any_reset || on.refused_stream,
            FailureKind::Final => false,
        };
        if self.again(named && can_rewind) {
            return true;
        }
        // RFC 9113 section 8.7: what was not processed may be sent again, whatever it is.
        let may_resend = match failure.kind {
            FailureKind::Stale => is_safe,
            FailureKind::GoneAway => true,
            _ => false,
        };
        let resend = may_resend && can_rewind && !self.resent;
        if resend {
            self.resent = true;
            self.plan.cluster.stats.upstream_rq_retry.inc();
        }
        resend
    }

    /// Whether to send the request again although it has been answered. `grpc_status` looks for
    /// the status in the response's head, where a response that has nothing else carries it.
    pub(super) fn after_response(
        &mut self,
        status: u16,
        grpc_status: impl FnOnce() -> Option<u8>,
        can_rewind: bool,
    ) -> bool {
        let Some(policy) = self.policy else {
            return false;
        };
        let named = names_status(policy, status)
            || (names_grpc(policy.on)
                && grpc_status().is_some_and(|s| names_grpc_status(policy.on, s)));
        self.again(named && can_rewind)
    }

    /// How long to wait before the next attempt: a random time below a bound that doubles.
    pub(super) fn back_off(&self, random: u64) -> Duration {
        let Some(policy) = self.policy.filter(|_| self.made > 0) else {
            return Duration::ZERO;
        };
        let doubled = policy
            .base_interval
            .saturating_mul(2_u32.saturating_pow(self.made - 1));
        let bound = doubled.min(policy.max_interval).as_millis().max(1);
        Duration::from_millis(random % u64::try_from(bound).unwrap_or(u64::MAX))
    }

    fn again(&mut self, wanted: bool) -> bool {
        let cluster = &self.plan.cluster;
        let stats = &cluster.stats;
        if self.active.take().is_some() && !wanted {
            stats.upstream_rq_retry_success.inc();
        }
        if !wanted {
            return false;
        }
        if self.left == 0 {
            stats.upstream_rq_retry_limit_exceeded.inc();
            return false;
        }
        self.left -= 1;
        self.active = cluster.begin_retry();
        if self.active.is_none() {
            stats.upstream_rq_retry_overflow.inc();
            return false;
        }
        self.made += 1;
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
