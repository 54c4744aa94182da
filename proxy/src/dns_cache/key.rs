//! A name and a port, as requests bring them.

use std::{fmt, net::IpAddr, sync::Arc};

/// A name of DNS has no more bytes (RFC 1035, 2.3.4), nor is an address longer.
const MAX_NAME: usize = 255;

/// A name and a port. Letters count as they come, as in Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Without brackets.
    name: Arc<str>,
    port: u16,
}

// === impl Key ===

impl Key {
    /// A name, or an address, perhaps in brackets.
    pub(crate) fn new(name: &str, port: u16) -> Self {
        let name = name.strip_prefix('[').unwrap_or(name);
        let name = name.strip_suffix(']').unwrap_or(name);
        Self {
            name: name.into(),
            port,
        }
    }

    /// Of an authority, which may lack a port. None: its port is no port.
    pub(crate) fn of_authority(host: &str, port: Option<&str>, default_port: u16) -> Option<Self> {
        let port = match port {
            None | Some("") => default_port,
            Some(port) => port.parse().ok()?,
        };
        Some(Self::new(host, port))
    }

    /// What is looked up.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is worth asking anybody about.
    pub(super) fn is_askable(&self) -> bool {
        !self.name.is_empty() && self.name.len() <= MAX_NAME
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.name, self.port),
        }
    }
}
