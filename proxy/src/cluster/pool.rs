//! Pools of HTTP/1 connections: one stack a host, the one used last first.

use std::{rc::Rc, time::Duration};

use tokio::time::Instant;

use super::{Cluster, DialError, Host, Upstream};

/// Idle connections a host keeps. More than this were opened by a burst, and are closed after it.
const MAX_IDLE: usize = 1024;

/// A connection without a request.
pub(crate) struct Idle {
    upstream: Upstream,
    since: Instant,
}

/// A connection ready for a request, and where it came from.
pub(crate) struct Acquired {
    pub(crate) upstream: Upstream,
    /// It has carried requests before, so the endpoint may be closing it at this moment.
    pub(crate) reused: bool,
}

// === impl Idle ===

impl Idle {
    pub(super) fn is_usable(&self, now: Instant, idle_timeout: Option<Duration>) -> bool {
        let expired = idle_timeout.is_some_and(|limit| now.duration_since(self.since) >= limit);
        if expired {
            self.upstream.cluster.stats.upstream_cx_idle_timeout.inc();
        }
        !expired && !self.upstream.connection.is_spent()
    }
}

// === impl Cluster ===

impl Cluster {
    /// A connection to `host`: an idle one, else a new one.
    pub(crate) async fn acquire(self: &Rc<Self>, host: &Rc<Host>) -> Result<Acquired, DialError> {
        if let Some(upstream) = self.take_idle(host) {
            return Ok(Acquired {
                upstream,
                reused: true,
            });
        }
        let upstream = Upstream::dial(self, host).await?;
        self.stats.upstream_cx_http1_total.inc();
        Ok(Acquired {
            upstream,
            reused: false,
        })
    }

    /// An idle connection to `host` that looks alive. Costs no system call.
    pub(crate) fn take_idle(&self, host: &Host) -> Option<Upstream> {
        loop {
            let Idle { upstream, .. } = host.idle().pop()?;
            if !upstream.connection.is_spent() {
                return Some(upstream);
            }
        }
    }
}

// === impl Upstream ===

impl Upstream {
    /// Puts the connection back. It is closed if its host is gone or has enough of them.
    pub(super) fn put_back(self) {
        let limit = self.cluster.config.max_requests_per_connection;
        let worn = limit.is_some_and(|limit| self.requests >= limit);
        let host = Rc::clone(&self.host);
        if !worn && !host.is_retired() && host.idle().len() < MAX_IDLE {
            let idle = Idle {
                upstream: self,
                since: Instant::now(),
            };
            host.idle().push(idle);
        }
    }
}
