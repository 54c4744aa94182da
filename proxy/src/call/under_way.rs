//! What is counted of a call, from its beginning to its end, however it ends.

use std::{rc::Rc, time::Instant};

use super::{Answer, CallError, PRIORITY};
use crate::{
    cluster::{ActiveRequest, Cluster, Host, LoadBalancerContext, Outcome, micros},
    http::grpc::is_grpc,
    info::GrpcStatus,
    reason::Reason,
};

/// A call on its way.
pub(super) struct UnderWay {
    pub(super) cluster: Rc<Cluster>,
    active: Option<(Rc<Host>, ActiveRequest)>,
    began: Instant,
    /// The request has left.
    is_sent: bool,
    is_over: bool,
}

// === impl UnderWay ===

impl UnderWay {
    pub(super) fn new(cluster: &Rc<Cluster>) -> Self {
        Self {
            cluster: Rc::clone(cluster),
            active: None,
            began: Instant::now(),
            is_sent: false,
            is_over: false,
        }
    }

    /// Picks a host, if circuit breakers allow another request.
    pub(super) fn begin(&mut self, context: &LoadBalancerContext<'_>) -> Result<(), Reason> {
        let cluster = &self.cluster;
        if let Some(reason) = cluster.drops_overload() {
            return Err(reason);
        }
        let host = cluster.pick(context).ok_or(Reason::NoHealthyUpstream)?;
        let active = cluster.begin_request(&host, PRIORITY);
        let active = active.ok_or(Reason::Overflow)?;
        self.active = Some((host, active));
        Ok(())
    }

    /// Who is asked.
    pub(super) fn host(&self) -> Result<&Rc<Host>, Reason> {
        let active = self.active.as_ref();
        active
            .map(|(host, _)| host)
            .ok_or(Reason::NoHealthyUpstream)
    }

    /// There is a connection, and the request is about to leave.
    pub(super) fn send(&mut self) {
        self.is_sent = true;
        self.cluster.stats.upstream_rq_total.inc();
        self.report(Outcome::Connected);
    }

    /// Counts what came of it.
    pub(super) fn finish(&mut self, answered: &Result<Answer, CallError>) {
        self.is_over = true;
        let stats = &self.cluster.stats;
        let status = match answered {
            Ok(answer) => answer.head.status.as_u16(),
            Err(error) => error.status(),
        };
        stats.upstream_rq.inc(status);
        stats.upstream_rq_completed.inc();
        match answered {
            Ok(answer) => {
                stats
                    .upstream_rq_time
                    .record_us(micros(self.began.elapsed()));
                self.report(Outcome::Answered(answer.status_by_grpc()));
            }
            Err(error) => {
                self.count_failure(*error);
                // While it waits for a connection nobody knows whose time it is that passes.
                let is_telling = self.is_sent || *error != CallError::Timeout;
                if let Some(outcome) = error.outcome().filter(|_| is_telling) {
                    self.report(outcome);
                }
            }
        }
    }

    fn count_failure(&self, error: CallError) {
        let stats = &self.cluster.stats;
        match error {
            CallError::Timeout => stats.upstream_rq_timeout.inc(),
            CallError::Failed(Reason::NoHealthyUpstream) => stats.upstream_cx_none_healthy.inc(),
            CallError::Failed(Reason::UpstreamProtocolError) => {
                stats.upstream_cx_protocol_error.inc();
            }
            CallError::Failed(_) if self.is_sent => stats.upstream_rq_rx_reset.inc(),
            CallError::Failed(_) if self.active.is_some() => {
                stats.upstream_rq_pending_failure_eject.inc();
            }
            CallError::TooLarge => stats.upstream_rq_tx_reset.inc(),
            CallError::Failed(_) | CallError::NoCluster => {}
        }
    }

    fn report(&self, outcome: Outcome) {
        if let Some((host, _)) = &self.active {
            self.cluster.report(host, outcome);
        }
    }
}

impl Drop for UnderWay {
    /// Who asked has gone before there was an answer.
    fn drop(&mut self) {
        if !self.is_over && self.is_sent {
            self.cluster.stats.upstream_rq_tx_reset.inc();
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The status, or of HTTP what a gRPC status in the head says.
    fn status_by_grpc(&self) -> u16 {
        let of = |name| self.head.headers.get(name).map(http::HeaderValue::as_bytes);
        let status = match of("content-type") {
            Some(kind) if is_grpc(kind) => of("grpc-status").and_then(GrpcStatus::parse),
            _ => None,
        };
        status.map_or_else(|| self.head.status.as_u16(), GrpcStatus::http_status)
    }
}
