//! A host that is asked for by its address, in place of the one that would be picked.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/override_host>

use std::{net::SocketAddr, rc::Rc};

use super::{Cluster, Host, Said};
use crate::config::override_host::OverrideHostSource;

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

    /// The addresses of hosts that a request names for its attempts, in order, of those that the cluster
    /// has. As in Envoy, their health does not count.
    pub(crate) fn named_hosts(&self, said: &Said<'_>) -> Box<[SocketAddr]> {
        let sources = &self.config.load_balancing.override_host_sources;
        let texts = sources.iter().filter_map(|source| match source {
            OverrideHostSource::Header(name) => (said.header?)(name),
            OverrideHostSource::Metadata(key) => {
                let value = said.metadata?.value(&key.namespace, &key.path)?;
                value.as_str().map(str::to_owned)
            }
        });
        let mut named = Vec::new();
        for text in texts {
            let addresses = text.split(',').filter_map(|it| it.trim().parse().ok());
            named.extend(addresses.filter(|address| self.has(*address)));
        }
        named.into()
    }

    /// The host of an address that a request has named.
    pub(super) fn named_host(&self, address: Option<SocketAddr>) -> Option<Rc<Host>> {
        self.current().at(address?)
    }

    /// Whether it has a host of this address.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.current().at(address).is_some()
    }
}
