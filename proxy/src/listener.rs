//! Listeners: what accepts connections, listener filters, and the choice of a filter chain.

mod active;
mod connection;
pub mod filter_chain;
mod filters;
mod handler;
mod stats;
mod transport_socket;

pub(crate) use active::ActiveListener;
pub(crate) use connection::serve;
pub(crate) use handler::ConnectionHandler;
pub use stats::ListenerStats;
