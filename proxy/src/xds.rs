//! The ADS client: one stream to the control plane, on the control thread.
//!
//! [`state`] is the protocol without I/O, in its delta variant: what goes in are answers, demands
//! and time, what comes out are requests and changes of the snapshot. `sotw` puts the
//! state-of-the-world variant into the same words. [`client`] gives it a connection (`link`), turns
//! messages into runtime types (`resource`) and publishes the changes. Workers are never waited
//! for and never wait here.

mod backoff;
mod change;
mod client;
mod inventory;
mod kind;
mod link;
mod resource;
mod sotw;
mod state;
mod stats;

pub(crate) use client::{Client, Context};
pub(crate) use inventory::{Inventory, InventoryEntry};
pub(crate) use kind::Kind;
pub(crate) use stats::Stats;

/// Why the aggregated discovery stream cannot be set up from a bootstrap.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// `ads_config` names a cluster that is not there, or has no endpoint.
    #[error("dynamic_resources.ads_config: cluster {0:?} is not a static cluster with an endpoint")]
    NoEndpoint(String),
    /// The name of the control plane is to be looked up in a way that is not heeded for it.
    #[error(
        "dynamic_resources.ads_config: the name in cluster {0:?} is looked up as the system does: \
         leave out its resolver and that of the bootstrap, or give an address"
    )]
    Resolver(String),
}
