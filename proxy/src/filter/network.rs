//! Network filters: what serves a connection once its filter chain is chosen.

pub mod connection_limit;
pub(crate) mod direct_response;
pub(crate) mod echo;
pub mod http_connection_manager;
mod rbac;
mod sni_dynamic_forward_proxy;
pub(crate) mod tcp_proxy;

use std::{rc::Rc, sync::Arc, time::Duration};

use self::{
    connection_limit::ConnectionLimit, rbac::NetworkRbac,
    sni_dynamic_forward_proxy::SniForwardProxy, tcp_proxy::TcpProxy,
};

use crate::{
    config::network_filter::NetworkFilter as Config,
    exchange::ConnectionManager,
    factory_context::FactoryContext,
    filter::local_rate_limit::{LocalRateLimit, Of},
    info::ConnectionInfo,
    metadata::TCP_PROXY_CLUSTER,
    net::read_filter::ReadFilter,
    reason::Reason,
};

/// A network filter in one worker that is not the last of its chain.
pub(crate) enum NetworkFilter {
    ConnectionLimit(ConnectionLimit),
    LocalRateLimit(LocalRateLimit),
    Rbac(NetworkRbac),
    SniDynamicForwardProxy(SniForwardProxy),
    /// The SNI names the cluster.
    SniCluster,
}

/// The last network filter of a chain, which serves the connection.
pub(crate) enum TerminalFilter {
    Tcp(Rc<TcpProxy>),
    Http(Rc<ConnectionManager>),
    Echo,
    DirectResponse(Arc<[u8]>),
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The next filter has it.
    Continue,
    /// It is closed, at once or after a while.
    Close(Option<Duration>),
}

/// What a filter holds for a connection until that ends.
pub(crate) enum Held {
    /// A place among those that are let in.
    Place(#[expect(dead_code, reason = "held for its drop")] connection_limit::Place),
}

// === impl NetworkFilter ===

impl NetworkFilter {
    /// None for one that serves connections. `owner` is the listener's name, the chain and the
    /// filter's place in it.
    pub(crate) fn new(config: &Config, owner: &str, context: &Rc<FactoryContext>) -> Option<Self> {
        Some(match config {
            Config::ConnectionLimit(config) => {
                Self::ConnectionLimit(ConnectionLimit::new(config, owner, context))
            }
            Config::LocalRateLimit(config) => {
                Self::LocalRateLimit(LocalRateLimit::new(config, Of::Network, owner, context))
            }
            Config::SniCluster => Self::SniCluster,
            Config::Rbac(config) => Self::Rbac(NetworkRbac::new(config, context)),
            Config::SniDynamicForwardProxy(config) => {
                Self::SniDynamicForwardProxy(SniForwardProxy::new(config, context))
            }
            Config::TcpProxy(_)
            | Config::HttpConnectionManager(_)
            | Config::Echo
            | Config::DirectResponse(_) => return None,
        })
    }

    /// Looks at a new connection, holds what it needs until that ends, and leaves what is to look at
    /// the bytes that come.
    pub(crate) fn on_new_connection(
        &self,
        connection: &mut ConnectionInfo,
        held: &mut Vec<Held>,
        read_filters: &mut Vec<Box<dyn ReadFilter>>,
    ) -> Status {
        match self {
            Self::ConnectionLimit(filter) => filter.on_new_connection(held),
            Self::LocalRateLimit(filter) if filter.is_over() => {
                connection.outcome.reason = Some(Reason::ConnectionRateLimited);
                Status::Close(None)
            }
            Self::LocalRateLimit(_) => Status::Continue,
            Self::SniCluster => {
                if let Some(name) = &connection.server_name {
                    connection.filter_state.set(TCP_PROXY_CLUSTER, name);
                }
                Status::Continue
            }
            Self::SniDynamicForwardProxy(filter) => filter.on_new_connection(connection),
            Self::Rbac(filter) => {
                read_filters.extend(filter.on_new_connection(connection));
                Status::Continue
            }
        }
    }
}

// === impl TerminalFilter ===

impl TerminalFilter {
    /// None for one that serves no connection.
    pub(crate) fn new(config: &Config, context: &Rc<FactoryContext>) -> Option<Self> {
        Some(match config {
            Config::TcpProxy(config) => Self::Tcp(Rc::new(TcpProxy::new(config, context))),
            Config::HttpConnectionManager(config) => {
                Self::Http(Rc::new(ConnectionManager::new(config, context)))
            }
            Config::Echo => Self::Echo,
            Config::DirectResponse(response) => Self::DirectResponse(Arc::clone(response)),
            Config::ConnectionLimit(_)
            | Config::LocalRateLimit(_)
            | Config::SniCluster
            | Config::SniDynamicForwardProxy(_)
            | Config::Rbac(_) => return None,
        })
    }
}
