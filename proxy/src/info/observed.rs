//! What only access logs and traces ask of a request. It is made where one of them is configured, so
//! that other requests hold no memory for it.

use std::{net::SocketAddr, time::Duration};

use tokio::time::Instant;

use crate::{config::format::TimePoint, metadata::Metadata};

/// Attempts whose endpoint is remembered: more than anybody reads.
const MAX_ATTEMPTED: usize = 32;

/// What only access logs and traces ask of a request.
pub(crate) struct Observed {
    began: Instant,
    points: [Option<Instant>; 8],
    /// When the last attempt had a connection, or was told that there is none.
    pool_ready: Option<Duration>,
    pub(crate) attempts: u32,
    /// Name of the endpoint that is asked, which may be empty.
    pub(crate) host_name: Box<str>,
    /// Endpoints that were reached, each once, with their names.
    pub(crate) attempted: Vec<(SocketAddr, Box<str>)>,
    /// `HTTP/2`; empty before a connection was there.
    pub(crate) upstream_protocol: &'static str,
    /// Our end of the connection to the endpoint.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Names and values, bytes.
    pub(crate) request_headers_bytes: u64,
    pub(crate) response_headers_bytes: u64,
    /// What HTTP filters said.
    pub(crate) metadata: Metadata,
    /// What the configuration says of the route.
    pub(crate) route_metadata: Metadata,
}

// === impl Observed ===

impl Observed {
    /// Of a request whose head has just come.
    pub(crate) fn new(began: Instant) -> Box<Self> {
        let mut observed = Box::new(Self {
            began,
            points: [None; 8],
            pool_ready: None,
            attempts: 0,
            host_name: Box::default(),
            attempted: Vec::new(),
            upstream_protocol: "",
            upstream_local: None,
            request_headers_bytes: 0,
            response_headers_bytes: 0,
            metadata: Metadata::default(),
            route_metadata: Metadata::default(),
        });
        observed.points[TimePoint::DownstreamRxBegin as usize] = Some(began);
        observed
    }

    /// A point has come; the first time counts.
    pub(crate) fn mark(&mut self, point: TimePoint) {
        self.points[point as usize].get_or_insert_with(Instant::now);
    }

    /// An endpoint is about to be asked.
    pub(crate) fn begin_attempt(&mut self, name: &str) {
        self.attempts += 1;
        self.host_name = name.into();
        for point in [
            TimePoint::UpstreamTxBegin,
            TimePoint::UpstreamTxEnd,
            TimePoint::UpstreamRxBegin,
            TimePoint::UpstreamRxEnd,
        ] {
            self.points[point as usize] = None;
        }
        self.pool_ready = None;
        (self.upstream_protocol, self.upstream_local) = ("", None);
    }

    /// The attempt has a connection, or cannot have one.
    pub(crate) fn end_wait(&mut self) {
        self.pool_ready = Some(self.began.elapsed());
    }

    /// The attempt has a connection, and its request is being sent.
    pub(crate) fn begin_sending(
        &mut self,
        protocol: &'static str,
        host: SocketAddr,
        local: Option<SocketAddr>,
    ) {
        let is_new = self.attempted.iter().all(|(known, _)| *known != host);
        if is_new && self.attempted.len() < MAX_ATTEMPTED {
            self.attempted.push((host, self.host_name.clone()));
        }
        self.end_wait();
        self.mark(TimePoint::UpstreamTxBegin);
        (self.upstream_protocol, self.upstream_local) = (protocol, local);
    }

    /// When it came to this point; none: it has not.
    pub(crate) fn at(&self, point: TimePoint) -> Option<Instant> {
        self.points[point as usize]
    }

    /// From the beginning to a point.
    pub(crate) fn until(&self, point: TimePoint) -> Option<Duration> {
        Some(self.at(point)?.saturating_duration_since(self.began))
    }

    /// From the beginning until the last attempt had a connection, or was told that there is none.
    pub(crate) fn pool_ready(&self) -> Option<Duration> {
        self.pool_ready
    }
}
