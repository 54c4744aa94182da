//! Network filters: what serves a connection once its filter chain is chosen.

pub mod http_connection_manager;
pub(crate) mod tcp_proxy;
