//! What differs between two snapshots.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Claim, NamespacedName, ResolvedService};

/// What differs between a snapshot and an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services that came, went, or changed in themselves or in their endpoints.
    pub services: BTreeMap<NamespacedName, ServiceChange>,
    /// Destinations of which anything changed.
    pub addresses: BTreeMap<SocketAddr, AddressChange>,
    /// Pods that came, went, or changed in themselves or in the services they stand behind.
    pub pods: BTreeSet<NamespacedName>,
    /// Addresses that another pod has now, or the same one otherwise, or none.
    pub pod_addresses: BTreeSet<IpAddr>,
    /// Services some of whose requests may be routed otherwise.
    pub routed: BTreeSet<NamespacedName>,
    /// Services that callers may connect to otherwise, each with the groups of endpoints that rules
    /// have or had.
    pub shaped: BTreeMap<NamespacedName, BTreeSet<Arc<str>>>,
    /// Nodes that came, went or moved.
    pub nodes: BTreeSet<Arc<str>>,
    /// If rules changed, the pods of which they say something else now. That may be so of pods that
    /// are not known, too.
    pub rules: Option<BTreeSet<NamespacedName>>,
}

/// One changed service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// As it was.
    pub old: Option<Arc<ResolvedService>>,
    /// As it is.
    pub new: Option<Arc<ResolvedService>>,
}

/// One changed destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressChange {
    /// Who had it.
    pub old: Option<Claim>,
    /// Who has it.
    pub new: Option<Claim>,
}

// === impl Changes ===

impl Changes {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.pods.is_empty()
            && self.nodes.is_empty()
            && self.routed.is_empty()
            && self.shaped.is_empty()
            && self.rules.is_none()
    }

    /// Whether rules about requests may mean something else, for which endpoints do not matter.
    #[must_use]
    pub fn concern_routes(&self) -> bool {
        let mut services = self.services.values();
        !self.routed.is_empty() || services.any(ServiceChange::declaration_changed)
    }
}

// === impl ServiceChange ===

impl ServiceChange {
    /// Whether the service itself changed, rather than its endpoints only.
    #[must_use]
    pub fn declaration_changed(&self) -> bool {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => old.service != new.service,
            _ => true,
        }
    }

    /// Whether an endpoint that took traffic no longer does: such news travel first.
    #[must_use]
    pub fn removes_endpoints(&self) -> bool {
        let Some(old) = &self.old else { return false };
        let Some(new) = &self.new else { return true };
        old.ports().any(|(port, endpoints)| {
            let left = new
                .port(port.port)
                .map_or(&[][..], |(_, endpoints)| endpoints);
            // Both are in the order of their addresses, so one pass over the other is enough.
            let mut left = ResolvedService::usable(left).map(|endpoint| endpoint.address);
            !ResolvedService::usable(endpoints)
                .all(|endpoint| left.by_ref().any(|address| address == endpoint.address))
        })
    }
}
