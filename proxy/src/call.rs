//! Calls: how a filter, or a task of a worker, has a cluster asked something.
//!
//! [`Call::send`] is a request of HTTP with its body and a response whose body is bounded;
//! [`grpc::Unary`] is a call of gRPC; `ClientStream`, beside it, sends messages one after the other. All of
//! them are futures of one worker: they go to the cluster's hosts as requests of clients do, by its
//! balancer, on its pools, with its TLS and its protocol, held to its circuit breakers, counted in its
//! statistics and heeded by its outlier detection, and dropping one cancels it. Nothing is sent twice:
//! who may ask again says so by another call.
//!
//! A filter hands its exchange a future to wait for (`Step::Wait`) and finds what came of it when it is
//! asked again. A task that lives on a worker is spawned there (`tokio::task::spawn_local`).

pub(crate) mod grpc;
mod http1;
mod http2;
mod place;
mod under_way;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, request, response};

use self::{place::place, under_way::UnderWay};
use crate::{
    cluster::{Cluster, Clusters, LoadBalancerContext, Outcome, Place, Tried},
    config::circuit_breakers::RoutingPriority,
    http::codec::h2,
    reason::Reason,
};

/// Largest head of a response. Envoy's default is 60 KiB; ours leaves room for large cookies.
pub(crate) const MAX_RESPONSE_HEAD: usize = 1 << 20;
/// What a 1xx response counts at least. Together those of a request may have as much as a head: 256 of
/// usual size, which is 85 minutes of an endpoint that says each 20 s that it is working (RFC 2518).
pub(crate) const LEAST_INFORMATIONAL: usize = 4096;

/// As Envoy sends its own requests.
const PRIORITY: RoutingPriority = RoutingPriority::Default;

/// A request of the proxy's own.
#[derive(Debug)]
pub(crate) struct Call {
    /// Its URI has an authority and a path. An HTTP/1 endpoint is told the length of the body.
    pub(crate) head: request::Parts,
    /// All of it.
    pub(crate) body: Bytes,
    /// What follows the body; an HTTP/1 endpoint does not get them.
    pub(crate) trailers: Option<HeaderMap>,
    /// From the wait for a connection to the end of the response.
    pub(crate) timeout: Duration,
    /// How much of the response's body is wanted.
    pub(crate) wanted: Wanted,
    /// On whose behalf it is sent.
    pub(crate) origin: Origin,
}

/// How much of a response's body is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it; a response with more bytes than this is an error.
    UpTo(usize),
    /// Nothing. It is read, however long it is, so that the connection carries other requests.
    Nothing,
}

/// On whose behalf a call is made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin {
    /// Where the client's connection went, for clusters of type `ORIGINAL_DST`.
    pub(crate) destination: Option<SocketAddr>,
    /// The client speaks HTTP/2, for clusters that speak as their clients do.
    pub(crate) is_http2: bool,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status and headers.
    pub(crate) head: response::Parts,
    /// The body, as far as it was wanted.
    pub(crate) body: Bytes,
    /// What followed it; none of HTTP/1.
    pub(crate) trailers: Option<HeaderMap>,
}

/// Why a call brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no such cluster.
    #[error("the cluster does not exist")]
    NoCluster,
    /// It did not get through, or its answer was cut short.
    #[error("{}", .0.code())]
    Failed(Reason),
    /// It took longer than it might.
    #[error("no answer in time")]
    Timeout,
    /// The response's body is larger than what was wanted.
    #[error("the response is too large")]
    TooLarge,
}

// === impl Call ===

impl Call {
    /// A request without trailers, on nobody's behalf.
    pub(crate) fn new(
        request: http::Request<Bytes>,
        timeout: Duration,
        max_response_bytes: usize,
    ) -> Self {
        let (head, body) = request.into_parts();
        Self {
            head,
            body,
            trailers: None,
            timeout,
            wanted: Wanted::UpTo(max_response_bytes),
            origin: Origin::default(),
        }
    }

    /// Sends the request to the cluster named `cluster` and takes its answer.
    pub(crate) async fn send(
        self,
        clusters: Rc<Clusters>,
        cluster: &str,
    ) -> Result<Answer, CallError> {
        let cluster = clusters.choose(cluster).ok_or(CallError::NoCluster)?;
        self.send_to(&clusters, &cluster).await
    }

    /// The same, to a cluster that has been chosen.
    pub(crate) async fn send_to(
        self,
        clusters: &Rc<Clusters>,
        cluster: &Rc<Cluster>,
    ) -> Result<Answer, CallError> {
        let timeout = self.timeout;
        let mut under_way = UnderWay::new(cluster);
        let answered = tokio::time::timeout(timeout, self.pass(clusters, &mut under_way)).await;
        let answered = answered.unwrap_or(Err(CallError::Timeout));
        under_way.finish(&answered);
        answered
    }

    async fn pass(
        self,
        clusters: &Rc<Clusters>,
        under_way: &mut UnderWay,
    ) -> Result<Answer, CallError> {
        let tried = Tried::default();
        let context = LoadBalancerContext::new(self.origin.destination, &tried);
        under_way.begin(&context)?;
        match place(under_way, clusters, self.origin.is_http2).await? {
            Place::Http1(acquired) => {
                self.send_http1(acquired.upstream, under_way, clusters)
                    .await
            }
            Place::Http2(lease) => self.send_http2(lease, under_way).await,
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// Takes more of a body.
    fn take(self, body: &mut BytesMut, more: &[u8]) -> Result<(), CallError> {
        match self {
            Self::Nothing => Ok(()),
            Self::UpTo(limit) if body.len() + more.len() > limit => Err(CallError::TooLarge),
            Self::UpTo(_) => {
                body.extend_from_slice(more);
                Ok(())
            }
        }
    }
}

// === impl CallError ===

impl CallError {
    /// The status that a client would have been answered.
    fn status(self) -> u16 {
        match self {
            Self::NoCluster => 503,
            Self::Failed(reason) => reason.status(),
            Self::Timeout => 504,
            Self::TooLarge => 500,
        }
    }

    /// What it says of the host that was asked.
    fn outcome(self) -> Option<Outcome> {
        match self {
            Self::NoCluster | Self::TooLarge => None,
            Self::Failed(reason) => Outcome::of(reason),
            Self::Timeout => Some(Outcome::TimedOut),
        }
    }
}

impl From<Reason> for CallError {
    fn from(reason: Reason) -> Self {
        Self::Failed(reason)
    }
}

/// What an error of an HTTP/2 endpoint means.
pub(crate) fn reason_of(error: &h2::Error) -> Reason {
    match error {
        error if error.is_remote() && (error.is_go_away() || error.is_reset()) => {
            Reason::UpstreamReset
        }
        error if error.is_io() => Reason::UpstreamClosed,
        _ => Reason::UpstreamProtocolError,
    }
}

#[cfg(test)]
mod tests;
