//! Response flags and statuses of gRPC in words.

use super::{Facts, print};
use crate::{
    config::format::GrpcStatusFormat,
    info::{GrpcStatus, Outcome},
};

/// Short and long names of response flags that we have.
/// <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#response-flags>
const FLAGS: [(&str, &str); 18] = [
    ("UH", "NoHealthyUpstream"),
    ("UF", "UpstreamConnectionFailure"),
    ("UO", "UpstreamOverflow"),
    ("NR", "NoRouteFound"),
    ("URX", "UpstreamRetryLimitExceeded"),
    ("NC", "NoClusterFound"),
    ("DC", "DownstreamConnectionTermination"),
    ("UT", "UpstreamRequestTimeout"),
    ("UR", "UpstreamRemoteReset"),
    ("UC", "UpstreamConnectionTermination"),
    ("DI", "DelayInjected"),
    ("FI", "FaultInjected"),
    ("SI", "StreamIdleTimeout"),
    ("DPE", "DownstreamProtocolError"),
    ("UPE", "UpstreamProtocolError"),
    ("DO", "DropOverload"),
    ("UDO", "UnconditionalDropOverload"),
    ("RL", "RateLimited"),
];

/// Statuses of gRPC by their numbers.
/// <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
const STATUSES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

impl Facts<'_> {
    /// Of a call of gRPC.
    pub(crate) fn grpc_status(&self) -> Option<u8> {
        self.outcome.grpc_status.map(GrpcStatus::code)
    }
}

/// Response flags, `-` without any, also where that stands in a header.
pub(super) fn flags(outcome: &Outcome, out: &mut String) {
    let flags = outcome.response_flags();
    let mut said = flags.into_iter().filter(|flag| !flag.is_empty());
    out.push_str(said.next().unwrap_or("-"));
    said.for_each(|flag| out.extend([",", flag]));
}

/// The same by their long names.
pub(super) fn long_flags(outcome: &Outcome, out: &mut String) {
    let flags = outcome.response_flags();
    let long = |flag: &str| {
        let known = FLAGS.iter().find(|(short, _)| *short == flag);
        known.map(|(_, long)| *long)
    };
    let mut said = flags.into_iter().filter_map(long);
    out.push_str(said.next().unwrap_or("-"));
    said.for_each(|flag| out.extend([",", flag]));
}

/// A status of gRPC; one that has no name is shown as its number.
pub(super) fn grpc(status: u8, format: GrpcStatusFormat, out: &mut String) {
    let names = STATUSES.get(usize::from(status));
    match (format, names) {
        (GrpcStatusFormat::CamelString, Some((camel, _))) => out.push_str(camel),
        (GrpcStatusFormat::SnakeString, Some((_, snake))) => out.push_str(snake),
        _ => print(out, status),
    }
}
