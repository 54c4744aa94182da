//! What is made to go wrong.

use super::{destination::share, wire};
use crate::{
    model::{Abort, Fault},
    rules::{Findings, istio::refuse},
};

/// Names of gRPC's statuses, which are their numbers.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn read(at: &str, said: &wire::Fault, findings: &mut Findings) -> Option<Fault> {
    if said.delay.is_none() && said.abort.is_none() {
        findings.malformed(
            at,
            "has neither delay nor abort: write one, or leave it out",
        );
    }
    let delay = said.delay.as_ref().and_then(|it| {
        let at = format!("{at}.delay");
        let instead = "nothing waits";
        refuse(
            &at,
            &[("exponentialDelay", &it.exponential_delay)],
            instead,
            findings,
        );
        let percent = it.percent.map(|it| wire::Percent { value: it.into() });
        let share = share(
            &format!("{at}.percentage"),
            it.percentage.or(percent),
            findings,
        );
        let time = it.fixed_delay.map(|it| it.0).unwrap_or_default();
        if time.is_zero() && it.exponential_delay.is_none() {
            findings.malformed(format!("{at}.fixedDelay"), "is no time: write 1ms or more");
        }
        (!time.is_zero()).then_some((time, share))
    });
    let abort = said.abort.as_ref().and_then(|it| {
        let at = format!("{at}.abort");
        let instead = "nothing fails";
        refuse(&at, &[("http2Error", &it.http2_error)], instead, findings);
        let share = share(&format!("{at}.percentage"), it.percentage, findings);
        let abort = match (it.http_status, it.grpc_status.as_deref()) {
            (Some(status), None) => {
                if !(200..600).contains(&status) {
                    let reason = format!("{status} is no status of an answer (200 to 599)");
                    findings.malformed(format!("{at}.httpStatus"), reason);
                }
                Some(Abort::Http(status))
            }
            (None, Some(name)) => grpc(&at, name, findings),
            (None, None) if it.http2_error.is_some() => None,
            _ => {
                let reason = "says not one of httpStatus and grpcStatus: write one";
                findings.malformed(&at, reason);
                None
            }
        };
        Some((abort?, share))
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn grpc(at: &str, name: &str, findings: &mut Findings) -> Option<Abort> {
    let number = name.parse().ok().filter(|it| *it < GRPC.len());
    let found = number.or_else(|| GRPC.iter().position(|it| *it == name));
    if found.is_none() {
        let reason = format!("{name:?} is none of {}", GRPC.join(", "));
        findings.malformed(format!("{at}.grpcStatus"), reason);
    }
    let found = found.and_then(|it| u32::try_from(it).ok());
    found.map(Abort::Grpc)
}
