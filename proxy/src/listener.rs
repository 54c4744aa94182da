//! Listeners: what accepts connections, listener filters, and the choice of a filter chain.

mod active;
mod connection;
mod detect;
pub mod filter_chain;
mod handler;
pub mod inspector;
mod stats;

pub(crate) use active::{ActiveFilter, ActiveListener};
pub(crate) use connection::serve;
pub(crate) use handler::ConnectionHandler;
pub use stats::ListenerStats;
