//! Connections whose protocol their handshake decides (`HttpProtocolOptions.auto_config`).
//!
//! A host is taken for one of HTTP/2 until a handshake says otherwise, as in Envoy: requests wait for
//! the first connection together. What the last handshake has decided is what the next requests go by.

use std::rc::Rc;

use super::{Cluster, Clusters, Host, Http2Lease, Upstream, pool::Acquired};
use crate::{
    config::{circuit_breakers::RoutingPriority, cluster::UpstreamProtocol},
    reason::Reason,
};

/// What both protocols are called, the better one first.
pub(super) const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// A place for a request, on whichever protocol its connection speaks.
pub(crate) enum Place {
    Http1(Acquired),
    Http2(Http2Lease),
}

// === impl Cluster ===

impl Cluster {
    /// A place on a connection that is there.
    pub(crate) fn idle_place(&self, host: &Host) -> Option<Place> {
        let lease = self.lease_http2(host).map(Place::Http2);
        lease.or_else(|| {
            let upstream = self.take_idle(host)?;
            Some(Place::Http1(Acquired {
                upstream,
                reused: true,
            }))
        })
    }

    /// A place on a connection that is there, or else on one that is made.
    pub(crate) async fn place(
        self: &Rc<Self>,
        host: &Rc<Host>,
        priority: RoutingPriority,
        clusters: &Rc<Clusters>,
    ) -> Result<Place, Reason> {
        match self.idle_place(host) {
            Some(place) => Ok(place),
            None => self.acquire_place(host, priority, clusters).await,
        }
    }

    /// A place on a connection, which is made if there is none.
    pub(crate) async fn acquire_place(
        self: &Rc<Self>,
        host: &Rc<Host>,
        priority: RoutingPriority,
        clusters: &Rc<Clusters>,
    ) -> Result<Place, Reason> {
        if !host.is_http1_only() {
            match self.acquire_http2(host, priority, clusters).await {
                Ok(lease) => return Ok(Place::Http2(lease)),
                Err(_) if host.is_http1_only() => {}
                Err(reason) => return Err(reason),
            }
        }
        let acquired = self.acquire(host, priority).await;
        let acquired = acquired.map_err(|error| error.reason())?;
        if !acquired.upstream.speaks_http2 {
            return Ok(Place::Http1(acquired));
        }
        // The endpoint has learnt HTTP/2 since.
        host.set_http1_only(false);
        let lease = self.adopt_http2(host, acquired.upstream, clusters);
        Ok(Place::Http2(lease))
    }

    /// Whether handshakes decide.
    pub(super) fn is_auto(&self) -> bool {
        self.config.protocol == UpstreamProtocol::Auto
    }

    /// What is offered where no application protocols are configured.
    pub(super) fn offered(&self, usual: &'static [&'static str]) -> &'static [&'static str] {
        match self.is_auto() {
            true => PROTOCOLS,
            false => usual,
        }
    }

    /// A connection that was made for HTTP/2, if it speaks that. One of HTTP/1.1 is put where requests
    /// find it.
    pub(super) fn only_http2(
        &self,
        upstream: Upstream,
        clusters: &Rc<Clusters>,
    ) -> Result<Upstream, Reason> {
        if !self.is_auto() || upstream.speaks_http2 {
            return Ok(upstream);
        }
        self.stats.upstream_cx_http1_total.inc();
        upstream.host.set_http1_only(true);
        clusters.put_back(upstream);
        Err(Reason::UpstreamClosed)
    }
}
