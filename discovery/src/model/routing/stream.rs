//! What becomes of connections that are not looked into.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{Backend, SourceMatch};

/// What becomes of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRule {
    /// Any of these must match; all do where there is none.
    pub matches: Vec<StreamMatch>,
    /// Only connections that begin with TLS, of which the name is looked at.
    pub is_tls: bool,
    /// Who gets them, by weight.
    pub backends: Vec<(Backend, u32)>,
}

/// Conditions on a connection, which must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamMatch {
    /// Who sends it, and to which port.
    pub source: SourceMatch,
    /// Where it goes is in one of these; anywhere if there is none.
    pub destinations: Vec<IpNet>,
    /// Names of which TLS asks for one, which may begin with a star.
    pub names: Vec<Arc<str>>,
}

// === impl StreamMatch ===

impl StreamMatch {
    /// Whether it is about connections to an address.
    #[must_use]
    pub fn leads_to(&self, address: IpAddr) -> bool {
        let mut all = self.destinations.iter();
        self.destinations.is_empty() || all.any(|range| range.contains(&address))
    }
}
