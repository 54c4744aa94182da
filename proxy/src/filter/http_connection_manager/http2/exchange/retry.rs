//! Whether an attempt is repeated.

use http::HeaderMap;

use super::{Exchange, attempt::Answered};
use crate::{config::route::RetryOn, reason::Reason};

/// An attempt that got no response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) kind: FailureKind,
}

/// How far an attempt that failed can have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// There was no connection.
    Unsent,
    /// The endpoint reset the stream with REFUSED_STREAM: it has not processed it.
    Refused,
    /// The endpoint was going away and said that it has not processed this.
    GoneAway,
    /// The endpoint closed a connection that had carried requests before it answered this one.
    Stale,
    /// It may have been processed.
    Lost,
}

impl Exchange<'_, '_> {
    /// Whether to repeat an attempt that failed.
    pub(super) fn again(&mut self, failure: &Failure, attempt: u32) -> bool {
        let on = self.policy(attempt);
        let hopeless = matches!(
            failure.reason,
            Reason::ClientClosed | Reason::Overflow | Reason::BadRequest
        );
        if hopeless || !self.can_repeat() {
            return false;
        }
        let any_reset = on.reset || on.server_error || on.gateway_error;
        match failure.kind {
            FailureKind::Unsent => any_reset || on.connect_failure || on.reset_before_request,
            FailureKind::Refused => any_reset || on.refused_stream,
            // RFC 9113 section 6.8: what was not processed may be sent again, whoever asks.
            FailureKind::GoneAway => any_reset || on.refused_stream || attempt == 1,
            FailureKind::Stale => any_reset || (attempt == 1 && self.is_safe()),
            FailureKind::Lost => any_reset,
        }
    }

    /// Whether to repeat an attempt that was answered like this.
    pub(super) fn again_after(&mut self, answered: &Answered, attempt: u32) -> bool {
        let on = self.policy(attempt);
        if on == RetryOn::default() || !self.can_repeat() {
            return false;
        }
        let status = answered.head.status.as_u16();
        let listed = || {
            let policy = self.plan.retry_policy();
            policy.is_some_and(|policy| policy.retriable_status_codes.contains(&status))
        };
        (on.server_error && (500..600).contains(&status))
            || (on.gateway_error && matches!(status, 502..=504))
            || (on.retriable_4xx && status == 409)
            || (on.retriable_status_codes && listed())
            || grpc_status(&answered.head.headers).is_some_and(|status| on_grpc(on, status))
    }

    /// What the policy names, if it allows another attempt.
    fn policy(&self, attempt: u32) -> RetryOn {
        let policy = self.plan.retry_policy();
        let left = policy.filter(|policy| attempt <= policy.num_retries);
        left.map_or_else(RetryOn::default, |policy| policy.on)
    }

    /// Whether the request is still there to be sent.
    fn can_repeat(&self) -> bool {
        self.head.is_some() && self.sending.as_ref().is_none_or(|body| body.can_rewind())
    }

    /// RFC 9110 section 9.2.1
    fn is_safe(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.method.is_safe())
    }
}

/// Of a response that is nothing but trailers.
fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn on_grpc(on: RetryOn, status: u8) -> bool {
    match status {
        1 => on.grpc_cancelled,
        4 => on.grpc_deadline_exceeded,
        8 => on.grpc_resource_exhausted,
        13 => on.grpc_internal,
        14 => on.grpc_unavailable,
        _ => false,
    }
}
