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

use std::path::PathBuf;

pub(crate) use client::{Client, Context};
pub(crate) use inventory::{Inventory, InventoryEntry};
pub(crate) use kind::Kind;
pub(crate) use stats::Stats;

/// How the control plane is reached, beyond what the bootstrap says.
#[derive(Debug, Clone, Default)]
pub struct ControlPlane {
    /// `host:port`, resolved on each connect. None: the endpoint of the ADS cluster.
    pub address: Option<String>,
    /// Speak TLS.
    pub tls: Option<ControlPlaneTls>,
}

/// TLS towards the control plane. The files are read on each connect, so that they may rotate.
#[derive(Debug, Clone)]
pub struct ControlPlaneTls {
    /// PEM with the roots that its certificate must come from.
    pub ca_file: PathBuf,
    /// The name its certificate must have. None: the host of the address.
    pub server_name: Option<String>,
    /// File with a token that is sent as `authorization: Bearer ...`, if it exists.
    pub token_file: Option<PathBuf>,
}

/// Why the aggregated discovery stream cannot be set up from a bootstrap.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// `ads_config` names a cluster that is not there, or has no endpoint.
    #[error("dynamic_resources.ads_config: cluster {0:?} is not a static cluster with an endpoint")]
    NoEndpoint(String),
}
