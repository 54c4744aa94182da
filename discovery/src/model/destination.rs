//! What rules say of the other end of calls: groups of endpoints, and how callers connect to them.

mod policy;
mod rules;

use std::{collections::BTreeMap, sync::Arc};

use super::{Exports, HostScope, Labels};
pub use policy::{
    Balancing, ClientTls, ConnectionPool, HashKey, HashTable, Hashing, HttpPool, Keepalive,
    OutlierDetection, PortPolicies, RetryBudget, SimpleBalancing, TcpPool, TlsOrigination,
    TrafficPolicy, UpstreamHttp, Warmup,
};
pub use rules::{DestinationRules, InForce};

/// What one object says of calls to services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The services.
    pub host: HostScope,
    /// Callers in which namespaces.
    pub exports: Exports,
    /// Whether it stands in the namespace whose rules are about the whole mesh.
    pub is_of_root: bool,
    /// Only callers of the rule's own namespace with these labels.
    pub selector: Option<Labels>,
    /// How they are called.
    pub policies: PortPolicies,
    /// Groups of their endpoints, by name.
    pub subsets: BTreeMap<Arc<str>, Subset>,
}

/// A group of the endpoints of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subset {
    /// Labels that the pod behind an endpoint has.
    pub labels: Labels,
    /// What is said of these beside what is said of all.
    pub policies: PortPolicies,
}
