//! A host that is asked for by its address, in place of the one that would be picked.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/override_host>

use std::{net::SocketAddr, rc::Rc};

use super::{Cluster, Host};

/// A host that a filter asks for.
#[derive(Debug, Clone, Copy)]
pub struct OverrideHost {
    /// None: one that no host has.
    pub address: Option<SocketAddr>,
    /// No other will do.
    pub is_strict: bool,
    /// What is answered where no other will do, and the cluster does not have it.
    pub missing_status: u16,
}

// === impl Cluster ===

impl Cluster {
    /// The host that is asked for, if it may be used as its health is.
    pub(super) fn overriding(&self, asked: &OverrideHost) -> Option<Rc<Host>> {
        let host = self.current().at(asked.address?)?;
        let statuses = &self.config.load_balancing.override_host_statuses;
        statuses.contains(&host.flags().status()).then_some(host)
    }

    /// Whether it has a host of this address.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.current().at(address).is_some()
    }
}
