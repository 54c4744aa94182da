//! When a request is sent again.

use super::wire::Retries;
use crate::{
    model::Retry,
    rules::{Findings, Place},
};

/// What is tried again where nothing is said, as Istio has it.
const USUAL: &str = "connect-failure,refused-stream,unavailable,cancelled";
/// What sidecars know.
const CONDITIONS: [&str; 13] = [
    "5xx",
    "gateway-error",
    "retriable-4xx",
    "retriable-status-codes",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
];
/// By statuses.
const BY_STATUS: &str = "retriable-status-codes";

pub(super) fn read(at: &str, said: &Retries, place: &Place<'_>, findings: &mut Findings) -> Retry {
    for (field, value) in [
        ("retryRemoteLocalities", said.retry_remote_localities),
        ("retryIgnorePreviousHosts", said.retry_ignore_previous_hosts),
    ] {
        if value == Some(true) {
            let reason = "true is not honoured here: endpoints are chosen as for the first attempt";
            findings.warned(format!("{at}.{field}"), reason);
        }
    }
    if said.attempts == 0 && (said.per_try_timeout.is_some() || said.retry_on.is_some()) {
        let reason = "0 tries nothing again, and the other fields mean nothing: leave them out";
        findings.warned(format!("{at}.attempts"), reason);
    }
    let backoff = said.backoff.map(|it| it.0);
    if backoff.is_some_and(|it| it.is_zero()) {
        findings.malformed(format!("{at}.backoff"), "0 is no time: write 1ms or more");
    }
    let (mut conditions, mut statuses) = (Vec::new(), Vec::new());
    let on = said
        .retry_on
        .as_deref()
        .filter(|it| !it.is_empty())
        .unwrap_or(USUAL);
    for condition in on.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match condition.parse::<u16>() {
            Ok(status) if (100..600).contains(&status) => statuses.push(status),
            _ if CONDITIONS.contains(&condition) => conditions.push(condition),
            _ => findings.malformed(
                format!("{at}.retryOn"),
                format!(
                    "{condition:?} is no status and none of {}",
                    CONDITIONS.join(", ")
                ),
            ),
        }
    }
    if !statuses.is_empty() && !conditions.contains(&BY_STATUS) {
        conditions.push(BY_STATUS);
    }
    Retry {
        statuses,
        conditions: Some(place.names.text(&conditions.join(","))),
        attempts: Some(said.attempts),
        backoff: backoff.filter(|it| !it.is_zero()),
    }
}
