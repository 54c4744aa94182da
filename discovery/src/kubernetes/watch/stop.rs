//! Why a watch does not go on by itself, and where the next attempt begins.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

/// Refusals of a list as a stream that say nothing about lists as streams. Any other may: a server
/// whose storage cannot do it begins to answer, and then says 500.
const RETRIED: [i32; 6] = [401, 403, NOT_SERVED, 410, 429, 503];
/// What a server says of a kind that it does not know.
pub(super) const NOT_SERVED: i32 = 404;

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// With a list.
    Nowhere,
    /// With a watch of what is newer than this version.
    At(String),
}

/// Why it does not go on by itself.
pub(super) enum Stop {
    /// Nobody receives any more.
    Unwanted,
    /// The server does not list as a stream.
    NoStreams(String),
    /// Something failed. Another attempt begins there.
    Failed {
        position: Position,
        /// HTTP status, where the server answered.
        code: Option<i32>,
        reason: String,
        /// How long the server wants us to wait.
        wait: Option<Duration>,
    },
}

pub(super) fn failed(position: Position, reason: impl std::fmt::Display) -> Stop {
    Stop::Failed {
        position,
        code: None,
        reason: reason.to_string(),
        wait: None,
    }
}

/// What the server said instead. A version that it has forgotten is no place to go on.
pub(super) fn refused(status: &Status, position: Position) -> Stop {
    let code = status.code.unwrap_or_default();
    let reason = status.reason.as_deref().unwrap_or_default();
    let message = status.message.as_deref().unwrap_or_default();
    let wait = status.details.as_ref();
    let wait = wait.and_then(|details| u64::try_from(details.retry_after_seconds?).ok());
    Stop::Failed {
        position: if code == 410 {
            Position::Nowhere
        } else {
            position
        },
        code: Some(code),
        reason: format!("{code} {reason}: {message}"),
        wait: wait.map(Duration::from_secs),
    }
}

/// What to make of a refused list as a stream.
pub(super) fn without_streams(stop: Stop) -> Stop {
    match stop {
        Stop::Failed {
            code: Some(code),
            reason,
            ..
        } if !RETRIED.contains(&code) => Stop::NoStreams(reason),
        stop => stop,
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
