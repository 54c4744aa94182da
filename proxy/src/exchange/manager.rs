//! What the requests of one HTTP connection manager share, in one worker.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use http::HeaderValue;
use tokio::time::Instant;

use super::stats::HttpStats;
use crate::{
    config::{
        self, RouteConfiguration,
        http::{RouteSource, Router},
        overload::ActionKind,
    },
    factory_context::FactoryContext,
    filter::http::HttpFilters,
    http::head::RequestHead,
    info::ConnectionInfo,
    random,
    stats::Scope,
};

/// An HTTP connection manager in one worker.
pub(crate) struct ConnectionManager {
    pub(crate) config: Arc<config::HttpConnectionManager>,
    pub(crate) context: Rc<FactoryContext>,
    pub(crate) stats: Arc<HttpStats>,
    /// The HTTP filters before the router.
    pub(super) filters: HttpFilters,
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
            filters: HttpFilters::new(
                &config.filters,
                &context.registry,
                &Scope::http(&config.stat_prefix),
            )
            .with_clusters(&context.clusters, &context.registry),
            routes: RefCell::new(Routes {
                generation: 0,
                config: routes,
            }),
            random: Cell::new(random::seed()),
            server_name: HeaderValue::try_from(&config.server_name).ok(),
        }
    }

    /// The routes in force.
    pub(super) fn routes(&self) -> Option<Arc<RouteConfiguration>> {
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

    pub(super) fn router(&self) -> &Router {
        &self.config.router
    }

    /// The client as `x-forwarded-for` has it; none if the connection's peer is the client.
    ///
    /// <https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-for>
    pub(super) fn client(&self, request: &dyn RequestHead, peer: IpAddr) -> Option<IpAddr> {
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
    pub(super) fn server_name(&self) -> Option<HeaderValue> {
        self.server_name.clone()
    }

    pub(super) fn random(&self) -> u64 {
        let mut state = self.random.get();
        let drawn = random::next(&mut state);
        self.random.set(state);
        drawn
    }

    /// Whether an HTTP/1 connection ends after its current request: its listener drains, it has
    /// carried as many requests as it may, or it is too old.
    pub(super) fn is_leaving(&self, connection: &ConnectionInfo) -> bool {
        let limit = self.config.max_requests_per_connection;
        let is_worn = limit.is_some_and(|most| connection.requests >= u64::from(most));
        if is_worn {
            self.stats.downstream_cx_max_requests_reached.inc();
        }
        let is_old = self
            .retires_at(connection)
            .is_some_and(|at| Instant::now() >= at);
        if is_old {
            self.stats.downstream_cx_max_duration_reached.inc();
        }
        is_worn || is_old || connection.is_draining() || self.ends_connections(connection)
    }

    /// Whether a connection is to end with its current requests because memory is short. Counts it.
    pub(crate) fn ends_connections(&self, connection: &ConnectionInfo) -> bool {
        let ends = self.takes(ActionKind::DisableHttpKeepalive, connection);
        if ends {
            self.stats.downstream_cx_overload_disable_keepalive.inc();
        }
        ends
    }

    /// Whether something is done because memory is short.
    pub(super) fn takes(&self, action: ActionKind, connection: &ConnectionInfo) -> bool {
        let Some(overload) = &self.context.overload else {
            return false;
        };
        !connection.listener.bypass_overload_manager
            && overload.takes(action, || self.random(), connection.remote.ip())
    }

    /// When a connection is too old.
    pub(crate) fn retires_at(&self, connection: &ConnectionInfo) -> Option<Instant> {
        let age = self.config.max_connection_duration?;
        Some(Instant::from_std(connection.start) + age)
    }
}
