//! What came of an attempt, said to outlier detection.

use super::{
    Exchange,
    retry::{Failure, FailureKind},
    send::Sending,
};
use crate::{
    cluster::{Host, Outcome},
    info::GrpcStatus,
    reason::Reason,
};

impl Exchange<'_> {
    /// Notes what outlier detection asks of a request before it is sent to `host`.
    pub(super) fn prepare_report(&self, sending: &mut Sending<'_>, host: &Host) {
        if host.is_watched() && sending.attempt == 1 {
            sending.is_grpc = self.is_grpc();
        }
    }

    /// Says what came of an attempt at `host`.
    pub(super) fn report(
        &self,
        sending: &Sending<'_>,
        host: &Host,
        attempted: &Result<(), Failure>,
    ) {
        if !host.is_watched() {
            return;
        }
        let cluster = &sending.plan.cluster;
        if sending.upstream.is_some() {
            cluster.report(host, Outcome::Connected);
        }
        let outcome = match attempted {
            // What its sidecar says of an application is an answer, too.
            Ok(()) => Some(Outcome::Answered(self.status_by_grpc(sending))),
            Err(failure) if failure.kind == FailureKind::Undelivered => {
                Some(Outcome::Answered(self.status(sending)))
            }
            // While it waits for a connection nobody knows whose time it is that passes.
            Err(failure) if sending.upstream.is_none() => match failure.reason {
                Reason::UpstreamTimeout => None,
                reason => Outcome::of(reason),
            },
            Err(failure) => Outcome::of(failure.reason),
        };
        if let Some(outcome) = outcome {
            cluster.report(host, outcome);
        }
    }

    /// The status of the response, or of HTTP what a gRPC status in its head says.
    fn status_by_grpc(&self, sending: &Sending<'_>) -> u16 {
        let grpc_status = match sending.is_grpc {
            true => self.grpc_status(sending),
            false => None,
        };
        grpc_status.map_or_else(|| self.status(sending), GrpcStatus::http_status)
    }

    /// Whether the request is one of gRPC. Asked before it is sent, while its head is there.
    fn is_grpc(&self) -> bool {
        let head = self.request.head();
        let content_type = head.and_then(|head| head.first("content-type"));
        content_type.is_some_and(|value| {
            let rest = value.strip_prefix("application/grpc");
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
        })
    }
}
