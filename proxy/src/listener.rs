//! Listeners: sockets, listener filters, and the choice of a filter chain.

mod active;
mod connection;
mod detect;
pub mod filter_chain;
pub mod inspector;
mod original_dst;
mod socket;
mod stats;

use std::{net::TcpListener, sync::Arc};

use crate::config::Listener;

pub(crate) use active::{ActiveFilter, ActiveListener};
pub(crate) use connection::{ConnectionContext, Outcome, serve};
pub use socket::{BindError, bind};
pub use stats::ListenerStats;

/// A listener and its sockets, one a worker, all on one address by `SO_REUSEPORT`.
#[derive(Debug)]
pub struct BoundListener {
    /// Its configuration.
    pub listener: Arc<Listener>,
    /// One a worker, in the order of the workers. Shared with the next version of the listener if
    /// the address stays.
    pub sockets: Arc<Vec<TcpListener>>,
}
