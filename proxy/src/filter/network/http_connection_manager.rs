//! `envoy.filters.network.http_connection_manager`: one codec a connection, then HTTP filters and
//! routes a request.

mod attempt;
mod deadlines;
mod exchange;
mod http1;
mod http2;
mod plan;
mod pump;
pub mod request_changes;
mod respond;
mod retry;
mod stats;
mod trust;
pub mod upstream_head;

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use http::HeaderValue;

use crate::{
    buffer::Buffer,
    config::{
        self, RouteConfiguration,
        http::{CodecType, RouteSource, Router},
    },
    factory_context::FactoryContext,
    http::head::RequestHead,
    info::ConnectionInfo,
    net::transport_socket::Connection,
    random,
    stats::{Gauge, Scope},
};

pub(crate) use stats::HttpStats;

/// An HTTP connection manager in one worker.
pub(crate) struct ConnectionManager {
    pub(crate) config: Arc<config::HttpConnectionManager>,
    pub(crate) stats: Arc<HttpStats>,
    pub(crate) context: Rc<FactoryContext>,
    routes: RefCell<Routes>,
    random: Cell<u64>,
    /// Value of `server`, if it makes one.
    server_name: Option<HeaderValue>,
}

/// The routes in force, and the snapshot they were taken from.
struct Routes {
    generation: u64,
    config: Option<Arc<RouteConfiguration>>,
}

/// A connection on the gauges, whatever ends it.
struct Open {
    stats: Arc<HttpStats>,
    version: Option<fn(&HttpStats) -> &Gauge>,
}

// === impl Open ===

impl Open {
    fn new(stats: &Arc<HttpStats>) -> Self {
        stats.downstream_cx_total.inc();
        stats.downstream_cx_active.inc();
        Self {
            stats: Arc::clone(stats),
            version: None,
        }
    }

    /// Moves the connection to the gauge of a version of HTTP.
    fn speaks(&mut self, version: fn(&HttpStats) -> &Gauge) {
        version(&self.stats).inc();
        if let Some(before) = self.version.replace(version) {
            before(&self.stats).dec();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(version) = self.version {
            version(&self.stats).dec();
        }
        self.stats.downstream_cx_active.dec();
        self.stats.downstream_cx_destroy.inc();
    }
}

// === impl ConnectionManager ===

impl ConnectionManager {
    pub(crate) fn new(
        config: &Arc<config::HttpConnectionManager>,
        context: &Rc<FactoryContext>,
    ) -> Self {
        let routes = match &config.routes {
            RouteSource::Inline(routes) => Some(Arc::clone(routes)),
            RouteSource::Rds(_) => None,
        };
        Self {
            config: Arc::clone(config),
            context: Rc::clone(context),
            stats: context.registry.register(Scope::http(&config.stat_prefix)),
            routes: RefCell::new(Routes {
                generation: 0,
                config: routes,
            }),
            random: Cell::new(random::seed()),
            server_name: HeaderValue::try_from(&config.server_name).ok(),
        }
    }

    /// Serves a connection until it ends.
    pub(crate) async fn serve(
        self: Rc<Self>,
        context: &mut ConnectionInfo,
        downstream: Connection,
        buffer: Buffer,
    ) {
        let mut open = Open::new(&self.stats);
        let http2 = match self.codec(context) {
            CodecType::Http2 => Some((downstream, buffer)),
            CodecType::Auto | CodecType::Http1 => {
                open.speaks(|stats| &stats.downstream_cx_http1_active);
                http1::serve(Rc::clone(&self), context, downstream, buffer).await
            }
        };
        if let Some((downstream, buffer)) = http2 {
            open.stats.downstream_cx_http2_total.inc();
            open.speaks(|stats| &stats.downstream_cx_http2_active);
            Box::pin(http2::serve(self, context, downstream, buffer)).await;
        }
        open.stats
            .downstream_cx_length_ms
            .record_us(context.elapsed_us());
    }

    fn codec(&self, context: &ConnectionInfo) -> CodecType {
        match self.config.codec {
            CodecType::Auto if context.protocol == "h2c" => CodecType::Http2,
            codec => codec,
        }
    }

    /// The routes in force.
    pub(crate) fn routes(&self) -> Option<Arc<RouteConfiguration>> {
        let mut routes = self.routes.borrow_mut();
        if let RouteSource::Rds(name) = &self.config.routes
            && routes.generation != self.context.routes.generation()
        {
            *routes = Routes {
                generation: self.context.routes.generation(),
                config: self.context.routes.get(name),
            };
        }
        routes.config.clone()
    }

    pub(crate) fn router(&self) -> &Router {
        &self.config.router
    }

    /// The client as `x-forwarded-for` has it; none if the connection's peer is the client.
    ///
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for>
    pub(crate) fn client(&self, request: &dyn RequestHead, peer: IpAddr) -> Option<IpAddr> {
        let hops = self.config.xff_num_trusted_hops as usize;
        // With `use_remote_address` the peer stands where it is about to be appended.
        let skip = match self.config.use_remote_address {
            true => hops.checked_sub(1)?,
            false => hops,
        };
        let list = request.header("x-forwarded-for")?;
        let address = list.rsplit(',').nth(skip)?.trim().parse().ok()?;
        (address != peer).then_some(address)
    }

    /// Value of `server`, if it makes one.
    pub(crate) fn server_name(&self) -> Option<HeaderValue> {
        self.server_name.clone()
    }

    pub(crate) fn random(&self) -> u64 {
        let mut state = self.random.get();
        let drawn = random::next(&mut state);
        self.random.set(state);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes an HTTP connection holds until its close, beside those of every connection: 2400 when
    /// this was written. What is seldom needed belongs on the heap.
    const LIMIT: usize = 2560;

    fn size_of_future<'c, F>(
        _: impl FnOnce(Rc<ConnectionManager>, &'c mut ConnectionInfo, Connection, Buffer) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_an_http_connection_stays_small() {
        let size = size_of_future(ConnectionManager::serve);
        assert!(size <= LIMIT, "{size} bytes");
    }
}
